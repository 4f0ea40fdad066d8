// Placing the networks, counting what a case needs, and the passes themselves.
#include "lamp/inference/scorer.h"

#include <torch/torch.h>

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/memory_counter.h"
#include "lamp/inference/host_memory.h"
#include "lamp/inference/predictor.h"
#include "lamp/inference/test_time_mirroring.h"
#include "lamp/nets/inference_form.h"
#include "lamp/nets/net_factory.h"

namespace lamp {
namespace {

constexpr double kShareOfAvailable = 0.8;
// What the C library's heap loses to gaps between blocks of unequal size: up to 28 % was measured.
constexpr double kHeapGaps = 1.3;
// Pages of code and stacks that the process has not touched yet when its share is reckoned.
constexpr std::int64_t kLatePages = 48 << 20;
constexpr float kLeastProbability = 1e-30F;  // keeps the logarithm finite

c10::Device single_device(const std::string& text) {
  const std::vector<c10::Device> devices = parse_devices(text);
  if (devices.size() > 1 && text != "auto")
    throw UsageError("--device: segment runs on one device, found \"" + text + "\"; use " +
                     devices.front().str());
  return devices.front();
}

// Only networks of one kind of image and one list of labels can be averaged.
void check_ensemble(const std::vector<SegmentModel>& models) {
  TORCH_CHECK(!models.empty(), "a segmentation needs a model");
  const Model& first = models.front().model;
  for (const auto& [file, model] : models) {
    std::string what;
    if (model.labels != first.labels) what = "labels";
    if (model.network.config.in_channels != first.network.config.in_channels) what = "channels";
    if (to_json(parse_data_config(model.data)) != to_json(parse_data_config(first.data)))
      what = "preprocessing (\"data\")";
    if (!what.empty())
      throw UsageError("-m: " + file + " and " + models.front().file + " have different " + what +
                       "; only models trained alike can be averaged");
  }
}

// Weights of its own where they will be rounded: the caller's model stays what it was.
Network form_of(const Network& network, c10::ScalarType dtype) {
  if (dtype == torch::kFloat32) return inference_form(network);
  const torch::NoGradGuard no_gradients;
  const Network copy = make_network(network.config);
  const auto copy_all = [](const auto& from, const auto& to) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i]);
  };
  copy_all(network.chain->parameters(), copy.chain->parameters());
  copy_all(network.chain->buffers(), copy.chain->buffers());
  copy.chain->eval();
  return inference_form(copy);
}

std::array<std::int64_t, 3> size_of(const torch::Tensor& image) {  // [C, D, H, W]
  return {image.size(3), image.size(2), image.size(1)};
}

}  // namespace

Scorer::Scorer(const std::vector<SegmentModel>& models, const SegmentOptions& options, bool several,
               const PredictorFactory& factory)
    : options_(options), several_(several), device_(single_device(options.device)) {
  check_ensemble(models);
  const c10::ScalarType dtype = parse_precision(options.precision, device_);
  labels_ = models.front().model.labels;
  classes_ = models.front().model.network.config.classes;
  const bool bounded = options.patch.kind != PatchRequest::kFixed || options.memory_bytes;
  for (const auto& [file, model] : models) {
    const Network form = form_of(model.network, dtype);
    place_network(form, device_, dtype);
    multiple_ = std::max(multiple_, form.stride_multiple);
    predictors_.push_back(factory(form, device_, dtype));
    if (bounded) forward_.emplace_back(form, device_, dtype);
  }
  if (!bounded) return;
  const auto available = static_cast<double>(available_bytes(device_));
  limit_bytes_ = static_cast<std::int64_t>(kShareOfAvailable * available);
  if (options.memory_bytes) {
    release_free_memory();  // what the passes of the estimate left
    const std::int64_t taken =
        device_.is_cpu() ? resident_bytes() + kLatePages : allocated_bytes(device_);
    limit_bytes_ = std::max<std::int64_t>(*options.memory_bytes - taken, 0);
  }
}

