// Stage by stage.
#include "lamp/training/run_plan.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/shape_fit.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/training/curriculum_plan.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

// The stages of a curriculum, each with what a plan is made for.
class RunPlanner {
 public:
  RunPlanner(const TrainConfig& config, const Dataset& dataset, const CaseSplit& split,
             const PlanSources& sources)
      : config_(config), dataset_(dataset), split_(split), sources_(sources) {
    if (!sources.given.empty()) given_ = given_plans();
    if (!sources.earlier.empty()) earlier_ = earlier_plans();
  }

  ResolvedExecution stage(std::size_t index) {
    PlanOptions options = options_of(index);
    if (!given_.empty())
      if (auto plan = given_plan(index, options)) return *plan;
    if (auto plan = earlier_plan(index, options)) return *plan;
    const Json key = {options.input, options.batch, options.execution.microbatches,
                      to_json(options.optimizer)};
    const auto [known, is_new] = chosen_.try_emplace(key.dump());
    if (is_new) known->second = choose(index, options);
    return known->second;
  }

  std::string name(std::size_t index) const {
    return "stage " + std::to_string(index + 1) + " of " +
           std::to_string(config_.curriculum.size());
  }

 private:
  ResolvedExecution choose(std::size_t index, const PlanOptions& options) const {
    const NetworkPlan chosen = choose_plan(options, Seconds::kWhereTheyDecide);
    if (!chosen.plan.fits) {
      const std::string why = chosen.plan.reasons.empty() ? "" : chosen.plan.reasons.front();
      // The check before the run has taken slabs as even.
      if (!chosen.execution.slab_shares.empty())
        throw DoesNotFit("does not fit: " + name(index) + ": " + why);
      log_warning(name(index) + " may not fit: " + why);
    }
    return chosen.execution;
  }

  std::vector<Json> given_plans() const {
    std::vector<Json> plans = read_plans(sources_.given);
    if (plans.size() == 1) plans.resize(config_.curriculum.size(), plans.front());
    if (plans.size() != config_.curriculum.size())
      throw UsageError(setting_to("plan", sources_.given.string()) + ": found " +
                       counted(std::ssize(plans), "plan") + " for a curriculum of " +
                       counted(std::ssize(config_.curriculum), "stage") + again());
    return plans;
  }

  // Runs of an earlier lamp kept the plan of their last stage alone.
  std::vector<Json> earlier_plans() const {
    const Json json = read_json(sources_.earlier);
    if (json.is_array()) {
      if (json.empty()) refuse_earlier("an empty list, expected a plan for each stage");
      for (const Json& row : json) require_plan(row);
      return {json.begin(), json.end()};
    }
    require_plan(json);
    const Json stage = json.value("curriculum_stage", Json());
    if (!stage.is_number_integer() || stage < 1)
      refuse_earlier("curriculum_stage " + shortened(stage.dump()) +
                     ", expected a whole number from 1 on");
    if (stage > std::ssize(config_.curriculum)) return {};
    std::vector<Json> plans(stage.get<std::size_t>());
    plans.back() = json;
    return plans;
  }

  PlanOptions options_of(std::size_t index) {
    const StageConfig& stage = config_.curriculum[index];
    return {.net = config_.net,
            .input = stage.patch ? *stage.patch : largest_volume(),
            .batch = stage.batch,
            .largest_batch = largest_batch(config_),
            .execution = config_.execution,
            .optimizer = stage.optimizer,
            .loss_is_sum = config_.loss.dice != "batch",
            .device_memory_bytes = config_.execution.memory_bytes,
            .most_slabs = allowed_slabs(),
            .seed = config_.seed};
  }

  std::optional<std::int64_t> allowed_slabs() {
    if (!most_slabs_) most_slabs_ = most_slabs(config_, dataset_, split_);
    return *most_slabs_;
  }

  Size3 largest_volume() {
    if (!largest_) largest_ = largest_training_size(dataset_, split_, config_.data);
    return *largest_;
  }

  std::string again() const {
    return "; plan for this run: lamp plan " + setting_to("config", "CONFIG") + " " +
           setting_to("dataset", "DATASET") + " " + setting_to("output", sources_.given.string());
  }

