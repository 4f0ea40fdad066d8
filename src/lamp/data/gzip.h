// gzip and zlib streams that are either right to the last bit or refused. (The usual readers stop
// at the last voxel and so never look at the checksum behind it.)
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lamp {

enum class Compression { kGzip, kZlib };

// No deflate stream expands more than this: a header that claims more is lying, and nothing is
// allocated for it.
inline constexpr std::size_t kMaxExpansion = 1032;

bool is_gzip(std::string_view bytes);

// Decompresses all of `bytes` (for gzip: every member) into `out` and checks checksums and lengths;
// returns the number of bytes written. Throws InputError, naming `file`, for a damaged or cut
// stream, for bytes behind its end, and for one that holds more than `capacity`.
struct Decompression {
  Compression format = Compression::kGzip;
  std::string_view bytes;
  char* out = nullptr;
  std::size_t capacity = 0;
};
std::size_t decompress(const Decompression& job, const std::string& file);

// The first `count` bytes (fewer if the stream is shorter) of a gzip stream, unchecked: a look at
// the header before the memory for the rest is allocated. Empty if they cannot be had from these
// `bytes`. `count` at most 64 KiB.
std::string gzip_start(std::string_view bytes, std::size_t count);

// One gzip member without name and time, so equal bytes give equal files. `level` 1 (fast) to 12.
std::string gzip(std::string_view bytes, int level);

}  // namespace lamp