std::int64_t Scorer::need(const PreparedImage& image, const Plan& plan) const {
  const auto network_voxels = image.voxels.numel() / image.voxels.size(0);
  const std::int64_t image_bytes = image.voxels.numel() * 4;
  const std::int64_t scores = classes_ * network_voxels * 4;
  std::int64_t passes = 0;
  for (const ForwardMemory& forward : forward_) passes = std::max(passes, forward.bytes(plan.size));
  if (device_.is_cpu()) passes = static_cast<std::int64_t>(kHeapGaps * static_cast<double>(passes));
  // Windows: the sum of scores, the sum of weights, and one window's scores and weights.
  const std::int64_t window_voxels = plan.size[0] * plan.size[1] * plan.size[2];
  if (!plan.whole) passes += scores + network_voxels * 4 + (classes_ + 1) * window_voxels * 4;
  if (averages()) passes += 2 * scores;  // the sum of probabilities, and one pass's softmax
  if (!device_.is_cpu()) return image_bytes + passes;
  const std::int64_t file_voxels = image.path.input.voxels();
  std::int64_t writing = scores + 2 * file_voxels;
  if (options_.save_probabilities) writing += 3 * classes_ * file_voxels * 4;
  if (options_.cleanup.wanted()) writing += 6 * file_voxels;
  if (plan.alone) return image_bytes + std::max(passes, writing);
  // Meanwhile the next image is prepared and the last one's labels are written.
  return image_bytes + passes + writing + 3 * std::max(image_bytes, file_voxels * 4);
}

PatchChoice Scorer::choose(const PreparedImage& image) const {
  const bool fixed = options_.patch.kind == PatchRequest::kFixed;
  if (forward_.empty()) return {.whole = false, .size = options_.patch.size};
  const auto volume = size_of(image.voxels);
  // Doing one thing at a time costs less than windows do.
  const Plan wish{.size = fixed ? options_.patch.size : volume, .whole = !fixed, .alone = false};
  const bool alone = !several_ || need(image, wish) > limit_bytes_;
  PatchChoice choice =
      choose_patch(options_.patch, {.volume = volume,
                                    .multiple = multiple_,
                                    .limit_bytes = limit_bytes_,
                                    .user_limit = options_.memory_bytes.has_value(),
                                    .need = [&](const auto& size, bool whole) {
                                      return need(image, {size, whole, alone});
                                    }});
  choice.alone = alone;
  return choice;
}

torch::Tensor Scorer::logits(const Predictor& predictor, const torch::Tensor& image,
                             const PatchChoice& patch) const {
  if (patch.whole) return predictor(image.unsqueeze(0))[0];
  return sliding_window(
      image, {.size = patch.size, .overlap = options_.overlap, .blend = options_.blend}, predictor);
}

torch::Tensor Scorer::mean_of_passes(const torch::Tensor& image, const PatchChoice& patch,
                                     const std::vector<std::vector<std::int64_t>>& flips) const {
  torch::Tensor sum;
  for (const Predictor& predictor : predictors_) {
    for (const auto& flip : flips) {
      torch::Tensor probabilities = logits(predictor, image.flip(flip), patch).softmax(0);
      if (!flip.empty()) probabilities = probabilities.flip(flip);
      sum = sum.defined() ? sum.add_(probabilities) : probabilities;
    }
  }
  const auto count = static_cast<double>(predictors_.size() * flips.size());
  return sum.div_(count).clamp_min_(kLeastProbability).log_();
}

Scores Scorer::score(const PreparedImage& image, const PatchChoice& patch) const {
  const torch::InferenceMode no_gradients;
  if (!device_.is_cpu()) reset_peak_bytes(device_);
  Scores scores;
  const torch::Tensor voxels = image.voxels.to(device_);
  if (averages()) {
    const auto axes = allowed_mirror_axes(options_.mirror_axes, image.path.network, labels_);
    scores.logits = mean_of_passes(voxels, patch, mirror_flips(axes));
  } else {
    scores.logits = logits(predictors_.front(), voxels, patch);
  }
  scores.logits = scores.logits.cpu();
  if (!device_.is_cpu()) scores.device_peak_bytes = peak_bytes(device_);
  return scores;
}

}  // namespace lamp