  // Nothing for a stage that the file leaves open.
  std::optional<ResolvedExecution> given_plan(std::size_t index, const PlanOptions& options) const {
    if (given_[index].is_null()) return std::nullopt;
    ResolvedExecution plan = parse_resolved_execution(given_[index], sources_.given);
    const std::string where =
        setting_to("plan", sources_.given.string()) + ": " + name(index) + ": ";
    if (const std::string field = differing_field(plan, options.work()); !field.empty())
      throw UsageError(where + field + again());
    const std::int64_t parts = plan.microbatches * std::min(plan.replicas, plan.batch);
    if (const auto before = earlier_parts(index, plan.batch); before && *before != parts)
      throw UsageError(where + "microbatches: " + std::to_string(parts) +
                       (plan.replicas > 1 ? " of all replicas" : "") + " in the plan, " +
                       std::to_string(*before) +
                       " in the run so far, whose result depends on them; go on without " +
                       setting_name("plan"));
    if (sources_.threads > 0 && sources_.threads != plan.threads)
      throw UsageError(where + "threads: " + std::to_string(plan.threads) + " in the plan, " +
                       std::to_string(sources_.threads) + " here" + again());
    plan.torch_devices();  // throws if they are not here
    require_room(plan, options, where);
    return plan;
  }

  // The check before the run has taken slabs as even.
  static void require_room(const ResolvedExecution& plan, PlanOptions options,
                           const std::string& where) {
    if (plan.slab_shares.empty()) return;
    options.execution.device = plan.device();
    options.execution.split = plan.grid();
    options.execution.auto_split = false;
    options.execution.microbatches = plan.microbatches;
    for (std::size_t row = 0; row < plan.devices.size(); ++row)
      options.device_speeds.push_back(plan.slab_shares[row % plan.slab_shares.size()]);
    if (surely_too_large(options))
      throw DoesNotFit("does not fit: " + where +
                       "the largest slab needs more than its device has; take more even "
                       "slab_shares, a smaller batch or patch");
  }

  ResolvedExecution with_threads(ResolvedExecution plan, std::size_t index) const {
    if (sources_.threads == 0 || sources_.threads == plan.threads) return plan;
    log_warning(name(index) + " goes on with " + counted(sources_.threads, "thread") +
                " instead of " + std::to_string(plan.threads) +
                ": results may differ in their last bits");
    plan.threads = sources_.threads;
    return plan;
  }

  // Micro-batches of all replicas that have a sample, which the result of a step depends on; none
  // where the run has had none. batch: where the file does not say.
  std::optional<std::int64_t> earlier_parts(std::size_t index, std::int64_t batch) const {
    if (index >= earlier_.size() || !earlier_[index].is_object()) return std::nullopt;
    const Json& json = earlier_[index];
    const Json count = json.value("microbatches", Json()), own = json.value("batch", Json());
    if (!count.is_number_integer() || count < 1) return std::nullopt;
    const std::int64_t samples =
        own.is_number_integer() && own >= 1 ? own.get<std::int64_t>() : batch;
    const auto grid = earlier_grid(json);
    return count.get<std::int64_t>() * std::min(grid ? grid->replicas : 1, samples);
  }
  static std::optional<DeviceGrid> earlier_grid(const Json& json) {
    const Json split = json.value("split", Json());
    return split.is_string() ? parse_device_grid(split.get<std::string>()) : std::nullopt;
  }

  // The run's own file, so what is wrong with it is no matter of what was asked for.
  [[noreturn]] void refuse_earlier(const std::string& found) const {
    throw InputError({.file = sources_.earlier.string(),
                      .what = "cannot resume",
                      .found = found,
                      .fix = "remove the file, and the run is planned anew"});
  }

  // Of any lamp: all have kept the number of micro-batches.
  void require_plan(const Json& row) const {
    if (!row.is_object()) refuse_earlier(shortened(row.dump()) + " in the place of a plan");
    const Json count = row.value("microbatches", Json());
    if (!count.is_number_integer() || count < 1)
      refuse_earlier("a plan with microbatches " + shortened(count.dump()) +
                     ", expected a whole number from 1 on");
  }

  ResolvedExecution read_earlier(const Json& json) const {
    try {
      return parse_own_plan(json, sources_.earlier);
    } catch (const InputError& error) {
      const Fault& fault = error.fault();
      refuse_earlier(fault.found + (fault.expected.empty() ? "" : ", expected " + fault.expected));
    }
  }

