// Voxels as a file stores them, and their way to the tensors that the rest of the program knows.
// Every format ends here, so that scaling, NaN checks and label checks are the same for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/volume/volume.h"

namespace lamp {

enum class VoxelType {
  kUInt8,
  kInt8,
  kUInt16,
  kInt16,
  kUInt32,
  kInt32,
  kUInt64,
  kInt64,
  kFloat32,
  kFloat64
};

std::int64_t bytes_of(VoxelType type);

struct RawVolume {
  Geometry geometry;
  std::int64_t channels = 1;
  VoxelType type = VoxelType::kUInt8;
  bool swap_bytes = false;
  bool interleaved =
      false;  // channels of a voxel side by side (ITK), else one volume after the other (NIfTI)
  double slope = 1;  // value = slope * stored + intercept
  double intercept = 0;
  std::string bytes;  // the voxels start at `offset`, x fastest
  std::size_t offset = 0;
  std::shared_ptr<const NiftiSpace> nifti_space;

  std::int64_t value_count() const { return geometry.voxels() * channels; }
};

// An image whose header claims more than the memory for reading it.
class TooLargeToRead : public DoesNotFit {
 public:
  explicit TooLargeToRead(Fault fault) : DoesNotFit(message_of(fault)), fault_(std::move(fault)) {}
  const Fault& fault() const { return fault_; }

 private:
  Fault fault_;
};

// Throws TooLargeToRead, with both numbers, if reading what the header claims would take more
// memory than there is or `options` allow: asked before any is taken. `packed_bytes` are those of a
// compressed file, 0 else.
void check_fits_memory(const RawVolume& header, std::int64_t packed_bytes,
                       const ReadOptions& options, const std::string& file);

// [C, D, H, W] float32. Throws InputError that names the first NaN or infinite voxel if `options`
// refuse them.
Volume to_image(const RawVolume& raw, const ReadOptions& options, const std::string& file);
// [1, D, H, W] of the smallest of uint8, int16 and int32 that holds all values. Throws InputError
// for values that are not whole numbers or beyond int32, and for more than one channel.
Volume to_label(const RawVolume& raw, const std::string& file);

}  // namespace lamp
