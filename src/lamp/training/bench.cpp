// One warm-up, then the rounds; memory is counted from the point where weights and input are in
// place.
#include "lamp/training/bench.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/execution/loss_scaler.h"
#include "lamp/execution/step_profile.h"
#include "lamp/execution/training_step.h"
#include "lamp/inference/grid_predictor.h"
#include "lamp/inference/predictor.h"
#include "lamp/nets/inference_form.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/objective/losses.h"
#include "lamp/training/fit_check.h"

namespace lamp {
namespace {

using Devices = std::vector<c10::Device>;

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

// How the step runs; one name of a rule where all stages follow the same.
Json plan_description(const ResolvedExecution& plan) {
  Json json = to_json(plan);
  const Json& rules = json["recompute"];
  const bool same = std::count(rules.begin(), rules.end(), rules.front()) == std::ssize(rules);
  return {{"net", plan.net.name},
          {"width", plan.net.width},
          {"classes", plan.net.classes},
          {"input", plan.input},
          {"batch", plan.batch},
          {"device", plan.device()},
          {"threads", plan.threads},
          {"precision", plan.precision},
          {"layout", plan.layout},
          {"replicas", plan.replicas},
          {"stages", plan.stages()},
          {"slabs", plan.slabs},
          {"partition", json["stages"]},
          {"schedule", json["schedule"]},
          {"microbatches", plan.microbatches},
          {"recompute", same ? rules.front() : rules},
          {"deferred_batch_norm", plan.deferred_batch_norm},
          {"reasons", plan.reasons}};
}

// Each once, in order of appearance.
Devices distinct_devices(const Devices& devices) {
  Devices distinct;
  for (const c10::Device device : devices)
    if (std::find(distinct.begin(), distinct.end(), device) == distinct.end())
      distinct.push_back(device);
  return distinct;
}

Devices distinct_devices(const ResolvedExecution& plan) {
  return distinct_devices(plan.torch_devices());
}

std::size_t median_index(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order[order.size() / 2];
}

// How far two networks' scores [K, D, H, W] agree; plane by plane, since whole temporaries would
// take several times the memory of a pass.
Json comparison_of(const torch::Tensor& found, const torch::Tensor& expected) {
  double same = 0, difference = 0, logit = 0;
  for (std::int64_t plane = 0; plane < found.size(1); ++plane) {
    const torch::Tensor a = found.select(1, plane), b = expected.select(1, plane);
    same += a.argmax(0).eq(b.argmax(0)).sum().item<double>();
    difference = std::max(difference, (a - b).abs().max().item<double>());
    logit = std::max(logit, b.abs().max().item<double>());
  }
  return {{"same_labels",
           same * static_cast<double>(found.size(0)) / static_cast<double>(found.numel())},
          {"largest_difference", difference},
          {"largest_logit", logit}};
}

// Of the network that is not at work.
std::int64_t weight_bytes(const Sequence& chain, c10::Device device) {
  std::int64_t bytes = 0;
  for (const auto& tensors : {chain.parameters(), chain.buffers()})
    for (const torch::Tensor& tensor : tensors)
      if (tensor.device() == device) bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

// A form of the network, ready to predict.
struct PlacedForm {
  std::shared_ptr<Sequence> chain;
  Partition partition;
  Predictor predict;
};

PlacedForm placed_form(Network form, const Placement& placement, GridPlacement grid,
                       bool is_folded) {
  place_network(form, placement);
  if (grid.devices.size() == 1)
    return {.chain = form.chain,
            .partition = {{0, form.chain->size()}},
            .predict = make_predictor(form, placement.device, placement.dtype)};
  grid.dtype = placement.dtype;
  grid.make_chain = chain_maker(form, is_folded);
  GridPredictor predictor = make_grid_predictor(form, grid);
  return {.chain = form.chain,
          .partition = std::move(predictor.partition),
          .predict = std::move(predictor.predict)};
}

// Throws where the volume, or the windows of it, cannot be cut into slabs.
void check_segment_cut(const BenchOptions& options, const Network& network,
                       const DeviceGrid& grid) {
  Size3 size = options.input;
  for (std::size_t axis = 0; axis < 3 && options.window; ++axis)
    size[axis] = std::min(size[axis], options.window->size[axis]);
  check_cut(network, size, static_cast<int>(grid.slabs));
}

PlanOptions plan_options_of(const BenchOptions& options) {
  return {.net = options.net,
          .input = options.input,
          .batch = options.batch,
          .execution = options.execution,
          .optimizer = options.optimizer,
          .device_memory_bytes = options.execution.memory_bytes,
          .seed = options.seed};
}

struct Rounds {
  const OptimizerConfig& optimizer;
  int count;
  std::uint64_t seed;
  // Makes what predicts the step in turn with the rounds; may make nothing.
  std::function<std::unique_ptr<RepeatedPrediction>()> predict = nullptr;
  std::shared_ptr<PipelineLinks> links = nullptr;
  std::function<void(int round)> before_each = nullptr;
};

MeasuredStep run_rounds(const ResolvedExecution& plan, const Rounds& rounds) {
  const auto devices = rounds.links ? Devices{c10::Device(plan.devices.at(rounds.links->row()))}
                                    : distinct_devices(plan);
  BenchSetting setting =
      prepare({.net = plan.net, .input = plan.input, .batch = plan.batch, .seed = rounds.seed},
              devices.front());
  const auto last = rounds.links ? devices.front() : plan.torch_devices().back();
  const auto loss = make_loss({}, torch::ones({plan.net.classes}, last));
  LossScaler scaler(plan.precision == "fp16");
  TrainingStep step(setting.network, *loss, plan, rounds.optimizer, scaler, rounds.seed,
                    rounds.links);
  const StepBatch batch{.image = setting.image,
                        .label = setting.labels,
                        .flags = torch::ones({plan.batch, plan.net.classes})};
  std::vector<double> seconds;
  std::vector<std::vector<TimelineEntry>> timelines;
  StepOutcome outcome;
  std::unique_ptr<RepeatedPrediction> prediction;
  MeasuredStep measured{.peak_bytes = std::vector<std::int64_t>(devices.size(), 0)};
  for (int round = 0; round <= rounds.count; ++round) {
    if (rounds.before_each) rounds.before_each(round);
    if (prediction) measured.predicted_s.push_back(prediction->round());
    for (const c10::Device device : devices) reset_peak_bytes(device);
    const double took = seconds_of(setting.device, [&] {
      outcome = step.run(batch, round);
      for (const c10::Device device : devices) wait_for(device);
    });
    if (round == 0) {  // with the checks of kernels
      if (rounds.predict) prediction = rounds.predict();
      continue;
    }
    seconds.push_back(took);
    timelines.push_back(std::move(outcome.pipeline.timeline));
    for (std::size_t d = 0; d < devices.size(); ++d)
      measured.peak_bytes[d] =
          std::max(measured.peak_bytes[d],
                   peak_bytes(devices[d]) - (prediction && d == 0 ? prediction->held_bytes() : 0));
  }
  const std::size_t median = median_index(seconds);
  measured.median_s = seconds[median];
  measured.timeline = std::move(timelines[median]);
  Json report = plan_description(plan);
  report["seconds"] = seconds;
  report["loss"] = outcome.loss;
  report["gradient_norm"] = outcome.gradient_norm;
  report["peak_bytes"] = measured.peak_bytes;
  report["peak_in_flight"] = outcome.pipeline.peak_in_flight;
  report["boundary_bytes"] = outcome.pipeline.boundary_bytes;
  report["skip_bytes"] = outcome.pipeline.skip_bytes;
  report["halo_bytes"] = outcome.pipeline.halo_bytes;
  report["timeline"] = to_json(measured.timeline);
  measured.report = std::move(report);
  return measured;
}

}  // namespace

ResolvedExecution decide_step(const BenchOptions& options) {
  const PlanOptions work = plan_options_of(options);
  if (options.plan.empty()) {
    check_step_fits(options);
    return choose_plan(work, Seconds::kWhereTheyDecide).execution;
  }
  ResolvedExecution plan = read_plan(options.plan);
  const std::string field = differing_field(plan, work.work());
  if (!field.empty()) throw UsageError(setting_to("plan", options.plan) + ": " + field);
  return plan;
}

MeasuredStep measure_step(const BenchOptions& options) {
  return run_rounds(decide_step(options), {options.optimizer, options.rounds, options.seed});
}

MeasuredStep measure_own_part(const ResolvedExecution& plan, const BenchOptions& options,
                              std::shared_ptr<PipelineLinks> links,
                              const std::function<void(int round)>& before_round) {
  return run_rounds(plan, {.optimizer = options.optimizer,
                           .count = options.rounds,
                           .seed = options.seed,
                           .links = std::move(links),
                           .before_each = before_round});
}

MeasuredStep measure_plan(const NetworkPlan& chosen, int rounds) {
  if (chosen.options.absent_devices)
    throw UsageError(setting_name("measure") +
                     ": these devices are not here; leave it out, or plan for " +
                     setting_name("execution.device"));
  return run_rounds(chosen.execution,
                    {.optimizer = chosen.options.optimizer,
                     .count = rounds,
                     .seed = chosen.options.seed,
                     .predict = [&] { return RepeatedPrediction::make(chosen); }});
}

Json bench_step(const BenchOptions& options) { return measure_step(options).report; }

Json bench_segment(const BenchOptions& options) {
  const torch::InferenceMode no_gradients;
  const Devices stages = parse_devices(options.execution.device);
  const Devices devices = distinct_devices(stages);
  const DeviceGrid grid = grid_of(options.execution, std::ssize(stages));
  std::optional<WindowOptions> window = options.window;
  if (window) {
    Network{.config = options.net, .stride_multiple = stride_multiple(options.net)}.check_window(
        setting_name("patch"), window->size);
    window->batch = windows_at_once(static_cast<std::size_t>(grid.replicas * grid.stages));
  }
  check_segment_fits(options);
  BenchSetting setting = prepare(options, stages.front());
  check_segment_cut(options, setting.network, grid);
  const Precision precision = parse_precision(
      chosen_precision(options.execution.precision, setting.device), setting.device.type());
  const Layout layout =
      choose_layout(options.execution.layout,
                    {.device = setting.device, .precision = precision, .width = options.net.width});
  Network copy = make_network(options.net);
  copy.initialise(options.seed);
  const Placement placement{
      .device = setting.device, .dtype = dtype_of(precision), .layout = layout};
  const GridPlacement places{.devices = stages,
                             .replicas = static_cast<int>(grid.replicas),
                             .slabs = static_cast<int>(grid.slabs),
                             .one_at_a_time = !window};
  const PlacedForm forms[] = {
      placed_form(inference_form(setting.network), placement, places, /*is_folded=*/true),
      placed_form(std::move(copy), placement, places, /*is_folded=*/false)};
  std::vector<double> seconds[2];
  std::vector<std::int64_t> peaks[2];
  for (auto& of_devices : peaks) of_devices.resize(devices.size());
  torch::Tensor scores[2];
  Json compared;
  for (int round = 0; round <= options.rounds; ++round) {
    for (int i = 0; i < 2; ++i) {
      for (const c10::Device device : devices) reset_peak_bytes(device);
      const double took = seconds_of(setting.device, [&] {
        scores[i] = window ? sliding_window(setting.image[0], *window, forms[i].predict)
                           : forms[i].predict(setting.image)[0];
        for (const c10::Device device : devices) wait_for(device);
      });
      if (round == 0) continue;
      seconds[i].push_back(took);
      for (std::size_t d = 0; d < devices.size(); ++d)
        peaks[i][d] = std::max(
            peaks[i][d], peak_bytes(devices[d]) - weight_bytes(*forms[1 - i].chain, devices[d]));
      scores[i].reset();  // or the other network's peak would hold them
    }
    if (round > 0) continue;
    compared = comparison_of(scores[0], scores[1]);
    for (torch::Tensor& both : scores) both.reset();
  }
  Json result = {{"net", options.net.name},
                 {"width", options.net.width},
                 {"classes", options.net.classes},
                 {"input", options.input},
                 {"batch", options.batch},
                 {"device", joined(device_names(stages), ",")},
                 {"threads", at::get_num_threads()},
                 {"precision", options.execution.precision},
                 {"layout", to_string(layout)},
                 {"replicas", grid.replicas},
                 {"stages", grid.stages},
                 {"slabs", grid.slabs},
                 {"partition", stage_rows(device_names(stages), forms[0].partition, grid.replicas)},
                 {"patch", window ? Json(window->size) : Json("whole")},
                 {"seconds", seconds[0]},
                 {"peak_bytes", peaks[0]}};
  result["unfolded"] = {{"seconds", seconds[1]},
                        {"peak_bytes", peaks[1]},
                        {"speedup", median_seconds(seconds[1]) / median_seconds(seconds[0])}};
  result["unfolded"].update(compared);
  return result;
}

}  // namespace lamp
