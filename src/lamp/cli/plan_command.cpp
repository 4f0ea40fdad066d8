// `lamp plan`: will it train on these devices, how fast, and cut how?
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/network_options.h"
#include "lamp/cli/output_options.h"
#include "lamp/nets/net_factory.h"
#include "lamp/report/timeline.h"
#include "lamp/training/plan_choices.h"

namespace lamp {
namespace {

struct Options {
  std::string config;
  NetOptions net;
  ExecutionOptions execution;
  std::string input, max_input;
  std::optional<std::int64_t> batch;
  std::string device_memory, flops, bandwidth, optimizer;
  std::optional<std::int64_t> devices;
  std::string output, svg, trace;
  bool measure = false, layers = false;
  std::optional<int> rounds;
};

constexpr int kRounds = 3;
constexpr const char* kWriter = "lamp plan";

Json merged(const Json& config, const char* key, Json defaults, const Json& changes) {
  if (const Json given = config.value(key, Json()); given.is_object()) defaults.update(given);
  defaults.update(changes);
  return defaults;
}

// The stage of the curriculum with most voxels in a batch.
void take_largest_stage(const std::vector<StageConfig>& curriculum, PlanOptions& plan) {
  std::int64_t most = 0;
  for (const StageConfig& stage : curriculum) {
    if (stage.is_auto_patch)
      throw UsageError(
          "plan: the curriculum's \"auto\" patch depends on the size of the images; give it: "
          "--max-input X,Y,Z");
    if (!stage.patch) continue;
    const auto& [x, y, z] = *stage.patch;
    if (x * y * z * stage.batch <= most) continue;
    most = x * y * z * stage.batch;
    plan.input = *stage.patch;
    plan.batch = stage.batch;
  }
  if (!curriculum.empty() && most == 0)
    throw UsageError(
        "plan: the curriculum holds whole volumes only; give their size: --input X,Y,Z");
}

void set_input(const Options& options, const std::vector<StageConfig>& curriculum,
               PlanOptions& plan) {
  if (options.input == "auto" && options.max_input.empty())
    throw UsageError("--input auto: say how large the images are: --max-input X,Y,Z");
  if (!options.max_input.empty() && !options.input.empty() && options.input != "auto")
    throw UsageError("--max-input is for --input auto, found --input " + options.input +
                     " beside it: give one of the two");
  if (!options.max_input.empty()) {
    plan.input = parse_size(options.max_input, "--max-input");
    plan.largest_input = true;
    for (const StageConfig& stage : curriculum)
      if (stage.is_auto_patch) plan.batch = stage.batch;
  } else if (!options.input.empty()) {
    plan.input = parse_size(options.input, "--input");
  } else {
    take_largest_stage(curriculum, plan);
  }
  if (options.batch) plan.batch = *options.batch;
}

void refuse_contradictions(const Options& options) {
  if (options.rounds && !options.measure)
    throw UsageError("--rounds is for --measure: give both or leave it out");
  if (!options.devices) return;
  if (!options.execution.device.empty())
    throw UsageError("--devices " + std::to_string(*options.devices) +
                     " describes devices that are not here, --device " + options.execution.device +
                     " ones that are: give one of the two");
  if (options.measure)
    throw UsageError("--measure: --devices describes devices that are not here; leave one out");
}

PlanOptions resolve(const Options& options, const GlobalOptions& globals) {
  refuse_contradictions(options);
  PlanOptions plan;
  const bool is_given = !options.config.empty();
  const Json config = is_given ? read_config(options.config, {}) : Json::object();
  std::vector<StageConfig> curriculum;
  if (is_given) {
    const TrainConfig train = parse_train_config(config);
    curriculum = train.curriculum;
    plan.optimizer = curriculum.front().optimizer;
    plan.loss_is_sum = train.loss.dice != "batch";
  }
  if (!options.optimizer.empty())
    plan.optimizer = parse_optimizer_config({{"name", options.optimizer}});
  Json net = Json::object(), execution = Json::object();
  if (!is_given) {
    net["classes"] = 10;
    execution["schedule"] = "auto";
  }
  plan.net = parse_net_config(merged(config, "net", net, to_json(options.net)));
  set_input(options, curriculum, plan);
  plan.execution =
      parse_execution_config(merged(config, "execution", execution, to_json(options.execution)));
  plan.seed = globals.seed_or_zero();
  plan.absent_devices = options.devices;
  if (!options.device_memory.empty())
    plan.device_memory_bytes = parse_bytes(options.device_memory, "--device-memory");
  if (!options.flops.empty()) plan.flops_per_s = parse_rate(options.flops, "--flops");
  if (!options.bandwidth.empty()) plan.bytes_per_s = parse_rate(options.bandwidth, "--bandwidth");
  return plan;
}

std::string milliseconds(double seconds) { return fixed(1e3 * seconds, 1) + " ms"; }

// Of one micro-batch.
void print_layers(const Plan& plan) {
  const auto exact = [](double seconds) { return fixed(1e3 * seconds, 3) + " ms"; };
  std::printf("%-40s %12s %12s %12s %12s %12s %12s\n", "layer", "forward", "backward", "parameters",
              "saved", "output", "workspace");
  for (const LayerCosts& layer : plan.costs.layers)
    std::printf("%-40s %12s %12s %12s %12s %12s %12s\n", layer.name.c_str(),
                exact(layer.forward_s).c_str(), exact(layer.backward_s).c_str(),
                bytes_text(layer.parameter_bytes).c_str(), bytes_text(layer.saved_bytes).c_str(),
                bytes_text(layer.output_bytes).c_str(),
                bytes_text(std::max({layer.forward_workspace_bytes, layer.backward_workspace_bytes,
                                     std::int64_t{0}}))
                    .c_str());
  for (const SkipBytes& skip : plan.costs.skips)
    std::printf("skip %s: %s from %s to %s\n", skip.name.c_str(), bytes_text(skip.bytes).c_str(),
                plan.costs.layers[skip.from].name.c_str(), plan.costs.layers[skip.to].name.c_str());
  std::printf("\n");
}

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

void print_comparison(const Plan& plan, const MeasuredStep& measured) {
  const auto off = [](double predicted, double found) { return 100 * (predicted / found - 1); };
  std::printf("\n%-22s %12s %12s %8s\n%-22s %12s %12s %+7.1f%%\n", "", "predicted", "measured",
              "off by", "step", milliseconds(plan.step_s()).c_str(),
              milliseconds(measured.median_s).c_str(), off(plan.step_s(), measured.median_s));
  const auto devices = plan.setup.distinct_devices();
  for (std::size_t d = 0; d < devices.size(); ++d) {
    const std::int64_t peak = plan.balance.peak_bytes[d], found = measured.peak_bytes[d];
    std::printf("%-22s %12s %12s %+7.1f%%\n", ("peak of " + devices[d].name).c_str(),
                bytes_text(peak).c_str(), bytes_text(found).c_str(),
                off(static_cast<double>(peak), static_cast<double>(found)));
  }
}

void print_text(const Plan& plan) {
  print_stages(plan);
  std::printf("\nschedule %s, %s\nstep        %s\nbubble      %s %%\nutilisation %s %%\n",
              to_string(plan.setup.schedule).c_str(),
              counted(plan.setup.microbatches, "micro-batch").c_str(),
              milliseconds(plan.step_s()).c_str(), fixed(100 * plan.simulation.bubble, 1).c_str(),
              fixed(100 * plan.simulation.utilisation, 1).c_str());
  const auto devices = plan.setup.distinct_devices();
  for (std::size_t d = 0; d < devices.size(); ++d)
    std::printf("device %s: peak %s of %s\n", devices[d].name.c_str(),
                bytes_text(plan.balance.peak_bytes[d]).c_str(),
                bytes_text(devices[d].memory_bytes).c_str());
  std::printf("\n");
  for (const std::string& reason : plan.reasons) std::printf("- %s\n", reason.c_str());
}

Json to_json(const MeasuredStep& measured) {
  return {{"step_s", measured.median_s},
          {"seconds", measured.report["seconds"]},
          {"peak_bytes", measured.peak_bytes},
          {"timeline", to_json(measured.timeline)}};
}

// Predicted above measured, where there is that; both without the update of the weights.
void write_pictures(const Options& options, const NetworkPlan& chosen,
                    const std::optional<MeasuredStep>& measured) {
  const Plan& plan = chosen.plan;
  const auto stages = static_cast<int>(plan.setup.stages());
  TimelinePicture picture{
      .title = chosen.options.net.name + ", " + to_string(plan.setup.schedule) + ", " +
               counted(stages, "stage") + ", " + counted(plan.setup.microbatches, "micro-batch"),
      .panels = {{.name = "predicted", .stages = stages, .timeline = plan.simulation.timeline}}};
  if (measured)
    picture.panels.push_back(
        {.name = "measured", .stages = stages, .timeline = measured->timeline});
  write_picture_files({options.svg, options.trace}, picture);
}

OutputList outputs_of(const Options& options) {
  OutputList files = picture_outputs({options.svg, options.trace});
  if (!options.output.empty()) files.add({"--output", options.output, own_json(kWriter)});
  if (!options.config.empty()) files.protect(options.config);
  return files;
}

void write_files(const Options& options, const NetworkPlan& chosen, const Json& json,
                 const std::optional<MeasuredStep>& measured) {
  OutputList files = outputs_of(options);
  files.check();
  files.make_folders();
  if (!options.output.empty())
    write_file(options.output, dump_json(written_by(kWriter, json)) + "\n");
  write_pictures(options, chosen, measured);
}

void run(const Options& options, const GlobalOptions& globals) {
  const PlanOptions resolved = resolve(options, globals);
  outputs_of(options).check();  // before anything is measured
  const NetworkPlan chosen = choose_plan(resolved);
  const Plan& plan = chosen.plan;
  Json json = to_json(plan);
  json["input"] = chosen.options.input;
  json["precision"] = chosen.options.execution.precision;
  std::optional<MeasuredStep> measured;
  if (options.measure && plan.fits) {
    measured = measure_plan(chosen.options, plan, options.rounds.value_or(kRounds));
    json["measured"] = to_json(*measured);
  }
  if (globals.json) {
    print_json(json);
  } else {
    if (options.layers) print_layers(plan);
    if (plan.fits) print_text(plan);
    if (measured) print_comparison(plan, *measured);
  }
  std::fflush(stdout);
  write_files(options, chosen, json, measured);
  if (plan.fits) return;
  std::string message = "plan";
  for (const std::string& reason : plan.reasons)
    message += (&reason == &plan.reasons.front() ? ": " : "; ") + reason;
  throw DoesNotFit(message);
}

void add_devices(CLI::App* command, Options& options) {
  command->add_option("--device", options.execution.device,
                      "devices that are here: auto, cpu, cuda:0, or several as stages: cpu,cpu");
  command->add_option("--devices", options.devices,
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
  add_options(*command, options->net);
  command->add_option("--input", options->input,
                      "size of the volume or patch: X,Y,Z, or auto with --max-input");
  command->add_option("--max-input", options->max_input,
                      "take the largest input up to X,Y,Z, such as the images' size, that fits");
  command->add_option("--batch", options->batch, "samples in the mini-batch");
  command->add_option("--optimizer", options->optimizer, "rmsprop, sgd or adamw");
  add_devices(command, *options);
  add_options(*command, options->execution);
  command->add_option("-o,--output", options->output, "write the plan as JSON to this file")
      ->check(names_an_output());
  command
      ->add_option("--svg", options->svg,
                   "draw the simulated step to this file, with --measure above the measured one")
      ->check(names_an_output());
  command
      ->add_option("--trace", options->trace,
                   "write it as a Chrome trace (chrome://tracing, ui.perfetto.dev)")
      ->check(names_an_output());
  command->add_flag("--measure", options->measure, "run the plan and compare");
  command->add_flag("--layers", options->layers,
                    "print what every layer costs, which --json always holds");
  command->add_option("--rounds", options->rounds, "of --measure, after a warm-up")
      ->check(CLI::Range(1, 1000));
  command->callback([options, &globals] { run(*options, globals); });
}

}  // namespace lamp
