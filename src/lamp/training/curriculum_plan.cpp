// Sizes from headers; a run's own choices made beforehand.
#include "lamp/training/curriculum_plan.h"

#include <torch/types.h>

#include <algorithm>
#include <functional>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/cases/preprocess.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/auto_settings.h"
#include "lamp/training/case_split.h"

namespace lamp {

Size3 network_size(const Case& entry, const DataConfig& data) {
  const VolumeHeader header = read_volume_header(entry.images.front(), data.read_options());
  return plan_grid(Volume{.geometry = header.geometry}, data).network.size;
}

Size3 largest_size(const std::vector<Case>& cases, const DataConfig& data, std::size_t* which) {
  Size3 largest{};
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Size3 size = network_size(cases[i], data);
    if (size.voxels() <= largest.voxels()) continue;
    largest = size;
    if (which != nullptr) *which = i;
  }
  return largest;
}

Size3 largest_training_size(const Dataset& dataset, const CaseSplit& split,
                            const DataConfig& data) {
  std::vector<Case> training;
  for (const std::size_t index : split.training) training.push_back(dataset.training[index]);
  return largest_size(training, data);
}

// Of two samples or more, batch norm sees at least two values; micro-batches are chosen so.
void check_batch_norm(const TrainConfig& config, const Dataset& dataset) {
  const std::int64_t stride = stride_multiple(config.net);
  std::vector<Size3> sizes;  // of the cases to train on, read once they are needed
  Dataset all = dataset;
  const CaseSplit split = split_dataset(all, config.validation, config.seed);
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) {
    const StageConfig& stage = config.curriculum[i];
    if (stage.batch > 1 || (stage.is_auto_patch && !stage.patch)) continue;
    for (std::size_t k = 0; k < split.training.size(); ++k) {
      const Case& entry = all.training[split.training[k]];
      if (k == sizes.size()) sizes.push_back(network_size(entry, config.data));
      Size3 size = sizes[k];  // a patch is no larger than its volume
      for (std::size_t axis = 0; axis < 3 && stage.patch; ++axis)
        size[axis] = std::min(size[axis], (*stage.patch)[axis]);
      if (*std::max_element(size.begin(), size.end()) > stride) continue;
      throw UsageError("training: curriculum stage " + std::to_string(i + 1) + " (" +
                       stage.describe() + "): " + size_text(size, "x") + " voxels of " +
                       entry.name +
                       " leave batch norm a single value at the lowest level; use a batch of 2 or "
                       "more, a larger patch or a smaller depth");
    }
  }
}

namespace {

// What a run meets: of each stage of the curriculum every case to train on, and of each stage every
// held-out one whole. A patch is no larger than its volume; those of a batch are filled up to the
// largest.
using VolumeVisitor =
    std::function<void(std::size_t stage, const Size3& size, const std::string& what)>;

void visit_volumes(const TrainConfig& config, const std::vector<Case>& cases,
                   const CaseSplit& split, const VolumeVisitor& visit) {
  for (const std::size_t index : split.training) {
    const Size3 whole = network_size(cases[index], config.data);
    for (std::size_t i = 0; i < config.curriculum.size(); ++i) {
      const StageConfig& stage = config.curriculum[i];
      Size3 size = whole;
      for (std::size_t axis = 0; axis < 3 && stage.patch; ++axis)
        size[axis] = std::min(size[axis], (*stage.patch)[axis]);
      visit(i, size, "curriculum stage " + std::to_string(i + 1) + ", case " + cases[index].name);
    }
  }
  for (const std::size_t index : split.validation) {
    const Size3 whole = network_size(cases[index], config.data);
    for (std::size_t i = 0; i < config.curriculum.size(); ++i)
      visit(i, whole, "held-out case " + cases[index].name);
  }
}

}  // namespace

void check_slabs(const TrainConfig& config, const Dataset& dataset) {
  if (!config.execution.split || grid_of({.execution = config.execution}).slabs == 1) return;
  const auto shapes = shapes_of({.net = config.net});
  Dataset all = dataset;
  const CaseSplit split = split_dataset(all, config.validation, config.seed);
  visit_volumes(
      config, all.training, split, [&](std::size_t, const Size3& size, const std::string& what) {
        try {
          check_slabs({.net = config.net, .input = size, .execution = config.execution}, *shapes);
        } catch (const UsageError& error) {
          throw UsageError("training: " + what + ": " + error.what());
        }
      });
}

