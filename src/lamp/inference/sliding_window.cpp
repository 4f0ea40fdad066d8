// Where the windows lie, how much each voxel of a window counts, and the sum over windows.
#include "lamp/inference/sliding_window.h"

#include <algorithm>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"

namespace lamp {
namespace {

constexpr double kSigma = 0.125;       // of the window, per axis: MONAI's and nnU-Net's choice
constexpr double kLeastWeight = 1e-3;  // keeps corners, seen by one window only, away from 0 / 0

// Equal steps, the last window moved back to end with the image.
std::vector<std::int64_t> starts(std::int64_t length, std::int64_t window, double overlap) {
  const auto moved = static_cast<std::int64_t>(static_cast<double>(window) * (1 - overlap));
  const std::int64_t step = window == length ? window : std::max<std::int64_t>(moved, 1);
  std::vector<std::int64_t> found;
  for (std::int64_t start = 0;; start += step) {
    found.push_back(std::min(start, length - window));
    if (start + window >= length) return found;
  }
}

torch::Tensor bell(std::int64_t length) {
  const double sigma = kSigma * static_cast<double>(length);
  const double centre = static_cast<double>(length - 1) / 2;
  const torch::Tensor distance = torch::arange(length, torch::kFloat32).sub_(centre);
  return distance.square_().div_(-2 * sigma * sigma).exp_();
}

// [d, h, w] float32.
torch::Tensor window_weights(const Shape3& window, Blend blend) {
  if (blend == Blend::kConstant) return torch::ones({window[0], window[1], window[2]});
  torch::Tensor weights =
      bell(window[0]).view({-1, 1, 1}) * bell(window[1]).view({-1, 1}) * bell(window[2]);
  const torch::Tensor positive = weights.masked_select(weights > 0);
  return weights.clamp_min_(std::max(positive.min().item<double>(), kLeastWeight));
}

torch::Tensor cut(torch::Tensor tensor, const Shape3& start, const Shape3& size) {
  for (std::size_t axis = 0; axis < 3; ++axis)
    tensor =
        tensor.narrow(tensor.dim() - 3 + static_cast<std::int64_t>(axis), start[axis], size[axis]);
  return tensor;
}

// Sums weighted scores; the number of classes is known with the first of them.
class Blender {
 public:
  Blender(const torch::Tensor& image, const Shape3& window, Blend blend)
      : window_(window),
        weights_(window_weights(window, blend).to(image.device())),
        weight_sum_(torch::zeros(image.sizes().slice(1), weights_.options())) {}

  void add(const torch::Tensor& scores, const Shape3& start) {  // [K, d, h, w]
    if (!sum_.defined()) {
      std::vector<std::int64_t> shape = weight_sum_.sizes().vec();
      shape.insert(shape.begin(), scores.size(0));
      sum_ = torch::zeros(shape, weights_.options());
    }
    cut(sum_, start, window_).addcmul_(scores.to(sum_.options()), weights_);
    cut(weight_sum_, start, window_).add_(weights_);
  }
  torch::Tensor mean() { return sum_.div_(weight_sum_); }

 private:
  Shape3 window_;
  torch::Tensor weights_;
  torch::Tensor sum_;  // [K, D, H, W]
  torch::Tensor weight_sum_;
};

std::vector<Shape3> window_starts(const torch::Tensor& image, const Shape3& window,
                                  double overlap) {
  std::vector<Shape3> all;
  for (const std::int64_t z : starts(image.size(1), window[0], overlap))
    for (const std::int64_t y : starts(image.size(2), window[1], overlap))
      for (const std::int64_t x : starts(image.size(3), window[2], overlap))
        all.push_back({z, y, x});
  return all;
}

void check(const torch::Tensor& image, const WindowOptions& options) {
  TORCH_CHECK(image.dim() == 4 && image.numel() > 0, "sliding_window takes [C, D, H, W], found ",
              image.sizes());
  for (const std::int64_t length : options.size)
    TORCH_CHECK(length > 0, "a window of ", length, " voxels");
  TORCH_CHECK(options.overlap >= 0 && options.overlap < 1, "overlap ", options.overlap,
              " is not in [0, 1)");
  TORCH_CHECK(options.batch > 0, "a batch of ", options.batch, " windows");
}

}  // namespace

Blend parse_blend(const std::string& text) {
  if (text == "gaussian") return Blend::kGaussian;
  if (text == "constant") return Blend::kConstant;
  throw UsageError(setting_name("blend") + ": found \"" + shortened(text) +
                   "\", expected gaussian or constant");
}

torch::Tensor sliding_window(const torch::Tensor& image, const WindowOptions& options,
                             const Predictor& predictor) {
  check(image, options);
  Shape3 window = last_three(image.sizes());
  for (std::size_t axis = 0; axis < 3; ++axis)
    window[axis] = std::min(window[axis], options.size.dhw()[axis]);
  const std::vector<Shape3> places = window_starts(image, window, options.overlap);
  Blender blender(image, window, options.blend);
  const auto batch = static_cast<std::size_t>(options.batch);
  for (std::size_t first = 0; first < places.size(); first += batch) {
    const std::size_t last = std::min(first + batch, places.size());
    std::vector<torch::Tensor> windows;
    for (std::size_t i = first; i < last; ++i) windows.push_back(cut(image, places[i], window));
    const torch::Tensor scores = predictor(torch::stack(windows));
    TORCH_CHECK(scores.dim() == 5 && scores.size(0) == static_cast<std::int64_t>(last - first) &&
                    scores.sizes().slice(2) == windows[0].sizes().slice(1),
                "the predictor gave ", scores.sizes(), " for windows of ", windows[0].sizes());
    for (std::size_t i = first; i < last; ++i)
      blender.add(scores[static_cast<std::int64_t>(i - first)], places[i]);
  }
  return blender.mean();
}

}  // namespace lamp
