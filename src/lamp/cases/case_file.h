// One prepared case in a file that is mapped into memory, so that a patch reads only the pages it
// lies on. Layout, little-endian:
//   0   "LAMPCASE"
//   8   version, CRC-32 of the header (uint32 each), bytes of the header, bytes of the file (uint64
//   each) 32  header: JSON {key, offset, window, voxel_counts, foreground, sections}
//   ... sections, each from a multiple of 4096 on: image, label, all foreground indices
//   (int64), counted intensities (int64)
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "lamp/cases/patch_sampler.h"

namespace lamp {

inline constexpr std::uint32_t kCaseFileVersion = 2;

// Atomic; the same bytes for the same case. `key` says what the case was made from and how. Name
// and annotation are not kept, as they come from the data set's JSON. Throws Error if the disk
// refuses.
void write_case_file(const std::filesystem::path& path, const std::string& key,
                     const TrainingCase& sample);

// Checks header, lengths and every section's CRC-32 (one pass over the file, through read(2)), then
// maps it; the mapping lives as long as any of the tensors. Throws InputError for a file that is
// damaged, of another version or of another key.
TrainingCase map_case_file(const std::filesystem::path& path, const std::string& key);

// The size that the file of this case will have.
std::int64_t case_file_bytes(const TrainingCase& sample);

}  // namespace lamp