void check_slab_shares(const std::vector<ResolvedExecution>& plan, const TrainConfig& config,
                       const Dataset& dataset, const CaseSplit& split) {
  if (std::all_of(plan.begin(), plan.end(),
                  [](const ResolvedExecution& stage) { return stage.slab_shares.empty(); }))
    return;
  const auto shapes = shapes_of({.net = config.net});
  visit_volumes(config, dataset.training, split,
                [&](std::size_t stage, const Size3& size, const std::string& what) {
                  if (bears_shares(plan[stage], *shapes->chain, size)) return;
                  throw UsageError("training: " + what + ": " + size_text(size, "x") +
                                   " voxels leave a slab of the plan's slab_shares without a "
                                   "plane; take more even shares or fewer slabs");
                });
}

std::optional<std::int64_t> most_slabs(const TrainConfig& config, const Dataset& dataset,
                                       const CaseSplit& split) {
  constexpr std::int64_t kMost = 1024;
  const auto& grid = config.execution.split;
  if (!config.execution.auto_split && (!grid || grid->slabs == 1)) return std::nullopt;
  const auto shapes = shapes_of({.net = config.net});
  std::int64_t most = kMost;
  visit_volumes(config, dataset.training, split,
                [&](std::size_t, const Size3& size, const std::string&) {
                  most = most_slabs({.net = config.net, .input = size}, *shapes, most);
                });
  return most;
}

// What shapes alone can judge: rules that differ from stage to stage need a given cut.
PlanOptions as_a_run(PlanOptions options) {
  ExecutionConfig& execution = options.execution;
  const auto devices = parse_devices(execution.device);
  execution.device = joined(device_names(devices), ",");
  std::int64_t free_bytes = device_memory(execution, devices.front());
  for (const c10::Device device : devices)
    free_bytes = std::min(free_bytes, device_memory(execution, device));
  if (!options.device_memory_bytes) options.device_memory_bytes = free_bytes;
  if (execution.partition != "counts") {
    execution.partition = "auto";
    if (execution.recompute == "stages") execution.recompute = "auto";
  }
  return options;
}

std::int64_t largest_batch(const TrainConfig& config) {
  std::int64_t most = 0;
  for (const StageConfig& stage : config.curriculum) most = std::max(most, stage.batch);
  return most;
}

PlanOptions plan_options_of(const TrainConfig& config, const StageConfig& stage,
                            const Size3& size) {
  return as_a_run({.net = config.net,
                   .input = size,
                   .batch = stage.batch,
                   .largest_batch = largest_batch(config),
                   .execution = config.execution,
                   .optimizer = stage.optimizer,
                   .loss_is_sum = config.loss.dice != "batch"});
}

std::string StagePlan::name(std::size_t stages) const {
  return "stage " + std::to_string(stage + 1) + " of " + std::to_string(stages) + " (" +
         (chosen ? size_text(chosen->options.input, "x") + ", batch " +
                       std::to_string(chosen->options.batch)
                 : config.describe()) +
         ")";
}

std::int64_t StagePlan::voxels() const {
  if (!chosen) return 0;
  const auto& [x, y, z] = chosen->options.input;
  return x * y * z * chosen->options.batch;
}

std::optional<double> StagePlan::seconds() const {
  if (!chosen || !chosen->plan.fits || !steps_per_epoch) return std::nullopt;
  return static_cast<double>(config.epochs) * static_cast<double>(*steps_per_epoch) *
         chosen->plan.step_s();
}

