// A curriculum as the planner sees it: what a stage asks of the devices that are here, and the
// sizes of the images that stages of whole volumes and validation meet.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/dataset/datalist.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/training/case_split.h"
#include "lamp/training/train_config.h"

namespace lamp {

// x, y, z of a case's image on the network's grid; from its header alone.
Size3 network_size(const Case& entry, const DataConfig& data);
// The one with most voxels; `which`, if given, becomes its index.
Size3 largest_size(const std::vector<Case>& cases, const DataConfig& data,
                   std::size_t* which = nullptr);
// Of the images to train on.
Size3 largest_training_size(const Dataset& dataset, const CaseSplit& split, const DataConfig& data);

// Throws UsageError that names the first stage, and a case to train on, of which a batch would
// leave batch norm a single value (Network::prepare, which would say so only when the stage is
// reached).
void check_batch_norm(const TrainConfig& config, const Dataset& dataset);

// Throws UsageError that names the first stage and case, to train on or held out, whose volume has
// too few planes for the slabs that the configuration asks for.
void check_slabs(const TrainConfig& config, const Dataset& dataset);
// The same of shares that a plan has already: one plan for each stage. `split`: of the data set.
void check_slab_shares(const std::vector<ResolvedExecution>& plan, const TrainConfig& config,
                       const Dataset& dataset, const CaseSplit& split);

// The most slabs that every such volume allows; nothing where the configuration wants none.
// `split`: of the data set.
std::optional<std::int64_t> most_slabs(const TrainConfig& config, const Dataset& dataset,
                                       const CaseSplit& split);

// Samples of the largest batch: some replicas may idle in stages of smaller ones.
std::int64_t largest_batch(const TrainConfig& config);

// The options with their devices by name and, where it was open, device_memory_bytes the least of
// what is free.
PlanOptions as_a_run(PlanOptions options);
// Of one stage on an input of x, y, z voxels.
PlanOptions plan_options_of(const TrainConfig& config, const StageConfig& stage, const Size3& size);

// One stage of a curriculum, planned.
struct StagePlan {
  std::size_t stage = 0;  // from 0
  StageConfig config;
  std::optional<NetworkPlan> chosen;            // nothing for whole volumes of unknown size
  std::optional<std::int64_t> steps_per_epoch;  // where the number of cases is known

  // "stage 2 of 3 (128x128x128, batch 4)".
  std::string name(std::size_t stages) const;
  std::int64_t voxels() const;  // of a batch; 0 where not planned
  // Of all its epochs, validation not counted.
  std::optional<double> seconds() const;
};

// Every stage. base: all but the input, the batch and the optimizer; with batch_for_all, the batch
// as well. dataset: gives whole volumes (the largest training image) and "auto" patches their size,
// and the number of steps; may be null, then "auto" patches are a UsageError, and so is a
// curriculum of nothing but whole volumes. The network's classes and channels are the caller's.
std::vector<StagePlan> plan_curriculum(const PlanOptions& base, const TrainConfig& config,
                                       const Dataset* dataset, bool batch_for_all = false);

// The one with most voxels in a batch, which speaks for the curriculum where one must.
const StagePlan& largest_stage(const std::vector<StagePlan>& stages);

// [{"stage", "patch", "batch", "epochs", "input", "precision", "fits", "step_s", ...}], with
// "steps_per_epoch" and "seconds" where they are known.
Json to_json(const std::vector<StagePlan>& stages);
// Of all stages; nothing where one is not known.
std::optional<double> total_seconds(const std::vector<StagePlan>& stages);

}  // namespace lamp
