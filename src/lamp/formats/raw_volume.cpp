// One pass over the stored bytes, in parallel.
#include "lamp/formats/raw_volume.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>

#include "lamp/base/host_memory.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::int64_t kGrain = 1 << 16;

template <typename T>
T stored(const char* bytes, std::int64_t index, bool swap) {
  std::array<char, sizeof(T)> raw;
  std::memcpy(raw.data(), bytes + index * sizeof(T), sizeof(T));  // may be unaligned
  if (swap) std::reverse(raw.begin(), raw.end());
  T value;
  std::memcpy(&value, raw.data(), sizeof(T));
  return value;
}

template <typename F>
void with_type(VoxelType type, F&& f) {
  switch (type) {
    case VoxelType::kUInt8:
      return f(std::uint8_t{});
    case VoxelType::kInt8:
      return f(std::int8_t{});
    case VoxelType::kUInt16:
      return f(std::uint16_t{});
    case VoxelType::kInt16:
      return f(std::int16_t{});
    case VoxelType::kUInt32:
      return f(std::uint32_t{});
    case VoxelType::kInt32:
      return f(std::int32_t{});
    case VoxelType::kUInt64:
      return f(std::uint64_t{});
    case VoxelType::kInt64:
      return f(std::int64_t{});
    case VoxelType::kFloat32:
      return f(float{});
    case VoxelType::kFloat64:
      return f(double{});
  }
}

// "voxel (3, 4, 5)", with the channel if there are several.
std::string position(const RawVolume& raw, std::int64_t index) {
  const std::int64_t voxels = raw.geometry.voxels();
  const std::int64_t channel = raw.interleaved ? index % raw.channels : index / voxels;
  const std::int64_t voxel = raw.interleaved ? index / raw.channels : index % voxels;
  const auto& size = raw.geometry.size;
  return "voxel (" + std::to_string(voxel % size[0]) + ", " +
         std::to_string(voxel / size[0] % size[1]) + ", " +
         std::to_string(voxel / size[0] / size[1]) + ")" +
         (raw.channels > 1 ? " of channel " + std::to_string(channel) : "");
}

torch::Tensor channels_first(const torch::Tensor& values, const RawVolume& raw) {
  const auto& size = raw.geometry.size;
  if (!raw.interleaved) return values.view({raw.channels, size[2], size[1], size[0]});
  return values.view({size[2], size[1], size[0], raw.channels}).permute({3, 0, 1, 2}).contiguous();
}

void refuse_nan(const float* values, const RawVolume& raw, const std::string& file) {
  std::int64_t bad = 0, first = 0;
  for (std::int64_t i = raw.value_count() - 1; i >= 0; --i) {
    if (std::isfinite(values[i])) continue;
    ++bad;
    first = i;
  }
  if (bad == 0) return;
  cannot_read(file, {.found = std::to_string(bad) + " NaN or infinite values, the first at " +
                              position(raw, first),
                     .fix = "replace them by real values"});
}

// Where `index` is the lowest offending value any thread has seen.
void lower_to(std::atomic<std::int64_t>& index, std::int64_t candidate) {
  std::int64_t seen = index.load();
  while (candidate < seen && !index.compare_exchange_weak(seen, candidate)) {
  }
}

torch::Tensor whole_numbers(const RawVolume& raw, const std::string& file) {
  const torch::Tensor values = torch::empty({raw.value_count()}, torch::kInt32);
  std::int32_t* out = values.data_ptr<std::int32_t>();
  const char* in = raw.bytes.data() + raw.offset;
  constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> wrong{kNone};
  const auto value_at = [&](auto type, std::int64_t i) {
    const auto found = stored<decltype(type)>(in, i, raw.swap_bytes);
    return raw.slope * static_cast<double>(found) + raw.intercept;
  };
  with_type(raw.type, [&](auto type) {
    at::parallel_for(0, raw.value_count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const double value = value_at(type, i);
        if (!(std::abs(value) <= 2147483647.0) || value != std::trunc(value)) {
          lower_to(wrong, i);
          break;
        }
        out[i] = static_cast<std::int32_t>(value);
      }
    });
  });
  if (wrong == kNone) return values;
  double found = 0;
  with_type(raw.type, [&](auto type) { found = value_at(type, wrong); });
  cannot_read(file, {.found = "label value " + shortest(found) + " at " + position(raw, wrong),
                     .expected = "a whole number up to 2147483647",
                     .fix = "write labels as integers"});
}

