// Header first, then exactly as many bytes as it accounts for.
#include "lamp/data/nifti.h"

#include <torch/types.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/data/gzip.h"
#include "lamp/data/nifti_geometry.h"
#include "lamp/data/nifti_header.h"
#include "lamp/data/volume_mark.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Enough of a compressed file for gzip_start to reach its header.
constexpr std::int64_t kStartBytes = 1 << 18;
constexpr std::size_t kHeaderBytes = 1 << 16;
// Some writers pad the file to a block with zeros.
constexpr std::int64_t kPadding = 512;
// On a noisy CT of 512x512x300 int16 level 1 takes 0.75 s, level 6 3.5 s for a file 3 % smaller.
constexpr int kLevel = 1;

void check_file_size(const NiftiHeader& header, std::int64_t most, const std::string& file) {
  if (header.file_bytes() <= most) return;
  throw InputError("cannot read", file,
                   "its header accounts for " + std::to_string(header.file_bytes()) +
                       " bytes, but the file cannot hold more than " + std::to_string(most) +
                       ": it is cut short or its header is damaged; get the file again");
}

std::int64_t most_bytes(std::int64_t file_bytes, bool compressed) {
  return compressed ? file_bytes * static_cast<std::int64_t>(kMaxExpansion) : file_bytes;
}

void check_surplus(const std::string& bytes, std::int64_t expected, const std::string& file) {
  const auto surplus = static_cast<std::int64_t>(bytes.size()) - expected;
  const bool zeros =
      std::all_of(bytes.begin() + expected, bytes.end(), [](char c) { return c == 0; });
  if (surplus < kPadding && zeros) return;
  throw InputError("cannot read", file,
                   std::to_string(surplus) +
                       " bytes behind its last voxel, expected none; the "
                       "header's size, datatype or vox_offset may be wrong");
}

// The whole uncompressed file.
std::string unpacked(const std::string& packed, const std::string& file) {
  const std::string start = gzip_start(packed, kHeaderBytes);
  if (start.empty()) {
    throw InputError("cannot read", file,
                     "its compressed data are damaged or cut short; get the file again");
  }
  const NiftiHeader header = parse_nifti_header(start, file);
  check_file_size(header, most_bytes(static_cast<std::int64_t>(packed.size()), true), file);
  std::string bytes(static_cast<std::size_t>(header.file_bytes() + kPadding), '\0');
  bytes.resize(decompress({.bytes = packed, .out = bytes.data(), .capacity = bytes.size()}, file));
  return bytes;
}

std::string first_bytes(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string bytes(kStartBytes, '\0');
  stream.read(bytes.data(), kStartBytes);
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, stream.gcount())));
  return bytes;
}

RawVolume with_header(const NiftiHeader& header, const ReadOptions& options,
                      const std::string& file) {
  auto space = std::make_shared<NiftiSpace>(header.space);
  space->grid = nifti_geometry(header.space, header.size, options, file);
  return {.geometry = space->grid,
          .channels = header.channels,
          .type = header.type,
          .swap_bytes = header.swap_bytes,
          .slope = header.slope,
          .intercept = header.intercept,
          .offset = static_cast<std::size_t>(header.voxel_offset),
          .nifti_space = space};
}

VoxelType type_of(const torch::Tensor& voxels) {
  switch (voxels.scalar_type()) {
    case torch::kUInt8:
      return VoxelType::kUInt8;
    case torch::kInt16:
      return VoxelType::kInt16;
    case torch::kInt32:
      return VoxelType::kInt32;
    case torch::kFloat32:
      return VoxelType::kFloat32;
    default:
      TORCH_CHECK(false, "cannot write voxels of type ", voxels.scalar_type());
  }
}

bool is_gzip_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".gz" || extension == ".GZ" || extension == ".Gz" || extension == ".gZ";
}

// The volume's own fields if they still say where its grid lies.
NiftiSpace space_to_write(const Volume& volume) {
  const NiftiSpace* own = volume.nifti_space.get();
  if (own == nullptr) return nifti_space_of(volume.geometry);
  const bool same = corner_distance_voxels(volume.geometry, own->grid) < kSameGridVoxels;
  return same ? *own : nifti_space_of(volume.geometry);
}

}  // namespace

RawVolume read_nifti(const fs::path& path, const ReadOptions& options) {
  const std::string file = path.string();
  std::string bytes = read_file(path);
  if (is_gzip(bytes)) bytes = unpacked(bytes, file);
  const NiftiHeader header = parse_nifti_header(bytes, file);
  check_file_size(header, static_cast<std::int64_t>(bytes.size()), file);
  check_surplus(bytes, header.file_bytes(), file);
  RawVolume raw = with_header(header, options, file);
  raw.bytes = std::move(bytes);
  return raw;
}

VolumeHeader read_nifti_header(const fs::path& path, const ReadOptions& options) {
  const std::string file = path.string();
  const std::string start = first_bytes(path);
  const bool compressed = is_gzip(start);
  const std::string head = compressed ? gzip_start(start, kHeaderBytes) : start;
  if (start.empty() ||
      head.empty()) {  // missing, damaged or of unusual structure: the long way tells
    const RawVolume raw = read_nifti(path, options);
    return {raw.geometry, raw.channels};
  }
  const NiftiHeader header = parse_nifti_header(head, file);
  std::error_code error;
  const auto size = static_cast<std::int64_t>(fs::file_size(path, error));
  if (!error) check_file_size(header, most_bytes(size, compressed), file);
  const RawVolume raw = with_header(header, options, file);
  return {raw.geometry, raw.channels};
}

void write_nifti(const fs::path& path, const Volume& volume, const std::string& writer) {
  const torch::Tensor voxels = volume.voxels.contiguous();
  const auto& size = volume.geometry.size;
  TORCH_CHECK(voxels.dim() == 4 && voxels.size(1) == size[2] && voxels.size(2) == size[1] &&
                  voxels.size(3) == size[0],
              "voxels of shape ", voxels.sizes(), " on a grid of ", volume.geometry.describe());
  const NiftiHeader header{.size = size,
                           .channels = voxels.size(0),
                           .type = type_of(voxels),
                           .space = space_to_write(volume),
                           .description = writer.empty() ? "" : unsealed_mark(writer)};
  std::string bytes = nifti1_header(header, path.string());
  if (!writer.empty())
    seal(bytes, {static_cast<const char*>(voxels.data_ptr()), voxels.nbytes()}, writer);
  AtomicFile file(path);
  if (is_gzip_name(path)) {
    bytes.append(static_cast<const char*>(voxels.data_ptr()), voxels.nbytes());
    file.write(gzip(bytes, kLevel));
  } else {
    file.write(bytes);
    file.write(voxels.data_ptr(), voxels.nbytes());
  }
  file.commit();
}

}  // namespace lamp
