// The text header of a .npy file: a Python dictionary of three entries, parsed as nothing but that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lamp {

struct NpyHeader {
  std::string descr;  // "<f4", "|b1"
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
  std::size_t data_offset = 0;  // of the first value in the file
};

// No header that is taken ends behind these.
inline constexpr std::size_t kNpyStartBytes = 10012;

// `bytes`: the file from its start. Throws InputError, naming `file`.
NpyHeader parse_npy_header(std::string_view bytes, const std::string& file);

}  // namespace lamp
