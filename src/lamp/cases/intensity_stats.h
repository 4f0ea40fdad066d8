// Which values an image holds, counted in bounded memory: by channel, inside and outside of what is
// labelled. A network is right only for values like those it was trained on (intensity_check.h).
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "lamp/base/json.h"

namespace lamp {

// Values and how often each occurs. Bins are as narrow as 12 significant bits tell numbers apart
// (whole numbers up to 4096 each have their own) and widen where more than kMostBins would be
// filled. Mean and deviation come from the values themselves, in a fixed order of adding.
struct ValueCounts {
  std::vector<float> values;  // ascending: of each bin, the mean of its values
  std::vector<std::int64_t> counts;
  std::int64_t total = 0;
  double mean = 0;
  double squares = 0;  // sum of squared deviations from the mean

  // The least value that at least this share of the voxels does not exceed. Needs total > 0.
  double quantile(double share) const;
  // Shares of all voxels; 0 where there are none.
  double share_at_most(double value) const;
  double share_at_least(double value) const;
};

inline constexpr std::size_t kMostBins = 4096;

// Both together, as if counted at once.
ValueCounts operator+(const ValueCounts& a, const ValueCounts& b);
// The part that lies above `value`; mean and squares are of the bins' values.
ValueCounts above(const ValueCounts& counts, double value);

struct ChannelIntensities {
  ValueCounts inside, outside;  // of the labelled structures
  ValueCounts edge;             // of the volume's outermost voxels, also counted above; not packed

  ValueCounts all() const { return inside + outside; }
};
using Intensities = std::vector<ChannelIntensities>;  // by channel

// image: float32 [C, D, H, W] before any window. label: integers [D, H, W], or undefined: then
// everything is outside. Voxels that no scan showed (label below 0) and values that are not finite
// are left out.
Intensities count_intensities(const torch::Tensor& image, const torch::Tensor& label);

// The faces of a volume [D, H, W], each voxel once: ChannelIntensities::edge. `values`: what a face
// of `volume`, of whatever form, stands for in float32; none = itself.
ValueCounts count_edge(const torch::Tensor& volume,
                       const std::function<torch::Tensor(const torch::Tensor&)>& values = {});

// One int64 tensor [n], for files, and back. unpack_intensities throws c10::Error for anything
// that pack_intensities did not make; an empty tensor gives no channels.
torch::Tensor pack_intensities(const Intensities& intensities);
Intensities unpack_intensities(const torch::Tensor& packed);

// {"voxels", "mean", "sd", "percentiles": {"0.5", "5", "25", "50", "75", "95", "99.5"}}; no more
// than "voxels" where there are none.
Json to_json(const ValueCounts& counts);

}  // namespace lamp