  std::optional<ResolvedExecution> earlier_plan(std::size_t index, PlanOptions& options) const {
    if (index >= earlier_.size() || !earlier_[index].is_object()) return std::nullopt;
    const Json& json = earlier_[index];
    if (json.contains("threads")) {
      ResolvedExecution plan = read_earlier(json);
      const std::string field = differing_field(plan, options.work());
      if (field.empty()) return with_threads(std::move(plan), index);
      log_warning(name(index) + " is planned anew (" + field +
                  "): results may differ in their last bits");
    }
    keep_grid(json, options);
    const auto parts = earlier_parts(index, options.batch);
    if (options.execution.microbatches == 0 && parts &&
        json.value("batch", Json(options.batch)) == options.batch)
      keep_parts(*parts, index, options);
    return std::nullopt;
  }

  // On however many replicas, none of which "auto" adds.
  void keep_parts(std::int64_t parts, std::size_t index, PlanOptions& options) const {
    options.may_add_replicas = false;
    const std::int64_t replicas =
        options.execution.split ? std::min(options.execution.split->replicas, options.batch) : 1;
    if (parts % replicas != 0)
      throw UsageError(name(index) + ": " + setting_name("execution.split") + ": found " +
                       to_string(*options.execution.split) + " for " +
                       counted(parts, "micro-batch") +
                       " of the run so far, whose result depends on them; take as many replicas as "
                       "divide them");
    options.execution.microbatches = parts / replicas;
  }

  // "auto" was decided once: another number of slabs has other last bits.
  static void keep_grid(const Json& earlier, PlanOptions& options) {
    if (!options.execution.auto_split) return;
    const auto grid = earlier_grid(earlier);
    if (!grid || grid->replicas > options.batch) return;
    if (earlier.value("device", Json()) != joined(stage_names(options), ",")) return;
    PlanOptions as_before = options;
    as_before.execution.split = grid;
    as_before.execution.auto_split = false;
    if (has_planes_for_slabs(as_before, *shapes_of(options))) options = as_before;
  }
  static std::vector<std::string> stage_names(const PlanOptions& options) {
    return device_names(parse_devices(options.execution.device));
  }

  const TrainConfig& config_;
  const Dataset& dataset_;
  const CaseSplit& split_;
  const PlanSources& sources_;
  std::vector<Json> given_, earlier_;  // by stage; null where there is none
  std::optional<Size3> largest_;
  std::optional<std::optional<std::int64_t>> most_slabs_;
  std::map<std::string, ResolvedExecution> chosen_;  // of equal stages one
};

}  // namespace

std::vector<ResolvedExecution> resolve_curriculum(const TrainConfig& config, const Dataset& dataset,
                                                  const CaseSplit& split,
                                                  const PlanSources& sources) {
  RunPlanner planner(config, dataset, split, sources);
  std::vector<ResolvedExecution> plan;
  for (std::size_t i = 0; i < config.curriculum.size(); ++i) plan.push_back(planner.stage(i));
  return plan;
}

std::string told(const ResolvedExecution& plan) {
  std::string why;  // the rest is in plan.json
  for (std::size_t r = 0; r < std::min<std::size_t>(plan.reasons.size(), 2); ++r)
    why += (r == 0 ? " (" : "; ") + plan.reasons[r];
  return plan.describe() + why + (why.empty() ? "" : ")");
}

namespace {

// The grid of all plans in a file, where it is one and more than stages.
std::optional<std::string> grid_of_all(const std::vector<Json>& plans) {
  std::optional<DeviceGrid> all;
  for (const Json& plan : plans) {
    if (!plan.is_object()) continue;
    const Json split = plan.value("split", Json());
    const auto grid =
        split.is_string() ? parse_device_grid(split.get<std::string>()) : std::nullopt;
    if (!grid || (all && all != grid)) return std::nullopt;
    all = grid;
  }
  return all && all->replicas * all->slabs > 1 ? std::optional(to_string(*all)) : std::nullopt;
}

}  // namespace

void adopt_plan(Json& config, const std::filesystem::path& file) {
  const std::vector<Json> plans = read_plans(file);
  for (const Json& plan : plans) {
    if (!plan.is_object()) continue;
    Json& execution = config["execution"];
    if (execution.is_null()) execution = Json::object();
    if (!execution.is_object()) return;  // told by the configuration's own parser
    for (const char* field : {"device", "precision", "layout"})
      if (!execution.contains(field) && plan.contains(field)) execution[field] = plan[field];
    const auto grid = grid_of_all(plans);
    const Json said = execution.value("split", Json());
    if (grid && (said.is_null() || said == "auto")) execution["split"] = *grid;
    return;
  }
}

Json to_json(const std::vector<ResolvedExecution>& plan) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < plan.size(); ++i) {
    Json row = {{"curriculum_stage", i + 1}};
    row.update(to_json(plan[i]));
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace lamp
