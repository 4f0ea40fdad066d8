// `lamp simulate`: a schedule timed on paper; its figures, timetable and pictures.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/output_options.h"
#include "lamp/execution/device_grid.h"
#include "lamp/planner/block_stream.h"
#include "lamp/planner/paper_pipeline.h"
#include "lamp/planner/timetable.h"
#include "lamp/report/timeline_picture.h"

namespace lamp {
namespace {

constexpr int kDrawnTicks = 100;  // columns of a printed timetable

struct SimulateLine {
  PaperPipeline pipeline;
  std::string split;
  PictureFiles pictures;
  bool paper = false;
};

std::string stages_of(const PaperPipeline& pipeline) {
  return counted(pipeline.stages, "stage") +
         (pipeline.slabs > 1 ? " of " + counted(pipeline.slabs, "slab") : "");
}

// The numbers that the words mean.
PaperPipeline pipeline_of(const SimulateLine& line) {
  PaperPipeline pipeline = line.pipeline;
  if (line.split.empty()) return pipeline;
  const std::string found = setting_to("execution.split", line.split);
  const auto grid = parse_device_grid(line.split);
  if (!grid || grid->replicas != 1)
    throw UsageError(found + ": expected stages=K,slabs=L (whole numbers, missing ones are 1)");
  if (pipeline.stages != 0 && pipeline.stages != grid->stages)
    throw UsageError(found + " beside " + setting_to("stages", std::to_string(pipeline.stages)) +
                     ": give one of the two");
  pipeline.stages = static_cast<int>(grid->stages);
  pipeline.slabs = static_cast<int>(grid->slabs);
  return pipeline;
}

TimelinePicture picture_of(const PaperPipeline& pipeline, const Simulation& simulation) {
  return {.title = pipeline.schedule + ", " + stages_of(pipeline) + ", " +
                   counted(pipeline.microbatches, "micro-batch") + ": makespan " +
                   six_digits(simulation.makespan),
          .panels = {{.name = "",
                      .stages = pipeline.stages * pipeline.slabs,
                      .timeline = simulation.timeline,
                      .slabs = pipeline.slabs}},
          .unit = pipeline.forward.empty() && pipeline.backward.empty() ? "forward times" : "s"};
}

Json simulation_json(const PaperPipeline& pipeline, const Simulation& simulation) {
  return {{"schedule", pipeline.schedule},   {"stages", pipeline.stages},
          {"slabs", pipeline.slabs},         {"microbatches", pipeline.microbatches},
          {"recompute", pipeline.recompute}, {"makespan", simulation.makespan},
          {"bubble", simulation.bubble},     {"utilisation", simulation.utilisation},
          {"busy", simulation.busy},         {"peak_in_flight", simulation.peak_in_flight}};
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
void print_schedule_json(const PaperPipeline& pipeline, const Simulation& simulation) {
  constexpr std::size_t kRowsBetweenLooks = 4096;
  std::string head = dump_json(simulation_json(pipeline, simulation));
  head.resize(head.rfind('}'));
  while (head.back() == '\n') head.pop_back();
  std::cout << head << ",\n  \"timeline\": [";
  for (std::size_t i = 0; i < simulation.timeline.size(); ++i) {
    if (i % kRowsBetweenLooks == 0) throw_if_interrupted("the output is incomplete");
    std::cout << (i == 0 ? "\n    " : ",\n    ") << row_of(simulation.timeline[i]);
  }
  std::cout << "\n  ]\n}" << std::endl;
}

void print_simulation(const PaperPipeline& pipeline, const Simulation& simulation) {
  std::cout << pipeline.schedule << ", " << stages_of(pipeline) << ", "
            << counted(pipeline.microbatches, "micro-batch") << ", recompute " << pipeline.recompute
            << "\nmakespan     " << six_digits(simulation.makespan) << "\nbubble       "
            << fixed(100 * simulation.bubble, 2) << " %\nutilisation  "
            << fixed(100 * simulation.utilisation, 2) << " %\nin flight   ";
  for (const int peak : simulation.peak_in_flight) std::cout << " " << peak;
  std::cout << "\n";
  if (const std::string drawn = timetable(simulation, kDrawnTicks); !drawn.empty())
    std::cout << "\n" << drawn;
  std::cout.flush();
}

void run_schedule(const SimulateLine& options, const GlobalOptions& globals) {
  picture_outputs(options.pictures).check();
  const PaperPipeline pipeline = pipeline_of(options);
  const Simulation simulation = simulate(pipeline);
  if (globals.json) {
    print_schedule_json(pipeline, simulation);
  } else {
    print_simulation(pipeline, simulation);
  }
  write_picture_files(options.pictures, picture_of(pipeline, simulation));
}

void run_paper(const GlobalOptions& globals) {
  const auto [conventional, lamp] = simulate_appendix_b();
  if (globals.json) {
    const auto entry = [](const BlockStream& stream, const char* formula) {
      return Json{{"batches_per_unit_time", stream.batches_per_unit},
                  {"in_time_t", formula},
                  {"timetable", stream.timetable}};
    };
    print_json({{"devices", kAppendixDevices},
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
  command->add_option("--schedule", options->pipeline.schedule, "naive, gpipe, 1f1b or zero-bubble")
      ->capture_default_str();
  command->add_option("--stages", options->pipeline.stages, "devices K");
  command->add_option("--microbatches", options->pipeline.microbatches,
                      "parts M of the mini-batch");
  const auto times = [&](const char* name, std::vector<double>& target, const char* help) {
    command->add_option(name, target, help)->delimiter(',');
  };
  times("--forward", options->pipeline.forward,
        "forward time, one for all stages or f1,f2,...; default 1");
  times("--backward", options->pipeline.backward, "backward time, both halves; default 2");
  times("--weight", options->pipeline.weight,
        "the weight half's part of it, for zero-bubble; default half of it");
  times("--transfer", options->pipeline.transfer,
        "time between neighbours, one or K-1 of them; default 0");
  command->add_option("--split", options->split,
                      "stages=K,slabs=L: each stage's times are shared by slabs of every volume");
  times("--exchange", options->pipeline.exchange,
        "between slabs, in each forward and each backward: one time or e1,e2,...; default 0");
  command->add_option("--recompute", options->pipeline.recompute, "never, always or except_last")
      ->capture_default_str();
  add_options(*command, options->pictures, "the timeline to this file");
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
