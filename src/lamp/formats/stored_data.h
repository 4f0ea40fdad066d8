// The voxels behind a text header, in the header's own file or in one beside it: all of them or
// none. Other readers report success on files that are cut short and fill the rest with zeros.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/formats/raw_volume.h"
#include "lamp/formats/text_header.h"

namespace lamp {

enum class Encoding { kRaw, kGzip, kZlib };

struct StoredData {
  std::filesystem::path file;  // the header's own file or the one it names
  std::int64_t offset = 0;     // where the voxels start in it
  std::int64_t bytes = 0;      // of the voxels, uncompressed
  Encoding encoding = Encoding::kRaw;
  // Compressed bytes by the header, give or take its rounding; 0 = it does not say.
  std::int64_t packed = 0, packed_rounding = 0;
};

// What a text header says: a volume whose `bytes` are still in `data`, its grid not yet checked.
struct StoredVolume {
  RawVolume volume = {};
  StoredData data = {};
};

// Does a header name a list ("LIST", "LIST 2") or a pattern ("slice%03d.raw 1 20 1") of files?
bool names_several_files(const std::string& name);

// The file that a header names for its voxels. Throws InputError for a list or pattern of several
// files and for a path out of the header's folder: a header that a stranger wrote could name any
// file of the user.
std::filesystem::path detached_file(const TextHeader& header, const std::string& name);

// The product of `sizes` and `element` bytes. Throws InputError if there is none, or no file could
// be as large.
std::int64_t claimed_bytes(const TextHeader& header, std::vector<std::int64_t> sizes,
                           std::int64_t element);

// Only whether the claim can be true of a file of that size; costs nothing. Throws InputError,
// naming `path`. Returns the bytes that are stored.
std::int64_t check_stored_size(const StoredData& data, const std::filesystem::path& path);
// The voxels' bytes. Throws InputError, naming `path`, if their number differs from the header's
// claim or a checksum does not match.
std::string read_stored_data(const StoredData& data, const std::filesystem::path& path);

}  // namespace lamp
