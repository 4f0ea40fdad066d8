// `lamp plan`: will it train on these devices, how fast, and cut how?
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/timeline_picture.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/plan_run.h"

namespace lamp {
namespace {

struct Options {
  std::string config;
  std::string net;
  std::optional<std::int64_t> width, depth, classes, channels;  // none = the configuration's
  std::int64_t batch = 0;
  std::string input;
  std::string device, device_memory, flops, bandwidth;
  std::int64_t devices = 0;
  bool has_devices = false;
  std::string precision, schedule, microbatches, recompute, partition, optimizer;
  std::string output, svg, trace;
  bool measure = false;
  int rounds = 3;
};

Json merged(Json json, const Json& changes) {
  if (json.is_null()) json = Json::object();
  json.update(changes);
  return json;
}

Json value_of(const std::string& text) {
  const Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return parsed.is_discarded() ? Json(text) : parsed;
}

Json net_json(const Options& options, const Json& config) {
  Json changes = Json::object();
  if (!options.net.empty()) changes["name"] = options.net;
  if (options.width) changes["width"] = *options.width;
  if (options.depth) changes["depth"] = *options.depth;
  if (options.channels) changes["in_channels"] = *options.channels;
  if (options.classes || options.config.empty()) changes["classes"] = options.classes.value_or(10);
  return merged(config.value("net", Json()), changes);
}

Json execution_json(const Options& options, const Json& config) {
  Json changes = Json::object();
  if (options.config.empty()) changes["schedule"] = "auto";
  const auto set = [&](const char* key, const std::string& text) {
    if (!text.empty()) changes[key] = value_of(text);
  };
  if (!options.device.empty()) changes["device"] = options.device;
  set("precision", options.precision);
  set("schedule", options.schedule);
  set("microbatches", options.microbatches);
  set("recompute", options.recompute);
  set("partition", options.partition);
  return merged(config.value("execution", Json()), changes);
}

// The stage of the curriculum with most voxels in a batch, unless the command line says.
void set_input(const Options& options, const std::vector<StageConfig>& curriculum,
               PlanOptions& plan) {
  std::int64_t most = 0;
  for (const StageConfig& stage : curriculum) {
    if (!stage.patch) continue;
    const auto& [x, y, z] = *stage.patch;
    if (x * y * z * stage.batch <= most) continue;
    most = x * y * z * stage.batch;
    plan.input = *stage.patch;
    plan.batch = stage.batch;
  }
  if (!options.input.empty()) {
    const PatchRequest size = parse_patch(options.input);
    if (size.kind != PatchRequest::kFixed)
      throw UsageError("--input: found \"" + options.input + "\", expected X,Y,Z");
    plan.input = size.size;
    plan.batch = 1;
  } else if (!curriculum.empty() && most == 0) {
    throw UsageError(
        "plan: the curriculum holds whole volumes only; give their size: --input "
        "X,Y,Z");
  }
  if (options.batch != 0) plan.batch = options.batch;
}

PlanOptions resolve(const Options& options, const GlobalOptions& globals) {
  PlanOptions plan;
  const Json config = options.config.empty() ? Json::object() : read_config(options.config, {});
  std::vector<StageConfig> curriculum;
  if (!options.config.empty()) {
    const TrainConfig train = parse_train_config(config);
    curriculum = train.curriculum;
    plan.optimizer = curriculum.front().optimizer;
    plan.loss_is_sum = train.loss.dice != "batch";
  }
  if (!options.optimizer.empty())
    plan.optimizer = parse_optimizer_config({{"name", options.optimizer}});
  plan.net = parse_net_config(net_json(options, config));
  set_input(options, curriculum, plan);
  plan.execution = parse_execution_config(execution_json(options, config));
  plan.seed = globals.seed_or_zero();
  if (options.has_devices) plan.absent_devices = options.devices;
  if (!options.device_memory.empty())
    plan.device_memory_bytes = parse_bytes(options.device_memory, "--device-memory");
  if (!options.flops.empty()) plan.flops_per_s = parse_rate(options.flops, "--flops");
  if (!options.bandwidth.empty()) plan.bytes_per_s = parse_rate(options.bandwidth, "--bandwidth");
  if (options.has_devices && !options.device.empty())
    throw UsageError("--devices " + std::to_string(options.devices) +
                     " describes devices that are not here, --device " + options.device +
                     " ones that are: give one of the two");
  if (options.measure && options.has_devices)
    throw UsageError("--measure: --devices describes devices that are not here; leave one out");
  return plan;
}

std::string milliseconds(double seconds) { return fixed(1e3 * seconds, 1) + " ms"; }

void print_stages(const Plan& plan) {
  std::printf("%-6s %-10s %-9s %-12s %12s %12s  %s\n", "stage", "device", "layers", "recompute",
              "busy", "peak", "from ... to");
  for (std::size_t j = 0; j < plan.setup.stages(); ++j) {
    const StageRange& range = plan.balance.partition[j];
    const std::string layers = std::to_string(range.first) + "-" + std::to_string(range.last - 1);
    std::printf(
        "%-6zu %-10s %-9s %-12s %12s %12s  %s ... %s\n", j, plan.setup.devices[j].name.c_str(),
        layers.c_str(), to_string(plan.balance.recompute[j]).c_str(),
        milliseconds(plan.simulation.busy[j]).c_str(), bytes_text(plan.stage_peak_bytes[j]).c_str(),
        plan.costs.layers[range.first].name.c_str(),
        plan.costs.layers[range.last - 1].name.c_str());
  }
}

void print_text(const Plan& plan, const Json& measured) {
  print_stages(plan);
  std::printf(
      "\nschedule %s, %d micro-batches\nstep        %s\nbubble      %s %%\nutilisation %s %%\n",
      to_string(plan.setup.schedule).c_str(), plan.setup.microbatches,
      milliseconds(plan.step_s()).c_str(), fixed(100 * plan.simulation.bubble, 1).c_str(),
      fixed(100 * plan.simulation.utilisation, 1).c_str());
  const auto devices = plan.setup.distinct_devices();
  for (std::size_t d = 0; d < devices.size(); ++d)
    std::printf("device %s: peak %s of %s\n", devices[d].name.c_str(),
                bytes_text(plan.balance.peak_bytes[d]).c_str(),
                bytes_text(devices[d].memory_bytes).c_str());
  std::printf("\n");
  for (const std::string& reason : plan.reasons) std::printf("- %s\n", reason.c_str());
  if (measured.is_null()) return;
  const double step = measured["step_s"];
  std::printf("\n%-22s %12s %12s %8s\n%-22s %12s %12s %+7.1f%%\n", "", "predicted", "measured",
              "off by", "step", milliseconds(plan.step_s()).c_str(), milliseconds(step).c_str(),
              100 * (plan.step_s() / step - 1));
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const auto peak = measured["peak_bytes"][d].get<std::int64_t>();
    std::printf(
        "%-22s %12s %12s %+7.1f%%\n", ("peak of " + devices[d].name).c_str(),
        bytes_text(plan.balance.peak_bytes[d]).c_str(), bytes_text(peak).c_str(),
        100 * (static_cast<double>(plan.balance.peak_bytes[d]) / static_cast<double>(peak) - 1));
  }
}

// The median of the rounds.
Json measured_json(const Json& bench) {
  auto seconds = bench["seconds"].get<std::vector<double>>();
  std::sort(seconds.begin(), seconds.end());
  return {{"step_s", seconds[seconds.size() / 2]},
          {"seconds", bench["seconds"]},
          {"peak_bytes", bench["peak_bytes"]},
          {"timeline", bench["timeline"]}};
}

void write_pictures(const Options& options, const Plan& plan) {
  const TimelinePicture picture =
      timeline_picture(plan.simulation,
                       to_string(plan.setup.schedule) + ", " + std::to_string(plan.setup.stages()) +
                           " stages, " + std::to_string(plan.setup.microbatches) +
                           " micro-batches: " + milliseconds(plan.simulation.makespan),
                       "s");
  if (!options.svg.empty()) write_file(options.svg, timeline_svg(picture));
  if (!options.trace.empty()) write_file(options.trace, timeline_trace(picture));
}

void run(const Options& options, const GlobalOptions& globals) {
  const PlanOptions request = resolve(options, globals);
  const Plan plan = plan_network(request);
  Json json = to_json(plan);
  Json measured;
  if (options.measure && plan.fits)
    json["measured"] = measured = measured_json(measure_plan(request, plan, options.rounds));
  if (!options.output.empty()) write_file(options.output, dump_json(json) + "\n");
  write_pictures(options, plan);
  if (globals.json)
    print_json(json);
  else if (plan.fits)
    print_text(plan, measured);
  std::fflush(stdout);
  if (plan.fits) return;
  std::string message = "plan";
  for (const std::string& reason : plan.reasons)
    message += (&reason == &plan.reasons.front() ? ": " : "; ") + reason;
  throw DoesNotFit(message);
}

void add_devices(CLI::App* command, Options& options) {
  command->add_option("--device", options.device,
                      "devices that are here: auto, cpu, cuda:0, or several as stages: cpu,cpu");
  command->add_option_function<std::int64_t>(
      "--devices",
      [&options](const std::int64_t& count) {
        options.devices = count;
        options.has_devices = true;
      },
      "how many devices that are not here; with --device-memory");
  command->add_option("--device-memory", options.device_memory,
                      "memory of each device, such as 16GiB; default: what is free");
  command->add_option("--flops", options.flops,
                      "of a device that is not here: multiplications and additions a second it "
                      "reaches in convolutions, such as 100T");
  command->add_option("--bandwidth", options.bandwidth, "between devices, such as 50GB/s");
}

}  // namespace