namespace {

// What a data set says about a curriculum.
struct DataSizes {
  std::int64_t cases = 0;  // to train on
  Size3 largest{}, median{};
  std::optional<std::int64_t> most_slabs;
};

DataSizes sizes_of(const TrainConfig& config, const Dataset& given) {
  Dataset dataset = given;
  const CaseSplit split = split_dataset(dataset, config.validation, config.seed);
  DataSizes sizes{.cases = static_cast<std::int64_t>(split.training.size())};
  const auto needs = [&](auto is) {
    return std::any_of(config.curriculum.begin(), config.curriculum.end(), is);
  };
  if (needs([](const StageConfig& stage) { return stage.is_auto_patch; }))
    sizes.median = median_size(given, config.data);
  if (needs([](const StageConfig& stage) { return !stage.patch && !stage.is_auto_patch; }))
    sizes.largest = largest_training_size(dataset, split, config.data);
  sizes.most_slabs = most_slabs(config, dataset, split);
  return sizes;
}

TrainConfig as_planned(TrainConfig config, const PlanOptions& base) {
  config.execution = base.execution;
  return config;
}

// False where the size of the stage's input is not known. An "auto" patch is what a run would take.
bool set_input(PlanOptions& options, const TrainConfig& config, const StageConfig& stage,
               const std::optional<DataSizes>& sizes) {
  if (stage.patch) {
    options.input = *stage.patch;
  } else if (!sizes) {
    return false;
  } else if (stage.is_auto_patch && !options.absent_devices) {
    TrainConfig as_planned = config;
    as_planned.execution = options.execution;
    const auto& unequal = options.unequal_memory_bytes;
    as_planned.execution.memory_bytes =
        unequal.empty() ? options.device_memory_bytes
                        : std::optional(*std::min_element(unequal.begin(), unequal.end()));
    options.input = largest_patch(as_planned, stage, sizes->median);
  } else {
    options.input = stage.is_auto_patch ? sizes->median : sizes->largest;
    options.largest_input = stage.is_auto_patch;
  }
  return true;
}

void refuse_unknown_sizes(const TrainConfig& config) {
  bool any = config.curriculum.empty();
  for (const StageConfig& stage : config.curriculum) {
    if (stage.is_auto_patch)
      throw UsageError(
          "plan: the curriculum's \"auto\" patch depends on the size of the images; give the data "
          "set (" +
          setting_to("dataset", "FOLDER") + ") or their size (" + setting_to("max_input", "X,Y,Z") +
          ")");
    any = any || stage.patch.has_value();
  }
  if (!any)
    throw UsageError("plan: the curriculum holds whole volumes only; give the data set (" +
                     setting_to("dataset", "FOLDER") +
                     ") or their size: " + setting_to("input", "X,Y,Z"));
}

}  // namespace

std::vector<StagePlan> plan_curriculum(const PlanOptions& base, const TrainConfig& config,
                                       const Dataset* dataset, bool batch_for_all) {
  std::optional<DataSizes> sizes;
  if (dataset != nullptr)
    sizes = sizes_of(as_planned(config, base), *dataset);
  else
    refuse_unknown_sizes(config);
  std::vector<StagePlan> stages;
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) {
    StagePlan stage{.stage = i, .config = config.curriculum[i]};
    PlanOptions options = base;
    options.optimizer = stage.config.optimizer;
    if (sizes) options.most_slabs = sizes->most_slabs;
    if (!batch_for_all) options.batch = stage.config.batch;
    options.largest_batch = batch_for_all ? options.batch : largest_batch(config);
    if (sizes) stage.steps_per_epoch = (sizes->cases + options.batch - 1) / options.batch;
    if (set_input(options, config, stage.config, sizes)) {
      if (config.curriculum.size() > 1)
        log_info("planning stage " + std::to_string(i + 1) + " of " +
                 std::to_string(config.curriculum.size()) + ": " + size_text(options.input, "x") +
                 ", batch " + std::to_string(options.batch));
      stage.chosen = choose_plan(options);
    }
    stages.push_back(std::move(stage));
  }
  return stages;
}

const StagePlan& largest_stage(const std::vector<StagePlan>& stages) {
  return *std::max_element(
      stages.begin(), stages.end(),
      [](const StagePlan& a, const StagePlan& b) { return a.voxels() < b.voxels(); });
}

Json to_json(const std::vector<StagePlan>& stages) {
  Json rows = Json::array();
  for (const StagePlan& stage : stages) {
    Json row = {{"stage", stage.stage + 1},
                {"patch", stage.config.patch           ? Json(*stage.config.patch)
                          : stage.config.is_auto_patch ? Json("auto")
                                                       : Json("whole")},
                {"batch", stage.chosen ? stage.chosen->options.batch : stage.config.batch},
                {"epochs", stage.config.epochs},
                {"planned", stage.chosen.has_value()}};
    if (stage.chosen) {
      Json plan = to_json(*stage.chosen);
      plan.erase("layers");
      plan.erase("skips");
      row.update(plan);
    }
    if (stage.steps_per_epoch) row["steps_per_epoch"] = *stage.steps_per_epoch;
    if (const auto seconds = stage.seconds()) row["seconds"] = *seconds;
    rows.push_back(std::move(row));
  }
  return rows;
}

std::optional<double> total_seconds(const std::vector<StagePlan>& stages) {
  double total = 0;
  for (const StagePlan& stage : stages) {
    const auto seconds = stage.seconds();
    if (!seconds) return std::nullopt;
    total += *seconds;
  }
  return total;
}

}  // namespace lamp
