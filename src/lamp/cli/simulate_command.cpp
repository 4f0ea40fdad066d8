// `lamp simulate`: a schedule timed on paper; its figures, timetable and pictures.
#include <cmath>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/output_options.h"
#include "lamp/planner/block_stream.h"
#include "lamp/planner/simulate.h"
#include "lamp/planner/timetable.h"
#include "lamp/report/timeline.h"

namespace lamp {
namespace {

constexpr int kMostStages = 65536;
constexpr double kMostActions = 2e7;  // some gigabytes of timeline
constexpr int kDrawnTicks = 100;      // columns of a printed timetable

struct SimulateLine {
  std::string schedule = "gpipe";
  int stages = 0;
  int microbatches = 0;
  std::vector<double> forward;
  std::vector<double> backward;
  std::vector<double> weight;
  std::vector<double> transfer;
  std::string recompute = "never";
  std::string svg;
  std::string trace;
  bool paper = false;
};

// One number for all, or one for each.
std::vector<double> spread(const std::vector<double>& given, std::size_t count,
                           const char* option) {
  if (given.size() != 1 && given.size() != count)
    throw UsageError(std::string(option) + ": found " + std::to_string(given.size()) +
                     " times, expected 1 or " + std::to_string(count));
  for (const double time : given)
    if (!std::isfinite(time) || time < 0)
      throw UsageError(std::string(option) + ": found " + shortest(time) +
                       ", expected a time of 0 or more");
  return given.size() == count ? given : std::vector<double>(count, given[0]);
}

PipelineCosts costs_of(const SimulateLine& options, const Schedule& schedule) {
  const auto stages = static_cast<std::size_t>(options.stages);
  const auto forward = spread(options.forward.empty() ? std::vector<double>{1} : options.forward,
                              stages, "--forward");
  const auto backward = spread(options.backward.empty() ? std::vector<double>{2} : options.backward,
                               stages, "--backward");
  if (!options.weight.empty() && !schedule.splits_backward())
    throw UsageError("--weight: schedule " + options.schedule +
                     " does not split the backward; use zero-bubble");
  std::vector<double> weight(stages, 0);
  if (schedule.splits_backward()) {
    for (std::size_t j = 0; j < stages; ++j) weight[j] = backward[j] / 2;
    if (!options.weight.empty()) weight = spread(options.weight, stages, "--weight");
  }
  PipelineCosts costs{
      .recompute = std::vector<RecomputeRule>(stages, parse_recompute_rule(options.recompute))};
  for (std::size_t j = 0; j < stages; ++j) {
    if (weight[j] > backward[j])
      throw UsageError("--weight: found " + shortest(weight[j]) +
                       ", more than the whole backward of " + shortest(backward[j]));
    costs.stages.push_back({forward[j], backward[j] - weight[j], weight[j]});
  }
  if (!options.transfer.empty()) {
    const auto times =
        stages > 1 ? spread(options.transfer, stages - 1, "--transfer") : std::vector<double>{};
    costs.transfers = times;
  }
  return costs;
}

TimelinePicture picture_of(const SimulateLine& options, const Simulation& simulation) {
  return {.title = options.schedule + ", " + counted(options.stages, "stage") + ", " +
                   counted(options.microbatches, "micro-batch") + ": makespan " +
                   shortest(simulation.makespan),
          .panels = {{.name = "", .stages = options.stages, .timeline = simulation.timeline}},
          .unit = options.forward.empty() && options.backward.empty() ? "forward times" : "s"};
}

Json simulation_json(const SimulateLine& options, const Simulation& simulation) {
  return {{"schedule", options.schedule},
          {"stages", options.stages},
          {"microbatches", options.microbatches},
          {"recompute", options.recompute},
          {"makespan", simulation.makespan},
          {"bubble", simulation.bubble},
          {"utilisation", simulation.utilisation},
          {"busy", simulation.busy},
          {"peak_in_flight", simulation.peak_in_flight}};
}

std::string row_of(const TimelineEntry& entry) {
  const auto number = [](double value) { return dump_json(Json(value), -1); };
  std::string row = "{\"stage\": " + std::to_string(entry.stage) + ", \"kind\": \"" +
                    to_string(entry.kind) +
                    "\", \"microbatch\": " + std::to_string(entry.microbatch) +
                    ", \"start\": " + number(entry.start) + ", \"end\": " + number(entry.end);
  if (entry.kind == WorkKind::kTransfer) row += ", \"to_stage\": " + std::to_string(entry.to_stage);
  return row + "}";
}

// Row by row: as a tree of values a timeline of millions would take gigabytes and minutes.
void print_schedule_json(const SimulateLine& options, const Simulation& simulation) {
  constexpr std::size_t kRowsBetweenLooks = 4096;
  std::string head = dump_json(simulation_json(options, simulation));
  head.resize(head.rfind('}'));
  while (head.back() == '\n') head.pop_back();
  std::cout << head << ",\n  \"timeline\": [";
  for (std::size_t i = 0; i < simulation.timeline.size(); ++i) {
    if (i % kRowsBetweenLooks == 0) throw_if_interrupted("the output is incomplete");
    std::cout << (i == 0 ? "\n    " : ",\n    ") << row_of(simulation.timeline[i]);
  }
  std::cout << "\n  ]\n}" << std::endl;
}

void print_simulation(const SimulateLine& options, const Simulation& simulation) {
  std::cout << options.schedule << ", " << counted(options.stages, "stage") << ", "
            << counted(options.microbatches, "micro-batch") << ", recompute " << options.recompute
            << "\nmakespan     " << shortest(simulation.makespan) << "\nbubble       "
            << fixed(100 * simulation.bubble, 2) << " %\nutilisation  "
            << fixed(100 * simulation.utilisation, 2) << " %\nin flight   ";
  for (const int peak : simulation.peak_in_flight) std::cout << " " << peak;
  std::cout << "\n";
  if (const std::string drawn = timetable(simulation, kDrawnTicks); !drawn.empty())
    std::cout << "\n" << drawn;
  std::cout.flush();
}

void check(const SimulateLine& options) {
  if (options.stages < 1 || options.microbatches < 1)
    throw UsageError("simulate: found " + std::to_string(options.stages) + " stages and " +
                     std::to_string(options.microbatches) +
                     " micro-batches; give --stages and --microbatches of 1 or more, or --paper");
  if (options.stages > kMostStages || 3.0 * options.stages * options.microbatches > kMostActions)
    throw UsageError("simulate: " + std::to_string(options.stages) + " stages with " +
                     std::to_string(options.microbatches) +
                     " micro-batches are more than 20 million actions; use fewer");
}

void run_schedule(const SimulateLine& options, const GlobalOptions& globals) {
  check(options);
  const PictureFiles pictures{options.svg, options.trace};
  picture_outputs(pictures).check();
  const Schedule schedule =
      make_schedule(parse_schedule_kind(options.schedule), options.stages, options.microbatches);
  throw_if_interrupted("nothing was written");
  const Simulation simulation = simulate(schedule, costs_of(options, schedule));
  throw_if_interrupted("nothing was written");
  if (globals.json) {
    print_schedule_json(options, simulation);
  } else {
    print_simulation(options, simulation);
  }
  write_picture_files(pictures, picture_of(options, simulation));
}

void run_paper(const GlobalOptions& globals) {
  constexpr int kDevices = 3;
  constexpr int kBatches = 120;
  constexpr int kDrawn = 30;
  const auto conventional = simulate_stream(conventional_blocks(), kDevices, kBatches, kDrawn);
  const auto lamp = simulate_stream(lamp_blocks(), kDevices, kBatches, kDrawn);
  if (globals.json) {
    const auto entry = [](const BlockStream& stream, const char* formula) {
      return Json{{"batches_per_unit_time", stream.batches_per_unit},
                  {"in_time_t", formula},
                  {"timetable", stream.timetable}};
    };
    print_json({{"devices", kDevices},
                {"ticks_per_unit", kTicksPerUnit},
                {"conventional", entry(conventional, "t/2")},
                {"lamp", entry(lamp, "3t/4")},
                {"ratio", lamp.batches_per_unit / conventional.batches_per_unit}});
    return;
  }
  std::cout << "Appendix B: three devices, a batch is four blocks of one unit (e1 e2 d2 d1); three "
               "columns are one unit,\ne1.0 is block e1 of batch 0. Sustained throughput by "
               "simulation.\n\nConventional (a skip ties e1 to d1 and e2 to d2; nothing is left "
               "for the third device): "
            << shortest(conventional.batches_per_unit) << " batches a unit of time, so t/2 in t\n"
            << conventional.timetable
            << "\nLAMP (duplicated outputs remove the tie: three stages of 4/3 units): "
            << shortest(lamp.batches_per_unit) << " batches a unit of time, so 3t/4 in t\n"
            << lamp.timetable << std::flush;
}

}  // namespace

void add_simulate_command(CLI::App& app, const GlobalOptions& globals) {
  CLI::App* command = app.add_subcommand(
      "simulate", "times a pipeline schedule on paper: makespan, bubble, timeline");
  auto options = std::make_shared<SimulateLine>();
  command->add_option("--schedule", options->schedule, "naive, gpipe, 1f1b or zero-bubble")
      ->capture_default_str();
  command->add_option("--stages", options->stages, "devices K");
  command->add_option("--microbatches", options->microbatches, "parts M of the mini-batch");
  const auto times = [&](const char* name, std::vector<double>& target, const char* help) {
    command->add_option(name, target, help)->delimiter(',');
  };
  times("--forward", options->forward, "forward time, one for all stages or f1,f2,...; default 1");
  times("--backward", options->backward, "backward time, both halves; default 2");
  times("--weight", options->weight,
        "the weight half's part of it, for zero-bubble; default half of it");
  times("--transfer", options->transfer, "time between neighbours, one or K-1 of them; default 0");
  command->add_option("--recompute", options->recompute, "never, always or except_last")
      ->capture_default_str();
  command->add_option("--svg", options->svg, "draw the timeline to this file")
      ->check(names_an_output());
  command
      ->add_option("--trace", options->trace,
                   "write it as a Chrome trace (chrome://tracing, ui.perfetto.dev)")
      ->check(names_an_output());
  const auto others = command->get_options();
  CLI::Option* paper = command->add_flag("--paper", options->paper,
                                         "the two throughputs of the paper's Appendix B; alone");
  for (CLI::Option* other : others)
    if (other != command->get_help_ptr()) paper->excludes(other);
  command->callback([options, &globals] {
    if (options->paper) {
      run_paper(globals);
    } else {
      run_schedule(*options, globals);
    }
  });
}

}  // namespace lamp
