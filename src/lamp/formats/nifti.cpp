// Header first, then exactly as many bytes as it accounts for.
#include "lamp/formats/nifti.h"

#include <torch/types.h>

#include <algorithm>
#include <memory>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/regular_file.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/nifti_geometry.h"
#include "lamp/formats/nifti_header.h"
#include "lamp/formats/volume_mark.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

// Enough of a compressed file for gzip_start to reach its header; more if it is of a rare kind.
constexpr std::size_t kStartBytes = 1 << 18;
constexpr std::size_t kLongStartBytes = 1 << 26;
constexpr std::size_t kHeaderBytes = 1 << 16;
// Some writers pad the file to a block with zeros.
constexpr std::int64_t kPadding = 512;
// On a noisy CT of 512x512x300 int16 level 1 takes 0.75 s, level 6 3.5 s for a file 3 % smaller.
constexpr int kLevel = 1;

void check_file_size(const NiftiHeader& header, std::int64_t most, const std::string& file) {
  if (header.file_bytes() <= most) return;
  cannot_read(file, {.found = "its header accounts for " + std::to_string(header.file_bytes()) +
                              " bytes, but the file cannot hold more than " + std::to_string(most) +
                              ": it is cut short or its header is damaged",
                     .fix = "get the file again"});
}

[[noreturn]] void refuse_surplus(std::int64_t surplus, const std::string& file) {
  cannot_read(file, {.found = std::to_string(surplus) + " bytes behind its last voxel",
                     .expected = "none",
                     .fix = "correct the header, its size, datatype or vox_offset may be wrong"});
}

void check_surplus(const std::string& bytes, std::int64_t expected, const std::string& file) {
  const auto surplus = static_cast<std::int64_t>(bytes.size()) - expected;
  const bool zeros =
      std::all_of(bytes.begin() + expected, bytes.end(), [](char c) { return c == 0; });
  if (surplus >= kPadding || !zeros) refuse_surplus(surplus, file);
}

// The first bytes of a compressed file, unpacked.
std::string unpacked_head(const RegularFile& in, const std::string& file) {
  std::string head = gzip_start(in.start(kStartBytes), kHeaderBytes);
  const bool more = in.size() > static_cast<std::int64_t>(kStartBytes);
  if (more && head.size() < static_cast<std::size_t>(kNifti2Bytes))
    head = gzip_start(in.start(kLongStartBytes), kHeaderBytes);
  if (!head.empty()) return head;
  cannot_read(
      file, {.found = "its compressed data are damaged or cut short", .fix = "get the file again"});
}

// A header judged against the size of its file, before anything else of the file is read.
struct HeaderOfFile {
  NiftiHeader header;
  bool compressed = false;
};

HeaderOfFile read_header(const RegularFile& in, const std::string& file) {
  std::string head = in.start(kStartBytes);
  const bool compressed = is_gzip(head);
  if (compressed) head = unpacked_head(in, file);
  HeaderOfFile found{parse_nifti_header(head, file), compressed};
  check_file_size(found.header, compressed ? most_expanded(in.size()) : in.size(), file);
  const std::int64_t surplus = in.size() - found.header.file_bytes();
  if (!compressed && surplus >= kPadding) refuse_surplus(surplus, file);
  return found;
}

// The whole file, uncompressed.
std::string read_bytes(const RegularFile& in, const HeaderOfFile& found, const std::string& file) {
  std::string bytes = in.start(static_cast<std::size_t>(in.size()));
  if (!found.compressed) return bytes;
  std::string unpacked(static_cast<std::size_t>(found.header.file_bytes() + kPadding), '\0');
  unpacked.resize(
      decompress({.bytes = bytes, .out = unpacked.data(), .capacity = unpacked.size()}, file));
  return unpacked;
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
  const RegularFile in(path);
  const HeaderOfFile found = read_header(in, file);
  RawVolume raw = with_header(found.header, options, file);
  check_fits_memory(raw, found.compressed ? in.size() : 0, options, file);
  raw.bytes = read_bytes(in, found, file);
  const NiftiHeader header = parse_nifti_header(raw.bytes, file);  // with every extension
  check_file_size(header, static_cast<std::int64_t>(raw.bytes.size()), file);
  check_surplus(raw.bytes, header.file_bytes(), file);
  return raw;
}

VolumeHeader read_nifti_header(const fs::path& path, const ReadOptions& options) {
  const RegularFile in(path);
  const HeaderOfFile found = read_header(in, path.string());
  const RawVolume raw = with_header(found.header, options, path.string());
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
