// One warm-up, then the rounds; memory is counted from the point where weights and input are in
// place.
#include "lamp/training/bench.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/memory_counter.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/inference_form.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/objective/losses.h"
#include "lamp/training/execution.h"
#include "lamp/training/fit_check.h"
#include "lamp/training/loss_scaler.h"
#include "lamp/training/numeric_guard.h"
#include "lamp/training/optimizer.h"
#include "lamp/training/run_state.h"

namespace lamp {
namespace {

torch::Device single_device(const std::string& text) {
  const auto devices = parse_devices(text);
  if (devices.size() > 1 && text != "auto")
    throw UsageError("bench segment: --device takes one device, found " + text);
  return devices[0];
}

void wait_for(torch::Device device) {
  if (!device.is_cpu()) torch::cuda::synchronize(device.index());
}

template <typename Work>
double seconds_of(torch::Device device, const Work& work) {
  throw_if_interrupted("bench has nothing to save");
  wait_for(device);
  const auto start = std::chrono::steady_clock::now();
  work();
  wait_for(device);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct BenchSetting {
  torch::Device device;
  Network network;
  torch::Tensor image;   // [N, C, D, H, W]
  torch::Tensor labels;  // [N, D, H, W]
};

BenchSetting prepare(const BenchOptions& options, torch::Device device) {
  count_cpu_memory();
  BenchSetting setting{.device = device, .network = make_network(options.net)};
  setting.network.initialise(options.seed);
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(options.seed);
  const auto [x, y, z] = options.input;
  setting.image =
      torch::randn({options.batch, options.net.in_channels, z, y, x}, generator).to(setting.device);
  setting.labels = torch::randint(options.net.classes, {options.batch, z, y, x}, generator)
                       .to(torch::kUInt8)
                       .to(setting.device);
  return setting;
}

// What "auto" stands for here.
std::string device_text(const std::string& text) {
  std::string devices;
  for (const c10::Device device : parse_devices(text))
    devices += (devices.empty() ? "" : ",") + device.str();
  return devices;
}

Json step_description(const BenchOptions& options) {
  return {{"net", options.net.name},          {"width", options.net.width},
          {"classes", options.net.classes},   {"input", options.input},
          {"batch", options.batch},           {"device", device_text(options.execution.device)},
          {"threads", at::get_num_threads()}, {"precision", options.execution.precision}};
}

struct Figures {
  double loss = 0;
  double gradient_norm = 0;
  StepResult step;
};

// A network cut into stages, with what a training step needs beside it.
class StepBench {
 public:
  StepBench(const BenchOptions& options, BenchSetting& setting)
      : setting_(setting),
        devices_(parse_devices(options.execution.device)),
        precision_(parse_precision(options.execution.precision, devices_.front().type())),
        scaler_(precision_ == Precision::kFp16) {
    setting.network.chain->to(devices_.front());
    layout_ = training_layout(options.execution, options.net);
    if (layout_ == Layout::kChannelsLast) setting.network.use_channels_last();
    setting.network.chain->train();
    prepared_ = setting.network.prepare(setting.image);
    microbatches_ = choose_microbatches(options.execution, setting.network, prepared_, devices_,
                                        /*loss_is_sum=*/true);
    const auto parts = split_batch(prepared_.size(0), microbatches_);
    pipeline_ = make_pipeline(setting.network, options.execution,
                              {.devices = devices_,
                               .sample = prepared_.narrow(0, 0, parts.front().count),
                               .microbatches = microbatches_,
                               .optimizer_factor = optimizer_state_factor(options.optimizer)},
                              options.seed);
    labels_ = setting.labels.to(devices_.back());
    loss_ = make_loss({}, torch::ones({options.net.classes}, devices_.back()));
    parameters_ = named_parameters(setting.network);
    optimizer_ = make_optimizer(options.optimizer, parameters_);
  }

  Figures round() {
    optimizer_->zero_grad(/*set_to_none=*/true);
    Figures figures;
    const double scale = scaler_.scale();
    {
      const PrecisionScope scope(precision_, devices_.front());
      figures.step = pipeline_->step(
          prepared_,
          [&](const torch::Tensor& output, const MicroBatch& part) {
            const torch::Tensor logits = setting_.network.crop(output, setting_.image);
            return (*loss_)(logits, labels_.narrow(0, part.first, part.count),
                            torch::ones({logits.size(0), logits.size(1)}, logits.device()));
          },
          {.step = rounds_++,
           .gradient_scale = scale,
           .microbatches = static_cast<int>(microbatches_)});
    }
    figures.loss = figures.step.loss;
    const double norm = gradient_norm(parameters_);
    figures.gradient_norm = norm / scale;
    if (scaler_.unscale(parameters_, norm)) optimizer_->step();
    return figures;
  }
  void wait() const {
    for (const c10::Device device : devices_) wait_for(device);
  }
  std::vector<c10::Device> distinct_devices() const {
    std::vector<c10::Device> distinct;
    for (const c10::Device device : devices_)
      if (std::find(distinct.begin(), distinct.end(), device) == distinct.end())
        distinct.push_back(device);
    return distinct;
  }
  Json description() const {
    return {{"layout", to_string(layout_)},
            {"stages", devices_.size()},
            {"partition", describe(*pipeline_, {})["stages"]},
            {"schedule", to_string(pipeline_->options().schedule)},
            {"microbatches", microbatches_},
            {"recompute", rules()}};
  }

 private:
  // One name where all stages follow the same rule.
  Json rules() const {
    const auto& rules = pipeline_->options().recompute;
    Json names = Json::array();
    for (const RecomputeRule rule : rules) names.push_back(to_string(rule));
    const bool same = std::count(rules.begin(), rules.end(), rules.front()) == std::ssize(rules);
    return same ? names.front() : names;
  }

  BenchSetting& setting_;
  std::vector<c10::Device> devices_;
  Precision precision_;
  Layout layout_ = Layout::kChannelsLast;
  LossScaler scaler_;
  torch::Tensor prepared_, labels_;
  std::int64_t microbatches_ = 1;
  std::int64_t rounds_ = 0;
  std::unique_ptr<Pipeline> pipeline_;
  std::unique_ptr<Loss> loss_;
  NamedParameters parameters_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
};

std::size_t median_index(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order[order.size() / 2];
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double agreement(const torch::Tensor& a, const torch::Tensor& b) {
  return a.argmax(0).eq(b.argmax(0)).to(torch::kFloat64).mean().item<double>();
}

// Of the network that is not at work.
std::int64_t weight_bytes(const Sequence& chain) {
  std::int64_t bytes = 0;
  for (const auto& weight : chain.parameters()) bytes += static_cast<std::int64_t>(weight.nbytes());
  for (const auto& buffer : chain.buffers()) bytes += static_cast<std::int64_t>(buffer.nbytes());
  return bytes;
}

}  // namespace

MeasuredStep measure_step(const BenchOptions& wished) {
  BenchOptions options = wished;
  const auto devices = parse_devices(options.execution.device);
  options.execution.precision = chosen_precision(options.execution.precision, devices.front());
  check_step_fits(options);
  BenchSetting setting = prepare(options, devices.front());
  StepBench bench(options, setting);
  Json report = step_description(options);
  report.update(bench.description());
  std::vector<double> seconds;
  std::vector<std::vector<TimelineEntry>> timelines;
  Figures figures;
  for (int round = 0; round <= options.rounds; ++round) {
    if (round == 1)  // without the kernel checks of the warm-up
      for (const c10::Device device : bench.distinct_devices()) reset_peak_bytes(device);
    const double took = seconds_of(setting.device, [&] {
      figures = bench.round();
      bench.wait();
    });
    if (round == 0) continue;
    seconds.push_back(took);
    timelines.push_back(std::move(figures.step.timeline));
  }
  MeasuredStep measured;
  const std::size_t median = median_index(seconds);
  measured.median_s = seconds[median];
  measured.timeline = std::move(timelines[median]);
  for (const c10::Device device : bench.distinct_devices())
    measured.peak_bytes.push_back(peak_bytes(device));
  report["seconds"] = seconds;
  report["loss"] = figures.loss;
  report["gradient_norm"] = figures.gradient_norm;
  report["peak_bytes"] = measured.peak_bytes;
  report["peak_in_flight"] = figures.step.peak_in_flight;
  report["boundary_bytes"] = figures.step.boundary_bytes;
  report["skip_bytes"] = figures.step.skip_bytes;
  report["timeline"] = to_json(measured.timeline);
  measured.report = std::move(report);
  return measured;
}

Json bench_step(const BenchOptions& options) { return measure_step(options).report; }

Json bench_segment(const BenchOptions& options) {
  const torch::InferenceMode no_gradients;
  if (options.window)
    Network{.config = options.net, .stride_multiple = stride_multiple(options.net)}.check_window(
        "--patch", options.window->size);
  const torch::Device device = single_device(options.execution.device);
  check_segment_fits(options);
  BenchSetting setting = prepare(options, device);
  const Precision precision = parse_precision(
      chosen_precision(options.execution.precision, setting.device), setting.device.type());
  const c10::ScalarType dtype = dtype_of(precision);
  const Layout layout =
      choose_layout(options.execution.layout,
                    {.device = setting.device, .precision = precision, .width = options.net.width});
  Network copy = make_network(options.net);
  copy.initialise(options.seed);
  Network networks[] = {inference_form(setting.network), std::move(copy)};
  std::vector<double> seconds[2];
  std::int64_t peaks[2] = {0, 0};
  for (Network& network : networks)
    place_network(network, {.device = setting.device, .dtype = dtype, .layout = layout});
  torch::Tensor scores[2];
  Json compared;
  for (int round = 0; round <= options.rounds; ++round) {
    for (int i = 0; i < 2; ++i) {
      const Predictor predictor = make_predictor(networks[i], setting.device, dtype);
      reset_peak_bytes(setting.device);
      const double took = seconds_of(setting.device, [&] {
        scores[i] = options.window ? sliding_window(setting.image[0], *options.window, predictor)
                                   : predictor(setting.image.narrow(0, 0, 1))[0];
      });
      if (round == 0) continue;
      seconds[i].push_back(took);
      peaks[i] =
          std::max(peaks[i], peak_bytes(setting.device) - weight_bytes(*networks[1 - i].chain));
      scores[i].reset();  // or the other network's peak would hold them
    }
    if (round > 0) continue;
    compared = {{"same_labels", agreement(scores[0], scores[1])},
                {"largest_difference", (scores[0] - scores[1]).abs().max().item<double>()},
                {"largest_logit", scores[1].abs().max().item<double>()}};
    for (torch::Tensor& both : scores) both.reset();
  }
  Json result = step_description(options);
  result["layout"] = to_string(layout);
  result["patch"] = options.window ? Json(options.window->size) : Json("whole");
  result["seconds"] = seconds[0];
  result["peak_bytes"] = {peaks[0]};
  result["unfolded"] = {{"seconds", seconds[1]},
                        {"peak_bytes", {peaks[1]}},
                        {"speedup", median(seconds[1]) / median(seconds[0])}};
  result["unfolded"].update(compared);
  return result;
}

}  // namespace lamp
