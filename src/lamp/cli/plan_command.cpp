// `lamp plan`: will it train on these devices, how fast, and cut how?
#include <charconv>
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
#include "lamp/cli/plan_text.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "lamp/report/timeline.h"
#include "lamp/training/bench.h"
#include "lamp/training/curriculum_plan.h"
#include "lamp/training/run_folder.h"

namespace lamp {
namespace {

struct PlanLine {
  std::string config;
  NetOptions net;
  ExecutionOptions execution;
  std::string input, max_input;
  std::optional<std::int64_t> batch;
  std::string dataset, devices, device_memory, flops, bandwidth, optimizer;
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

// What is planned: one input, or every stage of a configuration.
struct Wish {
  PlanOptions options;
  std::optional<TrainConfig> curriculum;
  std::optional<Dataset> dataset;
};

void set_input(const PlanLine& options, const std::vector<StageConfig>& curriculum,
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
  }
  if (options.batch) plan.batch = *options.batch;
}

std::optional<std::int64_t> absent_devices(const PlanLine& options) {
  if (options.devices.empty()) return std::nullopt;
  std::int64_t count = 0;
  const char* end = options.devices.data() + options.devices.size();
  const auto [rest, error] = std::from_chars(options.devices.data(), end, count);
  if (error == std::errc() && rest == end) return count;
  throw UsageError("--devices: found \"" + options.devices +
                   "\", expected how many devices that are not here, such as 4; for devices that "
                   "are here use --device " +
                   options.devices);
}

void refuse_contradictions(const PlanLine& options) {
  if (options.rounds && !options.measure)
    throw UsageError("--rounds is for --measure: give both or leave it out");
  if (!options.dataset.empty() && options.config.empty())
    throw UsageError("-d: a data set gives a configuration its sizes: give that, too: -c CONFIG");
  if (!options.dataset.empty() && !(options.input.empty() && options.max_input.empty()))
    throw UsageError("-d: the data set gives the sizes; leave out --input and --max-input");
  if (options.devices.empty()) return;
  if (!options.execution.device.empty())
    throw UsageError("--devices " + options.devices +
                     " describes devices that are not here, --device " + options.execution.device +
                     " ones that are: give one of the two");
  if (options.measure)
    throw UsageError("--measure: --devices describes devices that are not here; leave one out");
}

// What the devices are, and how they are used.
void set_execution(const PlanLine& options, const Json& config, Json execution, PlanOptions& plan) {
  plan.execution =
      parse_execution_config(merged(config, "execution", execution, to_json(options.execution)));
  plan.absent_devices = absent_devices(options);
  if (!options.device_memory.empty())
    plan.device_memory_bytes = parse_memory(options.device_memory, "--device-memory");
  else if (!plan.absent_devices)
    plan.device_memory_bytes = plan.execution.memory_bytes;
  if (!options.flops.empty()) plan.flops_per_s = parse_flops(options.flops, "--flops");
  if (!options.bandwidth.empty())
    plan.bytes_per_s = parse_bandwidth(options.bandwidth, "--bandwidth");
}

Wish resolve(const PlanLine& options, const GlobalOptions& globals) {
  refuse_contradictions(options);
  Wish wish;
  PlanOptions& plan = wish.options;
  const bool is_given = !options.config.empty();
  Json config = is_given ? read_config(options.config, {}) : Json::object();
  std::vector<StageConfig> curriculum;
  if (is_given) {
    TrainConfig train = parse_train_config(config);
    curriculum = train.curriculum;
    plan.optimizer = curriculum.front().optimizer;
    plan.loss_is_sum = train.loss.dice != "batch";
    if (!options.dataset.empty()) {
      wish.dataset = read_dataset(options.dataset);
      if (wish.dataset->training.empty())
        throw InputError({.file = wish.dataset->root.string(),
                          .what = "no training cases",
                          .found = "its \"training\" list is empty",
                          .fix = "add cases with labels"});
      complete_net(train, config.value("net", Json()), *wish.dataset);
      config["net"] = to_json(train.net);
    }
    if (!options.optimizer.empty())
      for (StageConfig& stage : train.curriculum)
        stage.optimizer = parse_optimizer_config({{"name", options.optimizer}});
    if (options.input.empty() && options.max_input.empty()) wish.curriculum = std::move(train);
  }
  if (!options.optimizer.empty())
    plan.optimizer = parse_optimizer_config({{"name", options.optimizer}});
  Json net = Json::object(), execution = Json::object();
  if (!is_given) {
    net["classes"] = 10;
  }
  plan.net = parse_net_config(merged(config, "net", net, to_json(options.net)));
  set_input(options, curriculum, plan);
  set_execution(options, config, execution, plan);
  plan.seed = globals.seed_or_zero();
  return wish;
}

// One or, of a curriculum, all stages.
std::vector<StagePlan> plans_of(const PlanLine& options, const Wish& wish) {
  if (wish.curriculum)
    return plan_curriculum(wish.options, *wish.curriculum, wish.dataset ? &*wish.dataset : nullptr,
                           options.batch.has_value());
  return {StagePlan{.chosen = choose_plan(wish.options)}};
}

Json to_json(const MeasuredStep& measured) {
  return {{"step_s", measured.median_s},
          {"seconds", measured.report["seconds"]},
          {"peak_bytes", measured.peak_bytes},
          {"timeline", to_json(measured.timeline)}};
}

// Predicted above measured, where there is that; both without the update of the weights.
void write_pictures(const PlanLine& options, const NetworkPlan& chosen,
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

OutputList outputs_of(const PlanLine& options) {
  OutputList files = picture_outputs({options.svg, options.trace});
  if (!options.output.empty()) files.add({"--output", options.output, own_json(kWriter)});
  if (!options.config.empty()) files.protect(options.config);
  return files;
}

void write_files(const PlanLine& options, const NetworkPlan& chosen, const Json& json,
                 const std::optional<MeasuredStep>& measured) {
  OutputList files = outputs_of(options);
  files.check();
  files.make_folders();
  if (!options.output.empty())
    write_file(options.output, dump_json(written_by(kWriter, json)) + "\n");
  write_pictures(options, chosen, measured);
}

[[noreturn]] void refuse(const std::string& what, const Plan& plan) {
  std::string message = what;
  for (const std::string& reason : plan.reasons)
    message += (&reason == &plan.reasons.front() ? ": " : "; ") + reason;
  throw DoesNotFit(message);
}

// The largest stage's plan, and of a curriculum all of them.
Json to_json(const Wish& wish, const std::vector<StagePlan>& stages) {
  const NetworkPlan& chosen = *largest_stage(stages).chosen;
  Json json = to_json(chosen);
  if (!wish.curriculum || (stages.size() == 1 && !wish.dataset)) return json;
  json["curriculum"] = to_json(stages);
  if (const auto total = total_seconds(stages)) json["total_s"] = *total;
  return json;
}

void run_plan(const PlanLine& options, const GlobalOptions& globals) {
  const Wish wish = resolve(options, globals);
  outputs_of(options).check();  // before anything is measured
  const std::vector<StagePlan> stages = plans_of(options, wish);
  const NetworkPlan& chosen = *largest_stage(stages).chosen;
  const Plan& plan = chosen.plan;
  Json json = to_json(wish, stages);
  std::optional<MeasuredStep> measured;
  if (options.measure && plan.fits) {
    measured = measure_plan(chosen, options.rounds.value_or(kRounds));
    json["measured"] = to_json(*measured);
  }
  if (globals.json) {
    print_json(json);
  } else if (wish.curriculum) {
    print_curriculum(stages, options.layers);
  } else {
    print_plan(plan, options.layers);
  }
  if (!globals.json && measured) print_comparison(plan, *measured);
  std::fflush(stdout);
  write_files(options, chosen, json, measured);
  for (const StagePlan& stage : stages)
    if (stage.chosen && !stage.chosen->plan.fits)
      refuse(stages.size() > 1 ? "plan: " + stage.name(stages.size()) : "plan", stage.chosen->plan);
}

void add_devices(CLI::App* command, PlanLine& options) {
  command->add_option("--device", options.execution.device,
                      "devices that are here: auto, cpu, cuda:0, or several as stages: cpu,cpu");
  command->add_option("--devices", options.devices,
                      "how many devices that are not here; with --device-memory");
  command->add_option("--device-memory", options.device_memory,
                      "memory of each device, such as 16GiB; default: what is free");
  command->add_option("--flops", options.flops,
                      "of a device that is not here: multiplications and additions a second it "
                      "reaches in convolutions, such as 100T");
  command->add_option("--bandwidth", options.bandwidth,
                      "between devices, such as 50GB/s, or in bits 400Gb/s");
}

}  // namespace

void add_plan_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "plan", "whether and how fast a network trains on some devices, and how to cut it");
  auto options = std::make_shared<PlanLine>();
  command->add_option("-c,--config", options->config,
                      "JSON file or preset: han, liver, demo; every stage is planned");
  command->add_option("-d,--dataset", options->dataset,
                      "with -c: the data set, for the sizes of its images and the time in all");
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
  command->callback([options, &globals] { run_plan(*options, globals); });
}

}  // namespace lamp