torch::Tensor smallest_type(const torch::Tensor& labels) {
  const auto [low, high] = torch::aminmax(labels);
  const auto fits = [&, l = low.item<int>(), h = high.item<int>()](int least, int most) {
    return l >= least && h <= most;
  };
  if (fits(0, 255)) return labels.to(torch::kUInt8);
  return fits(-32768, 32767) ? labels.to(torch::kInt16) : labels;
}

}  // namespace

std::int64_t bytes_of(VoxelType type) {
  std::int64_t bytes = 0;
  with_type(type, [&](auto value) { bytes = sizeof value; });
  return bytes;
}

void check_fits_memory(const RawVolume& header, std::int64_t packed_bytes,
                       const ReadOptions& options, const std::string& file) {
  const auto values = static_cast<double>(header.value_count());  // its bytes may pass 2^63
  const double stored = values * static_cast<double>(bytes_of(header.type));
  const bool copied = header.interleaved && header.channels > 1;
  const double tensor = values * sizeof(float) * (copied ? 2 : 1);
  const double needed = stored + std::max(static_cast<double>(packed_bytes), tensor);
  const auto shortage = memory_shortage(needed, options.memory_bytes);
  if (!shortage) return;
  throw TooLargeToRead(
      {.file = file,
       .what = "does not fit",
       .found =
           "its header claims " + header.geometry.describe() +
           (header.channels > 1 ? " and " + std::to_string(header.channels) + " channels" : "") +
           ", which take " + shortage->needed + " to read, but " + shortage->left,
       .fix = std::string(shortage->limited ? "give more" : "free memory") +
              ", or crop or resample the image (if it is not that large, its header is damaged)"});
}

Volume to_image(const RawVolume& raw, const ReadOptions& options, const std::string& file) {
  const torch::Tensor values = torch::empty({raw.value_count()}, torch::kFloat32);
  float* out = values.data_ptr<float>();
  const char* in = raw.bytes.data() + raw.offset;
  const bool scaled = raw.slope != 1 || raw.intercept != 0;
  with_type(raw.type, [&](auto type) {
    using T = decltype(type);
    at::parallel_for(0, raw.value_count(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const T value = stored<T>(in, i, raw.swap_bytes);
        out[i] = static_cast<float>(scaled ? raw.slope * static_cast<double>(value) + raw.intercept
                                           : static_cast<double>(value));
      }
    });
  });
  // Integers become infinite only by scaling.
  const bool may_be_nan =
      scaled || raw.type == VoxelType::kFloat32 || raw.type == VoxelType::kFloat64;
  if (options.refuse_nan && may_be_nan) refuse_nan(out, raw, file);
  return {.geometry = raw.geometry,
          .voxels = channels_first(values, raw),
          .nifti_space = raw.nifti_space};
}

Volume to_label(const RawVolume& raw, const std::string& file) {
  if (raw.channels != 1) {
    cannot_read(file, {.found = std::to_string(raw.channels) + " channels in a label map",
                       .expected = "1 with one number per structure",
                       .fix = "write one number a voxel"});
  }
  torch::Tensor labels;
  if (raw.type == VoxelType::kUInt8 && raw.slope == 1 && raw.intercept == 0) {
    labels = torch::empty({raw.value_count()}, torch::kUInt8);
    std::memcpy(labels.data_ptr(), raw.bytes.data() + raw.offset, labels.nbytes());
  } else {
    labels = smallest_type(whole_numbers(raw, file));
  }
  return {.geometry = raw.geometry,
          .voxels = channels_first(labels, raw),
          .nifti_space = raw.nifti_space};
}

}  // namespace lamp
