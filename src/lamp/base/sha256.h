// SHA-256 (FIPS 180-4): tells whether bytes are the same without keeping them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lamp {

class Sha256 {
 public:
  void add(std::string_view bytes);
  // 64 hexadecimal digits. Nothing may be added afterwards.
  std::string hex();

 private:
  void absorb(const unsigned char* block);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_ = {};  // begun, not yet absorbed
  std::size_t filled_ = 0;
  std::uint64_t total_bytes_ = 0;
};

std::string sha256(std::string_view bytes);

}  // namespace lamp
