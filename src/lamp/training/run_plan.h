// What every stage of a run's curriculum runs as, decided once: by the planner, by a plan that the
// user gives, or by what the run began with.
#pragma once

#include <filesystem>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"
#include "lamp/execution/resolved_execution.h"
#include "lamp/training/case_split.h"
#include "lamp/training/train_config.h"

namespace lamp {

struct PlanSources {
  std::filesystem::path given;    // of `lamp plan -o`; may be empty
  std::filesystem::path earlier;  // plan.json of a run that goes on; may be empty
  int threads = 0;                // CPU threads that the user asks for; 0 = the plan's
};

// One for each stage, in order; `dataset` and `split` as the run has them. A plan that is given is
// taken as it is; else what the run had, for stages that are as they were (of others the number of
// micro-batches stays, as results depend on it); else the planner decides. Throws UsageError that
// names the differing field of a given plan, InputError for a file that is none.
std::vector<ResolvedExecution> resolve_curriculum(const TrainConfig& config, const Dataset& dataset,
                                                  const CaseSplit& split,
                                                  const PlanSources& sources);

// In one line what a stage runs as, and the first reasons.
std::string told(const ResolvedExecution& plan);

// Fields of "execution" that the configuration leaves to its defaults and that hold for a whole
// run (device, slabs, precision, layout) as the plan in the file has them.
void adopt_plan(Json& config, const std::filesystem::path& file);

// plan.json.
Json to_json(const std::vector<ResolvedExecution>& plan);

}  // namespace lamp
