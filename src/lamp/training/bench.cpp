// One warm-up, then the rounds; memory is counted from the point where weights and input are in
// place.
#include "lamp/training/bench.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <chrono>
#include <memory>
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
#include "lamp/training/loss_scaler.h"
#include "lamp/training/numeric_guard.h"
#include "lamp/training/optimizer.h"
#include "lamp/training/run_state.h"

namespace lamp {
namespace {

torch::Device single_device(const std::string& text) {
  const auto devices = parse_devices(text);
  if (devices.size() > 1 && text != "auto")
    throw UsageError("bench: --device takes one device for now, found " + text);
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

struct Setting {
  torch::Device device;
  Network network;
  torch::Tensor image;   // [N, C, D, H, W]
  torch::Tensor labels;  // [N, D, H, W]
};

Setting prepare(const BenchOptions& options) {
  count_cpu_memory();
  Setting setting{.device = single_device(options.device), .network = make_network(options.net)};
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

Json description(const BenchOptions& options, torch::Device device) {
  return {{"net", options.net.name},          {"width", options.net.width},
          {"classes", options.net.classes},   {"input", options.input},
          {"batch", options.batch},           {"device", device.str()},
          {"threads", at::get_num_threads()}, {"precision", options.precision}};
}

struct StepResult {
  double loss = 0;
  double gradient_norm = 0;
};

StepResult train_step(Setting& setting, const Loss& loss, torch::optim::Optimizer& optimizer,
                      LossScaler& scaler, Precision precision) {
  optimizer.zero_grad(/*set_to_none=*/true);
  torch::Tensor logits;
  {
    const PrecisionScope scope(precision, setting.device);
    logits = setting.network.forward(setting.image);
  }
  const torch::Tensor flags = torch::ones({logits.size(0), logits.size(1)}, setting.device);
  const torch::Tensor value = loss(logits, setting.labels, flags);
  logits.reset();
  const double scale = scaler.scale();
  (scale == 1 ? value : value * scale).backward();
  const NamedParameters parameters = named_parameters(setting.network);
  const double norm = gradient_norm(parameters);
  if (scaler.unscale(parameters, norm)) optimizer.step();
  return {value.item<double>(), norm / scale};
}

double agreement(const torch::Tensor& a, const torch::Tensor& b) {
  return a.argmax(0).eq(b.argmax(0)).to(torch::kFloat64).mean().item<double>();
}

}  // namespace

Json bench_step(const BenchOptions& options) {
  Setting setting = prepare(options);
  const Precision precision = parse_precision(options.precision, setting.device.type());
  setting.network.chain->to(setting.device);
  if (setting.device.is_cpu()) setting.network.use_channels_last();
  setting.network.chain->train();
  const auto optimizer = make_optimizer({}, named_parameters(setting.network));
  const auto loss = make_loss({}, torch::ones({options.net.classes}, setting.device));
  LossScaler scaler(precision == Precision::kFp16);
  Json result = description(options, setting.device);
  result.update(
      {{"stages", 1}, {"schedule", "gpipe"}, {"microbatches", 1}, {"recompute", "never"}});
  std::vector<double> seconds;
  StepResult step;
  for (int round = 0; round <= options.rounds; ++round) {
    if (round == 1) reset_peak_bytes(setting.device);  // without the kernel checks of the warm-up
    const double took = seconds_of(
        setting.device, [&] { step = train_step(setting, *loss, *optimizer, scaler, precision); });
    if (round > 0) seconds.push_back(took);
  }
  result["seconds"] = seconds;
  result["loss"] = step.loss;
  result["gradient_norm"] = step.gradient_norm;
  result["peak_bytes"] = {peak_bytes(setting.device)};
  return result;
}

Json bench_segment(const BenchOptions& options) {
  const torch::InferenceMode no_gradients;
  Setting setting = prepare(options);
  const auto dtype = parse_precision(options.precision, setting.device);
  Network copy = make_network(options.net);
  copy.initialise(options.seed);
  const Network networks[] = {inference_form(setting.network), std::move(copy)};
  std::vector<double> seconds[2];
  std::int64_t peaks[2] = {0, 0};
  torch::Tensor scores[2];
  for (const Network& network : networks) place_network(network, setting.device, dtype);
  for (int round = 0; round <= options.rounds; ++round) {
    for (int i = 0; i < 2; ++i) {
      const Predictor predictor = make_predictor(networks[i], setting.device, dtype);
      scores[i].reset();
      reset_peak_bytes(setting.device);
      const double took = seconds_of(setting.device, [&] {
        scores[i] = options.window ? sliding_window(setting.image[0], *options.window, predictor)
                                   : predictor(setting.image.narrow(0, 0, 1))[0];
      });
      if (round == 0) continue;
      seconds[i].push_back(took);
      peaks[i] = std::max(peaks[i], peak_bytes(setting.device));
    }
  }
  Json result = description(options, setting.device);
  result["patch"] = options.window ? Json(options.window->size) : Json("whole");
  result["seconds"] = seconds[0];
  result["peak_bytes"] = {peaks[0]};
  result["unfolded"] = {{"seconds", seconds[1]},
                        {"peak_bytes", {peaks[1]}},
                        {"same_labels", agreement(scores[0], scores[1])},
                        {"largest_difference", (scores[0] - scores[1]).abs().max().item<double>()},
                        {"largest_logit", scores[1].abs().max().item<double>()}};
  return result;
}

}  // namespace lamp
