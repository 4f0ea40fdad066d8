// The voxels of a NRRD or MetaImage file, all of them or none. ITK reports success on files that
// are cut short and fills the rest with zeros, so it only reads their headers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace lamp {

enum class Encoding { kRaw, kGzip, kZlib };

struct StoredData {
  std::filesystem::path file;  // the header's own file or the one it names
  std::int64_t offset = 0;     // where the voxels start in it
  std::int64_t bytes = 0;      // of the voxels, uncompressed
  Encoding encoding = Encoding::kRaw;
  bool big_endian = false;
  bool channels_last = false;  // does the header say that the first axis is one of space?
  bool has_spacing = false;    // does it say how large a voxel is?
};

// Reads the text header of .nrrd, .nhdr, .mha or .mhd. Throws InputError for what it does not
// understand, among it the encodings whose length nothing attests (text, hexadecimal) and images
// spread over several files.
StoredData locate_nrrd_data(const std::filesystem::path& path);
StoredData locate_meta_data(const std::filesystem::path& path);

// The voxels' bytes. Throws InputError, naming `path`, if their number differs from the header's
// claim or a checksum does not match.
std::string read_stored_data(const StoredData& data, const std::filesystem::path& path);
// Only whether the claim can be true of a file of that size; costs nothing.
void check_stored_size(const StoredData& data, const std::filesystem::path& path);

}  // namespace lamp
