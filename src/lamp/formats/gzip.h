// gzip and zlib streams that are either right to the last bit or refused. (The usual readers stop
// at the last voxel and so never look at the checksum behind it.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lamp {

enum class Compression { kGzip, kZlib };

// No deflate stream expands more than this: a header that claims more is lying, and nothing is
// allocated for it.
inline constexpr std::int64_t kMaxExpansion = 1032;
// The most bytes that `packed` ones can hold; of what no disk holds, the largest number.
std::int64_t most_expanded(std::int64_t packed);

bool is_gzip(std::string_view bytes);

// Decompresses all of `bytes` (for gzip: every member) into `out` and checks checksums and lengths;
// returns the number of bytes written. Zeros behind a member are padding, as for gzip(1) and
// Python. Throws InputError, naming `file`, for a damaged or cut stream, for other bytes behind its
// end, and for one that holds more than `capacity`.
struct Decompression {
  Compression format = Compression::kGzip;
  std::string_view bytes;
  char* out = nullptr;
  std::size_t capacity = 0;
};
std::size_t decompress(const Decompression& job, const std::string& file);

// The first `count` bytes of a gzip stream, over as many members as that takes, unchecked: a look
// at the header before the memory for the rest is allocated. Fewer if the stream is shorter or goes
// on behind these `bytes`; empty if they cannot be had from them. `count` at most 64 KiB.
std::string gzip_start(std::string_view bytes, std::size_t count);

// One gzip member without name and time, so equal bytes give equal files. `level` 1 (fast) to 12.
std::string gzip(std::string_view bytes, int level);

}  // namespace lamp
