// Over libdeflate: it checks every trailer and is several times faster than zlib, but only works on
// whole buffers.
#include "lamp/formats/gzip.h"

#include <libdeflate.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <new>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

struct Release {
  void operator()(libdeflate_decompressor* d) const { libdeflate_free_decompressor(d); }
  void operator()(libdeflate_compressor* c) const { libdeflate_free_compressor(c); }
};

std::unique_ptr<libdeflate_decompressor, Release> make_decompressor() {
  std::unique_ptr<libdeflate_decompressor, Release> result(libdeflate_alloc_decompressor());
  if (!result) throw std::bad_alloc();
  return result;
}

libdeflate_result decompress_one(libdeflate_decompressor* with, const Decompression& job,
                                 std::size_t* used, std::size_t* made) {
  const auto run = job.format == Compression::kGzip ? &libdeflate_gzip_decompress_ex
                                                    : &libdeflate_zlib_decompress_ex;
  return run(with, job.bytes.data(), job.bytes.size(), job.out, job.capacity, used, made);
}

std::string_view behind_zeros(std::string_view bytes) {
  bytes.remove_prefix(std::min(bytes.find_first_not_of('\0'), bytes.size()));
  return bytes;
}

}  // namespace

std::int64_t most_expanded(std::int64_t packed) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  return packed > kMost / kMaxExpansion ? kMost : packed * kMaxExpansion;
}

bool is_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

std::size_t decompress(const Decompression& job, const std::string& file) {
  const auto decompressor = make_decompressor();
  Decompression rest = job;
  do {
    std::size_t used = 0, made = 0;
    const libdeflate_result result = decompress_one(decompressor.get(), rest, &used, &made);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE) {
      cannot_read(file,
                  {.found = "holds more bytes than its header says", .fix = "get the file again"});
    }
    if (result != LIBDEFLATE_SUCCESS) {
      cannot_read(file, {.found = rest.bytes.size() == job.bytes.size()
                                      ? "its compressed data are damaged or cut short"
                                      : "bytes behind its compressed data",
                         .fix = "get the file again"});
    }
    rest.bytes = behind_zeros(rest.bytes.substr(used));
    rest.out += made;
    rest.capacity -= made;
  } while (is_gzip(rest.bytes) && job.format == Compression::kGzip);
  if (!rest.bytes.empty()) {
    cannot_read(file, {.found = "bytes behind its compressed data", .fix = "get the file again"});
  }
  return job.capacity - rest.capacity;
}

std::string gzip_start(std::string_view bytes, std::size_t count) {
  // libdeflate has no streaming, but out of space it leaves what it has decoded, short of one match
  // or one stored block (65,535 bytes at most). The zeros tell if a later version should not: the
  // caller then finds no header.
  constexpr std::size_t kRoom = std::size_t{1} << 17;
  const auto decompressor = make_decompressor();
  std::string start(kRoom, '\0');
  std::size_t filled = 0;
  while (filled < count && is_gzip(bytes)) {
    std::size_t used = 0, made = 0;
    const auto result = decompress_one(
        decompressor.get(),
        {.bytes = bytes, .out = start.data() + filled, .capacity = kRoom - filled}, &used, &made);
    if (result == LIBDEFLATE_INSUFFICIENT_SPACE) filled = kRoom;
    if (result != LIBDEFLATE_SUCCESS) break;
    filled += made;
    bytes = behind_zeros(bytes.substr(used));
  }
  start.resize(std::min(filled, count));
  return start;
}

std::string gzip(std::string_view bytes, int level) {
  const std::unique_ptr<libdeflate_compressor, Release> compressor(
      libdeflate_alloc_compressor(level));
  if (!compressor) throw std::bad_alloc();
  std::string result(libdeflate_gzip_compress_bound(compressor.get(), bytes.size()), '\0');
  result.resize(libdeflate_gzip_compress(compressor.get(), bytes.data(), bytes.size(),
                                         result.data(), result.size()));
  return result;
}

}  // namespace lamp
