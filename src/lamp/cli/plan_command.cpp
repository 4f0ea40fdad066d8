// `lamp plan`: will it train on these devices, how fast, and cut how?
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/files.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/network_options.h"
#include "lamp/cli/output_options.h"
#include "lamp/cli/plan_text.h"
#include "lamp/report/timeline_picture.h"
#include "lamp/training/bench.h"
#include "lamp/training/plan_wish.h"

namespace lamp {
namespace {

struct PlanLine {
  PlanWish wish;
  NetOptions net;
  ExecutionOptions execution;
  std::string output;
  PictureFiles pictures;
  bool layers = false;
};

constexpr int kRounds = 3;
constexpr const char* kWriter = "lamp plan";

PlanWish wish_of(const PlanLine& options, const GlobalOptions& globals) {
  PlanWish wish = options.wish;
  wish.net = to_json(options.net);
  wish.execution = to_json(options.execution);
  wish.seed = globals.seed_or_zero();
  return wish;
}

Json to_json(const MeasuredStep& measured) {
  Json json = {{"step_s", measured.median_s},
               {"seconds", measured.report["seconds"]},
               {"peak_bytes", measured.peak_bytes},
               {"timeline", to_json(measured.timeline)}};
  if (measured.predicted_s.empty()) return json;
  json["predicted_s"] = median_seconds(measured.predicted_s);
  json["predicted_seconds"] = measured.predicted_s;
  return json;
}

// Predicted above measured, where there is that; both without the update of the weights.
void write_pictures(const PlanLine& options, const NetworkPlan& chosen,
                    const std::optional<MeasuredStep>& measured) {
  const Plan& plan = chosen.plan;
  const auto stages = static_cast<int>(plan.setup.stages());
  const auto slabs = static_cast<int>(plan.setup.slabs());
  const auto panel = [&](const std::string& name, const std::vector<TimelineEntry>& timeline) {
    return TimelinePanel{
        .name = name, .stages = stages * slabs, .timeline = timeline, .slabs = slabs};
  };
  TimelinePicture picture{.title = chosen.options.net.name + ", " + to_string(plan.setup.schedule) +
                                   ", " + counted(stages, "stage") +
                                   (slabs > 1 ? " of " + counted(slabs, "slab") : "") + ", " +
                                   counted(plan.setup.microbatches, "micro-batch"),
                          .panels = {panel("predicted", by_slab(plan.simulation, slabs).timeline)}};
  if (measured) picture.panels.push_back(panel("measured", measured->timeline));
  write_picture_files(options.pictures, picture);
}

OutputList outputs_of(const PlanLine& options) {
  OutputList files = picture_outputs(options.pictures);
  if (!options.output.empty()) files.add({"--output", options.output, own_json(kWriter)});
  if (!options.wish.config.empty()) files.protect(options.wish.config);
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

void run_plan(const PlanLine& options, const GlobalOptions& globals) {
  const PlanTask task = parse_plan_wish(wish_of(options, globals));
  outputs_of(options).check();  // before anything is measured
  const std::vector<StagePlan> stages = task.plans();
  const NetworkPlan& chosen = *largest_stage(stages).chosen;
  Json json = task.to_json(stages);
  std::optional<MeasuredStep> measured;
  if (options.wish.measure && chosen.plan.fits) {
    measured = measure_plan(chosen, options.wish.rounds.value_or(kRounds));
    json["measured"] = to_json(*measured);
  }
  if (globals.json) {
    print_json(json);
  } else if (task.curriculum) {
    print_curriculum(stages, options.layers);
  } else {
    print_plan(chosen.plan, options.layers);
  }
  if (!globals.json && measured) print_comparison(chosen.plan, *measured);
  std::fflush(stdout);
  write_files(options, chosen, json, measured);
  throw_unless_all_fit(stages);
}

void add_devices(CLI::App* command, PlanLine& options) {
  command->add_option("--device", options.execution.device,
                      "devices that are here: auto, cpu, cuda:0, or several as stages: cpu,cpu");
  command->add_option("--devices", options.wish.devices,
                      "how many devices that are not here; with --device-memory");
  command->add_option("--device-memory", options.wish.device_memory,
                      "memory of each device, such as 16GiB, or 16GiB,8GiB where they differ; "
                      "default: what is free");
  command->add_option("--flops", options.wish.flops,
                      "of a device that is not here: multiplications and additions a second it "
                      "reaches in convolutions, such as 100T, or 100T,50T where they differ");
  command->add_option("--bandwidth", options.wish.bandwidth,
                      "between devices, such as 50GB/s, or in bits 400Gb/s");
}

}  // namespace

void add_plan_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "plan", "whether and how fast a network trains on some devices, and how to cut it");
  auto options = std::make_shared<PlanLine>();
  command->add_option("-c,--config", options->wish.config,
                      "JSON file or preset: han, liver, demo; every stage is planned");
  command->add_option("-d,--dataset", options->wish.dataset,
                      "with -c: the data set, for the sizes of its images and the time in all");
  add_options(*command, options->net);
  command->add_option("--input", options->wish.input,
                      "size of the volume or patch: X,Y,Z, or auto with --max-input");
  command->add_option("--max-input", options->wish.max_input,
                      "take the largest input up to X,Y,Z, such as the images' size, that fits");
  command->add_option("--batch", options->wish.batch, "samples in the mini-batch");
  command->add_option("--optimizer", options->wish.optimizer, "rmsprop, sgd or adamw");
  add_devices(command, *options);
  add_options(*command, options->execution);
  command->add_option("-o,--output", options->output, "write the plan as JSON to this file")
      ->check(names_an_output());
  add_options(*command, options->pictures,
              "the simulated step to this file, with --measure above the measured one");
  command->add_flag("--measure", options->wish.measure, "run the plan and compare");
  command->add_flag("--layers", options->layers,
                    "print what every layer costs, which --json always holds");
  command->add_option("--rounds", options->wish.rounds, "of --measure, after a warm-up")
      ->check(CLI::Range(1, 1000));
  command->callback([options, &globals] { run_plan(*options, globals); });
}

}  // namespace lamp
