// The window is found from a sample of the voxels.
#include "lamp/preview/grey_image.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::int64_t kSampledVoxels = 1 << 20;
constexpr std::array<double, 2> kSoftTissue = {-160, 240};  // HU

// Air around a patient, bone or contrast inside, and nothing that no scanner writes.
bool looks_like_ct(double low, double high) { return low <= -600 && low >= -4096 && high >= -200; }

struct GreyWindow {
  double low, high;
  std::string note;
};

std::string range_text(double low, double high) {
  return six_digits(low) + " to " + six_digits(high);
}

// Of `sample`, which is not empty and is sorted here.
GreyWindow window_of(std::vector<float>& sample, const std::array<double, 2>& range) {
  std::sort(sample.begin(), sample.end());
  const auto at = [&](double share) {
    return double{sample[static_cast<std::size_t>(share * static_cast<double>(sample.size() - 1))]};
  };
  if (looks_like_ct(at(0.005), at(0.995)))
    return {kSoftTissue[0], kSoftTissue[1],
            "Grey: " + range_text(kSoftTissue[0], kSoftTissue[1]) + " HU (soft tissue)"};
  if (at(0.01) < at(0.99))
    return {at(0.01), at(0.99),
            "Grey: " + range_text(at(0.01), at(0.99)) + " (1st to 99th percentile)"};
  if (range[0] < range[1])
    return {range[0], range[1],
            "Grey: " + range_text(range[0], range[1]) + " (least to greatest value)"};
  return {range[0] - 1, range[0] + 1, "Grey: every voxel is " + six_digits(range[0])};
}

}  // namespace

GreyImage grey_image(const Volume& image) {
  TORCH_CHECK(image.voxels.dim() == 4 && image.voxels.size(0) > 0,
              "expected voxels [C, D, H, W], found ", image.voxels.sizes());
  const torch::Tensor channel = image.voxels[0].to(torch::kFloat32).contiguous();
  const float* values = channel.const_data_ptr<float>();
  const std::int64_t count = channel.numel();
  const std::int64_t step = std::max<std::int64_t>(1, count / kSampledVoxels);
  std::array<double, 2> range = {std::numeric_limits<double>::infinity(),
                                 -std::numeric_limits<double>::infinity()};
  std::vector<float> sample;
  std::int64_t unseen = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) {
      ++unseen;
      continue;
    }
    range = {std::min<double>(range[0], values[i]), std::max<double>(range[1], values[i])};
    if (i % step == 0) sample.push_back(values[i]);
  }
  GreyImage result{.geometry = image.geometry,
                   .voxels = torch::zeros(channel.sizes(), torch::kUInt8)};
  if (image.voxels.size(0) > 1)
    result.notes.push_back("Channel 1 of " + std::to_string(image.voxels.size(0)));
  if (unseen > 0) result.notes.push_back(counted(unseen, "voxel") + " without a number: black");
  if (unseen == count) return result;
  if (sample.empty()) sample = {static_cast<float>(range[0]), static_cast<float>(range[1])};
  const GreyWindow window = window_of(sample, range);
  result.notes.insert(result.notes.begin(), window.note);
  auto* grey = result.voxels.mutable_data_ptr<std::uint8_t>();
  const double factor = 255 / (window.high - window.low);
  for (std::int64_t i = 0; i < count; ++i)
    if (std::isfinite(values[i]))
      grey[i] = static_cast<std::uint8_t>(
          std::lround(std::clamp((values[i] - window.low) * factor, 0.0, 255.0)));
  return result;
}

}  // namespace lamp