void add_plan_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "plan", "whether and how fast a network trains on some devices, and how to cut it");
  auto options = std::make_shared<Options>();
  command->add_option("-c,--config", options->config, "JSON file or preset: han, liver, demo");
  command->add_option("--net", options->net, "unet, seunet or anatomynet");
  command->add_option("--width", options->width, "filters of the first convolution");
  command->add_option("--depth", options->depth, "encoder blocks after the first");
  command->add_option("--classes", options->classes, "labels with the background");
  command->add_option("--in-channels", options->channels, "channels of the input");
  command->add_option("--input", options->input, "size of the volume or patch: X,Y,Z");
  command->add_option("--batch", options->batch, "samples in the mini-batch");
  command->add_option("--optimizer", options->optimizer, "rmsprop, sgd or adamw");
  command->add_option("--precision", options->precision, "fp32, bf16 or fp16");
  add_devices(command, *options);
  command->add_option("--schedule", options->schedule, "auto, naive, gpipe, 1f1b or zero-bubble");
  command->add_option("--microbatches", options->microbatches, "auto, or parts of the mini-batch");
  command->add_option("--recompute", options->recompute, "auto, never, always or except_last");
  command->add_option("--partition", options->partition, "auto, or layers a stage: [5,7,9]");
  command->add_option("-o,--output", options->output, "write the plan as JSON to this file");
  command->add_option("--svg", options->svg, "draw the simulated step to this file");
  command->add_option("--trace", options->trace,
                      "write it as a Chrome trace (chrome://tracing, ui.perfetto.dev)");
  command->add_flag("--measure", options->measure, "run the plan and compare");
  command->add_option("--rounds", options->rounds, "of --measure, after a warm-up")
      ->check(CLI::Range(1, 1000));
  command->callback([options, &globals] { run(*options, globals); });
}

}  // namespace lamp
