// Lists of times spread over the stages.
#include "lamp/planner/paper_pipeline.h"

#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr int kMostPaperStages = 65536;
constexpr double kMostPaperActions = 2e7;  // some gigabytes of timeline

std::vector<double> spread_times(const std::vector<double>& given, std::size_t count,
                                 const std::string& setting) {
  if (given.size() != 1 && given.size() != count)
    throw UsageError(setting + ": found " + std::to_string(given.size()) +
                     " times, expected 1 or " + std::to_string(count));
  for (const double time : given)
    if (!std::isfinite(time) || time < 0)
      throw UsageError(setting + ": found " + shortest(time) + ", expected a time of 0 or more");
  return given.size() == count ? given : std::vector<double>(count, given[0]);
}

std::vector<double> times_or(const std::vector<double>& given, double usual) {
  return given.empty() ? std::vector<double>{usual} : given;
}

// The weight half of each backward.
std::vector<double> weight_times(const PaperPipeline& pipeline, const Schedule& schedule,
                                 const std::vector<double>& backward) {
  const std::string setting = setting_name("weight");
  if (!schedule.splits_backward()) {
    if (!pipeline.weight.empty())
      throw UsageError(setting + ": schedule " + pipeline.schedule +
                       " does not split the backward; use zero-bubble");
    return std::vector<double>(backward.size(), 0);
  }
  std::vector<double> weight = backward;
  for (double& half : weight) half /= 2;
  if (!pipeline.weight.empty()) weight = spread_times(pipeline.weight, backward.size(), setting);
  for (std::size_t j = 0; j < weight.size(); ++j)
    if (weight[j] > backward[j])
      throw UsageError(setting + ": found " + shortest(weight[j]) +
                       ", more than the whole backward of " + shortest(backward[j]));
  return weight;
}

void check_counts(const PaperPipeline& pipeline) {
  const std::string found = counted(pipeline.stages, "stage");
  const std::string microbatches = counted(pipeline.microbatches, "micro-batch");
  if (pipeline.stages < 1 || pipeline.microbatches < 1)
    throw UsageError("simulate: found " + found + " and " + microbatches + "; give " +
                     setting_name("stages") + " and " + setting_name("execution.microbatches") +
                     " of 1 or more, or " + setting_name("paper"));
  if (pipeline.stages > kMostPaperStages ||
      3.0 * pipeline.stages * pipeline.slabs * pipeline.microbatches > kMostPaperActions)
    throw UsageError("simulate: " + found +
                     (pipeline.slabs > 1 ? " of " + counted(pipeline.slabs, "slab") : "") +
                     " with " + microbatches + " are more than 20 million actions; use fewer");
}

}  // namespace

PipelineCosts costs_of(const PaperPipeline& pipeline, const Schedule& schedule) {
  const auto stages = static_cast<std::size_t>(pipeline.stages);
  const auto forward = spread_times(times_or(pipeline.forward, 1), stages, setting_name("forward"));
  const auto backward =
      spread_times(times_or(pipeline.backward, 2), stages, setting_name("backward"));
  const auto weight = weight_times(pipeline, schedule, backward);
  PipelineCosts costs{
      .recompute = std::vector<RecomputeRule>(stages, parse_recompute_rule(pipeline.recompute))};
  if (!pipeline.exchange.empty() && pipeline.slabs == 1)
    throw UsageError(setting_name("exchange") + " is for slabs: give " +
                     setting_to("execution.split", "stages=K,slabs=L"));
  const auto exchange =
      spread_times(times_or(pipeline.exchange, 0), stages, setting_name("exchange"));
  const double slabs = pipeline.slabs;
  for (std::size_t j = 0; j < stages; ++j)
    costs.stages.push_back({forward[j] / slabs + exchange[j],
                            (backward[j] - weight[j]) / slabs + exchange[j], weight[j] / slabs});
  if (!pipeline.transfer.empty() && stages > 1)
    costs.transfers = spread_times(pipeline.transfer, stages - 1, setting_name("transfer"));
  for (double& seconds : costs.transfers) seconds /= slabs;  // each sends its own planes
  return costs;
}

Simulation simulate(const PaperPipeline& pipeline) {
  check_counts(pipeline);
  const Schedule schedule =
      make_schedule(parse_schedule_kind(pipeline.schedule), pipeline.stages, pipeline.microbatches);
  throw_if_interrupted("nothing was written");
  Simulation simulation = simulate(schedule, costs_of(pipeline, schedule));
  throw_if_interrupted("nothing was written");
  return pipeline.slabs > 1 ? by_slab(simulation, pipeline.slabs) : simulation;
}

}  // namespace lamp
