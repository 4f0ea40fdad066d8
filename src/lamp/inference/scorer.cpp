// Placing the networks, counting what a case needs, and the passes themselves.
#include "lamp/inference/scorer.h"

#include <torch/utils.h>

#include <algorithm>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/host_memory.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/setting_name.h"
#include "lamp/inference/grid_predictor.h"
#include "lamp/inference/predictor.h"
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

// Only networks of one kind of image and one list of labels can be averaged.
void check_ensemble(const std::vector<SegmentModel>& models) {
  TORCH_CHECK(!models.empty(), "a segmentation needs a model");
  const Model& first = models.front().model;
  for (const auto& [file, model] : models) {
    std::string what;
    if (model.labels != first.labels) what = "labels";
    if (model.network.config.in_channels != first.network.config.in_channels) what = "channels";
    if (to_json(preprocessing_of({file, model})) != to_json(preprocessing_of(models.front())))
      what = "preprocessing (\"data\")";
    if (!what.empty())
      throw UsageError(setting_name("models") + ": " + file + " and " + models.front().file +
                       " have different " + what + "; only models trained alike can be averaged");
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

// On one of so many devices; a halo has a plane on either side.
Size3 largest_slab(Size3 size, std::int64_t slabs) {
  if (slabs == 1) return size;
  std::int64_t& longest = *std::max_element(size.begin(), size.end());
  longest = std::min(longest, (longest + slabs - 1) / slabs + 2);
  return size;
}

// Of a volume.
Size3 part_of(const Size3& volume, Size3 window) {
  for (std::size_t axis = 0; axis < 3; ++axis) window[axis] = std::min(window[axis], volume[axis]);
  return window;
}

// Windows of fewer are taken without the second that an estimate of their memory takes.
constexpr std::int64_t kUncheckedVoxels = 160 * 160 * 160;

}  // namespace

DataConfig preprocessing_of(const SegmentModel& model) {
  try {
    return parse_data_config(model.model.data);
  } catch (const UsageError& error) {
    throw InputError({.file = model.file,
                      .what = "not a usable model",
                      .found = error.what(),
                      .fix = "train it again or name another model"});
  }
}

Scorer::Scorer(const std::vector<SegmentModel>& models, const SegmentOptions& options, bool several,
               const PredictorFactory& factory)
    : options_(options),
      several_(several),
      devices_(parse_devices(options.device)),
      precision_(parse_precision(options.precision, devices_.front().type())) {
  check_ensemble(models);
  std::vector<TrainedMirroring> trained;
  for (const auto& [file, model] : models) trained.push_back({file, model.mirrored_axes});
  mirroring_ = settle_mirroring(options.mirror, trained, models.front().model.labels);
  classes_ = models.front().model.network.config.classes;
  for (const auto& [file, model] : models)
    place(form_of(model.network, dtype_of(precision_)), factory);
  if (forward_.empty()) return;
  std::int64_t available = available_bytes(devices_.front());
  for (const c10::Device device : devices_)
    available = std::min(available, available_bytes(device));
  most_bytes_ = available;
  limit_bytes_ = static_cast<std::int64_t>(kShareOfAvailable * static_cast<double>(available));
  if (options.memory_bytes) {
    release_free_memory();  // what the passes of the estimate left
    taken_bytes_ = devices_.front().is_cpu() ? resident_bytes() + kLatePages
                                             : allocated_bytes(devices_.front());
    limit_bytes_ = std::max<std::int64_t>(*options.memory_bytes - taken_bytes_, 0);
  }
}

// Measured on the first device before the layers move to their stages.
void Scorer::place(Network form, const PredictorFactory& factory) {
  const c10::Device first = devices_.front();
  const c10::ScalarType dtype = dtype_of(precision_);
  if (options_.patch.kind == PatchRequest::kFixed)
    form.check_window(setting_name("patch"), options_.patch.size);
  const Layout layout = choose_layout(
      options_.layout,
      {.device = first, .precision = precision_, .width = form.config.width, .training = false});
  if (predictors_.empty()) layout_ = layout;
  place_network(form, {.device = first, .dtype = dtype, .layout = layout});
  multiple_ = std::max(multiple_, form.stride_multiple);
  forms_.push_back(form);
  const bool bounded = options_.patch.kind != PatchRequest::kFixed || options_.memory_bytes ||
                       options_.patch.size.voxels() > kUncheckedVoxels;
  if (bounded) forward_.emplace_back(form, first, dtype);
  if (devices_.size() == 1) {
    partitions_.push_back({{0, form.chain->size()}});
    predictors_.push_back(factory(form, first, dtype));
    return;
  }
  GridPredictor grid = make_grid_predictor(
      form, {.devices = devices_,
             .replicas = options_.replicas,
             .slabs = options_.slabs,
             .dtype = dtype,
             .one_at_a_time = !several_ && options_.patch.kind == PatchRequest::kWhole,
             .make_chain = chain_maker(form, /*is_folded=*/true)});
  partitions_.push_back(std::move(grid.partition));
  predictors_.push_back(std::move(grid.predict));
}

int Scorer::stages() const { return static_cast<int>(groups()) / options_.replicas; }

std::int64_t Scorer::workers_on_one_device() const {
  std::ptrdiff_t most = 1;
  for (const c10::Device device : devices_)
    most = std::max(most, std::count(devices_.begin(), devices_.end(), device));
  return most;
}

// Of one network. Workers on the CPU share its memory; a GPU holds its own part only.
std::int64_t Scorer::pass_bytes(std::size_t model, const Plan& plan) const {
  const bool in_slabs = options_.slabs > 1;
  const bool several_inputs = !plan.whole || (several_ && !plan.alone);
  const bool streams = stages() > 1 && several_inputs && !(in_slabs && plan.whole);
  const bool on_cpu = devices_.front().is_cpu();
  const ForwardMemory& forward = forward_[model];
  const Size3 size = on_cpu ? plan.size : largest_slab(plan.size, options_.slabs);
  std::int64_t most = 0, sum = 0;
  for (int j = 0; j < stages(); ++j) {
    const StageRange& links = partitions_[model][static_cast<std::size_t>(j)];
    const int behind = stages() - 1 - j;
    const int waiting = streams ? (in_slabs ? 3 : 2) * behind : 0;
    const std::int64_t bytes = forward.stage_bytes(size, links, waiting);
    most = std::max(most, bytes);
    sum += bytes;
  }
  if (!on_cpu) return most * workers_on_one_device();
  if (!streams) sum = forward.bytes(size);
  const std::int64_t at_work = several_inputs ? options_.replicas : 1;
  return at_work * std::max(most, sum);
}

std::int64_t Scorer::passes(const Plan& plan) const {
  std::int64_t most = 0;
  for (std::size_t m = 0; m < forward_.size(); ++m) most = std::max(most, pass_bytes(m, plan));
  return devices_.front().is_cpu()
             ? static_cast<std::int64_t>(kHeapGaps * static_cast<double>(most))
             : most;
}

std::int64_t Scorer::need(const PreparedImage& image, const Plan& plan) const {
  const auto network_voxels = image.voxels.numel() / image.voxels.size(0);
  const std::int64_t image_bytes = image.voxels.numel() * 4;
  const std::int64_t scores = classes_ * network_voxels * 4;
  // Of every case that is in work at the same time.
  const std::int64_t cases = several_ && !plan.alone ? static_cast<std::int64_t>(groups()) : 1;
  std::int64_t work = image_bytes;
  if (options_.slabs > 1) work += plan.whole ? scores : 0;  // slabs' scores are joined in a copy
  // Windows: the sum of scores, the sum of weights, and some windows' images, scores and weights.
  const std::int64_t window_voxels = plan.size.voxels();
  if (!plan.whole)
    work += scores + network_voxels * 4 +
            windows_at_once(groups()) * (classes_ + 1) * window_voxels * 4;
  if (averages()) work += 2 * scores;  // the sum of probabilities, and one pass's softmax
  work = passes(plan) + cases * work;
  if (!devices_.front().is_cpu()) return work;
  const std::int64_t file_voxels = image.path.input.voxels();
  std::int64_t writing = scores + 2 * file_voxels;
  if (options_.save_probabilities) writing += 3 * classes_ * file_voxels * 4;
  if (options_.cleanup.wanted()) writing += 6 * file_voxels;
  const std::int64_t grey = options_.preview ? file_voxels : 0;  // from reading to writing
  if (plan.alone) return std::max(work, image_bytes + writing) + grey;
  // Meanwhile the next image is prepared and the last one's labels are written.
  return work + writing + 3 * std::max(image_bytes, file_voxels * 4) + (cases + 2) * grey;
}

void Scorer::check_cut(const Size3& size) const {
  const bool fixed = options_.patch.kind == PatchRequest::kFixed;
  for (const Network& form : forms_)
    lamp::check_cut(form, fixed ? part_of(size, options_.patch.size) : size, options_.slabs);
}

PatchChoice Scorer::choose(const PreparedImage& image) const {
  const bool fixed = options_.patch.kind == PatchRequest::kFixed;
  const auto volume = last_three(image.voxels.sizes()).xyz();
  check_cut(volume);
  if (forward_.empty()) return {.whole = false, .size = options_.patch.size};
  // Doing one thing at a time costs less than windows do.
  const Plan wish{.size = fixed ? options_.patch.size : volume, .whole = !fixed, .alone = false};
  const bool alone = !several_ || need(image, wish) > limit_bytes_;
  PatchChoice choice =
      choose_patch(options_.patch, {.volume = volume,
                                    .multiple = multiple_,
                                    .limit_bytes = limit_bytes_,
                                    .user_limit = options_.memory_bytes.has_value(),
                                    .need =
                                        [&](const auto& size, bool whole) {
                                          return need(image, {size, whole, alone});
                                        },
                                    .most_bytes = most_bytes_,
                                    .taken_bytes = taken_bytes_});
  choice.alone = alone;
  for (const Network& form : forms_)
    lamp::check_cut(form, part_of(volume, choice.size), options_.slabs);
  return choice;
}

std::optional<std::int64_t> Scorer::memory_left() const {
  if (!options_.memory_bytes || !devices_.front().is_cpu()) return std::nullopt;
  return limit_bytes_;
}

torch::Tensor Scorer::logits(const Predictor& predictor, const torch::Tensor& image,
                             const PatchChoice& patch) const {
  if (patch.whole) return predictor(image.unsqueeze(0))[0];
  return sliding_window(image,
                        {.size = patch.size,
                         .overlap = options_.overlap,
                         .blend = options_.blend,
                         .batch = windows_at_once(groups())},
                        predictor);
}

torch::Tensor Scorer::mean_of_passes(const torch::Tensor& image, const PatchChoice& patch) const {
  const auto flips = mirror_flips(mirroring_.axes);
  torch::Tensor sum;
  for (const Predictor& predictor : predictors_) {
    for (const auto& flip : flips) {
      const torch::Tensor probabilities = mirrored_back(
          logits(predictor, image.flip(flip), patch).softmax(0), flip, mirroring_.twins);
      sum = sum.defined() ? sum.add_(probabilities) : probabilities;
    }
  }
  const auto count = static_cast<double>(predictors_.size() * flips.size());
  return sum.div_(count).clamp_min_(kLeastProbability).log_();
}

Scores Scorer::score(const PreparedImage& image, const PatchChoice& patch) const {
  const torch::InferenceMode no_gradients;
  for (const c10::Device device : devices_)
    if (!device.is_cpu()) reset_peak_bytes(device);
  Scores scores;
  const torch::Tensor voxels = image.voxels.to(devices_.front());
  scores.logits =
      averages() ? mean_of_passes(voxels, patch) : logits(predictors_.front(), voxels, patch);
  scores.logits = scores.logits.cpu();
  for (const c10::Device device : devices_)
    if (!device.is_cpu())
      scores.device_peak_bytes = std::max(scores.device_peak_bytes, peak_bytes(device));
  return scores;
}

}  // namespace lamp
