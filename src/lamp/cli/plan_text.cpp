// Tables of text.
#include "lamp/cli/plan_text.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

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
    // Its first slab; the others are like it.
    const std::string layers = std::to_string(range.first) + "-" + std::to_string(range.last - 1);
    std::printf(
        "%-6zu %-10s %-9s %-12s %12s %12s  %s ... %s\n", j, plan.setup.devices[j].name.c_str(),
        layers.c_str(), to_string(plan.balance.recompute[j]).c_str(),
        milliseconds(plan.simulation.busy[j]).c_str(), bytes_text(plan.stage_peak_bytes[j]).c_str(),
        plan.costs.layers[range.first].name.c_str(),
        plan.costs.layers[range.last - 1].name.c_str());
  }
}

void print_text(const Plan& plan) {
  print_stages(plan);
  if (plan.setup.slabs_of_replica() > 1)
    std::printf("each stage: %s, with times and peaks of %s; %s of halos, %s of exchanges a step\n",
                counted(plan.setup.slabs_of_replica(), "slab").c_str(),
                plan.setup.slab_parts.empty() ? "one" : "the largest",
                bytes_text(halo_bytes(plan)).c_str(), milliseconds(exchange_s(plan)).c_str());
  std::printf("\nschedule %s, %s\nstep        %s\nbubble      %s %%\nutilisation %s %%\n",
              to_string(plan.setup.schedule).c_str(),
              counted(plan.setup.microbatches, "micro-batch").c_str(),
              milliseconds(plan.step_s()).c_str(), fixed(100 * plan.simulation.bubble, 1).c_str(),
              fixed(100 * plan.simulation.utilisation, 1).c_str());
  for (const auto& [device, peak] : device_needs(plan))
    std::printf("device %s: peak %s of %s\n", device.name.c_str(), bytes_text(peak).c_str(),
                bytes_text(device.memory_bytes).c_str());
  std::printf("\n");
  for (const std::string& reason : plan.reasons) std::printf("- %s\n", reason.c_str());
}

void print_stage_time(const StagePlan& stage, std::size_t stages) {
  std::printf("%s: %s", stage.name(stages).c_str(), counted(stage.config.epochs, "epoch").c_str());
  if (!stage.chosen) {
    std::printf(
        "; not planned, as the volumes' size is not known: give the data set (-d FOLDER)\n");
    return;
  }
  if (stage.steps_per_epoch) std::printf(" of %s", counted(*stage.steps_per_epoch, "step").c_str());
  if (!stage.chosen->plan.fits) {
    std::printf("; does not fit\n");
    return;
  }
  std::printf(", %s a step", milliseconds(stage.chosen->plan.step_s()).c_str());
  if (const auto seconds = stage.seconds()) std::printf(": %s", clock_text(*seconds).c_str());
  std::printf("\n");
}

}  // namespace

void print_plan(const Plan& plan, bool layers) {
  if (layers) print_layers(plan);
  if (plan.fits) print_text(plan);
}

void print_comparison(const Plan& plan, const MeasuredStep& measured) {
  const auto off = [](double predicted, double found) { return 100 * (predicted / found - 1); };
  const auto print_step = [&](const char* name, double predicted) {
    std::printf("%-22s %12s %12s %+7.1f%%\n", name, milliseconds(predicted).c_str(),
                milliseconds(measured.median_s).c_str(), off(predicted, measured.median_s));
  };
  std::printf("\n%-22s %12s %12s %8s\n", "", "predicted", "measured", "off by");
  print_step("step", plan.step_s());
  if (!measured.predicted_s.empty())
    print_step("step, profiled in turn", median_seconds(measured.predicted_s));
  const auto needs = device_needs(plan);
  for (std::size_t d = 0; d < needs.size(); ++d) {
    const std::int64_t peak = needs[d].peak_bytes, found = measured.peak_bytes[d];
    std::printf("%-22s %12s %12s %+7.1f%%\n", ("peak of " + needs[d].device.name).c_str(),
                bytes_text(peak).c_str(), bytes_text(found).c_str(),
                off(static_cast<double>(peak), static_cast<double>(found)));
  }
}

// Each stage, then how long all of them take.
void print_curriculum(const std::vector<StagePlan>& stages, bool layers) {
  for (const StagePlan& stage : stages) {
    if (!stage.chosen) continue;
    if (stages.size() > 1) std::printf("%s\n", stage.name(stages.size()).c_str());
    print_plan(stage.chosen->plan, layers);
    std::printf("\n");
  }
  for (const StagePlan& stage : stages) print_stage_time(stage, stages.size());
  if (const auto total = total_seconds(stages))
    std::printf("in all: %s (hours:minutes:seconds), validation not counted\n",
                clock_text(*total).c_str());
  else if (!stages.front().steps_per_epoch)
    std::printf("in all: give the data set (-d FOLDER), which says how many steps an epoch has\n");
}

}  // namespace lamp
