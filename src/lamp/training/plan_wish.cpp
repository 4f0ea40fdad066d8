// Words into options; what contradicts itself is refused before anything is read or measured.
#include "lamp/training/plan_wish.h"

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/plan_json.h"
#include "lamp/inference/patch_choice.h"
#include "lamp/training/run_folder.h"

namespace lamp {
namespace {

constexpr std::int64_t kUsualClasses = 10;  // of a network that is described by nothing else

void refuse_contradictions(const PlanWish& wish) {
  const std::string dataset = setting_name("dataset"), input = setting_name("input"),
                    max_input = setting_name("max_input"), measure = setting_name("measure");
  if (wish.rounds && !wish.measure)
    throw UsageError(setting_name("rounds") + " is for " + measure + ": give both or leave it out");
  if (!wish.dataset.empty() && wish.config.empty())
    throw UsageError(dataset + ": a data set gives a configuration its sizes: give that, too: " +
                     setting_to("config", "CONFIG"));
  if (!wish.dataset.empty() && !(wish.input.empty() && wish.max_input.empty()))
    throw UsageError(dataset + ": the data set gives the sizes; leave out " + input + " and " +
                     max_input);
  if (wish.input == "auto" && wish.max_input.empty())
    throw UsageError(setting_to("input", "auto") +
                     ": say how large the images are: " + setting_to("max_input", "X,Y,Z"));
  if (!wish.max_input.empty() && !wish.input.empty() && wish.input != "auto")
    throw UsageError(max_input + " is for " + setting_to("input", "auto") + ", found " +
                     setting_to("input", wish.input) + " beside it: give one of the two");
  if (wish.devices.empty()) return;
  if (const std::string here = wish.execution.value("device", std::string()); !here.empty())
    throw UsageError(setting_to("absent_devices", wish.devices) +
                     " describes devices that are not here, " +
                     setting_to("execution.device", here) + " ones that are: give one of the two");
  if (wish.measure)
    throw UsageError(measure + ": " + setting_name("absent_devices") +
                     " describes devices that are not here; leave one out");
}

Json merged_settings(const Json& config, const char* key, Json defaults, const Json& changes) {
  if (const Json given = config.value(key, Json()); given.is_object()) defaults.update(given);
  defaults.update(changes);
  return defaults;
}

std::optional<std::int64_t> absent_devices_of(const PlanWish& wish) {
  if (wish.devices.empty()) return std::nullopt;
  std::int64_t count = 0;
  const char* end = wish.devices.data() + wish.devices.size();
  const auto [rest, error] = std::from_chars(wish.devices.data(), end, count);
  if (error == std::errc() && rest == end) return count;
  throw UsageError(setting_name("absent_devices") + ": found \"" + shortened(wish.devices) +
                   "\", expected how many devices that are not here, such as 4; for devices that "
                   "are here use " +
                   setting_to("execution.device", shortened(wish.devices)));
}

void set_memory(const PlanWish& wish, PlanOptions& plan) {
  if (wish.device_memory.empty()) {
    if (!plan.absent_devices) plan.device_memory_bytes = plan.execution.memory_bytes;
    return;
  }
  std::vector<std::int64_t> each;
  std::string text = wish.device_memory + ",";
  for (std::istringstream parts(text); std::getline(parts, text, ',');)
    each.push_back(parse_memory(text, setting_name("device_memory")));
  if (each.size() == 1)
    plan.device_memory_bytes = each.front();
  else
    plan.unequal_memory_bytes = std::move(each);
}

// One for all, or one for each device.
void set_flops(const PlanWish& wish, PlanOptions& plan) {
  if (wish.flops.empty()) return;
  std::vector<double> each;
  std::string text = wish.flops + ",";
  for (std::istringstream parts(text); std::getline(parts, text, ',');)
    each.push_back(parse_flops(text, setting_name("flops")));
  if (each.size() == 1)
    plan.flops_per_s = each.front();
  else
    plan.unequal_flops_per_s = std::move(each);
}

void set_size(const PlanWish& wish, const std::vector<StageConfig>& curriculum, PlanOptions& plan) {
  if (!wish.max_input.empty()) {
    plan.input = parse_size(wish.max_input, setting_name("max_input"));
    plan.largest_input = true;
    for (const StageConfig& stage : curriculum)
      if (stage.is_auto_patch) plan.batch = stage.batch;
  } else if (!wish.input.empty()) {
    plan.input = parse_size(wish.input, setting_name("input"));
  }
  if (wish.batch) plan.batch = *wish.batch;
}

// Completes `config`'s network by the data set, if one is given.
void read_curriculum(const PlanWish& wish, Json& config, std::vector<StageConfig>& curriculum,
                     PlanTask& task) {
  TrainConfig train = parse_train_config(config);
  curriculum = train.curriculum;
  task.options.optimizer = curriculum.front().optimizer;
  task.options.loss_is_sum = train.loss.dice != "batch";
  if (!wish.dataset.empty()) {
    task.dataset = read_dataset(wish.dataset);
    require_training_cases(*task.dataset);
    complete_net(train, config.value("net", Json()), *task.dataset);
    config["net"] = to_json(train.net);
  }
  if (!wish.optimizer.empty())
    for (StageConfig& stage : train.curriculum)
      stage.optimizer = parse_optimizer_config({{"name", wish.optimizer}});
  if (wish.input.empty() && wish.max_input.empty()) task.curriculum = std::move(train);
}

}  // namespace

PlanTask parse_plan_wish(const PlanWish& wish) {
  refuse_contradictions(wish);
  PlanTask task{.batch_for_all = wish.batch.has_value()};
  PlanOptions& plan = task.options;
  const bool is_training = !wish.config.empty();
  Json config = is_training ? read_config(wish.config, {}) : Json::object();
  std::vector<StageConfig> curriculum;
  if (is_training) read_curriculum(wish, config, curriculum, task);
  if (!wish.optimizer.empty()) plan.optimizer = parse_optimizer_config({{"name", wish.optimizer}});
  const Json usual = is_training ? Json::object() : Json{{"classes", kUsualClasses}};
  plan.net = parse_net_config(merged_settings(config, "net", usual, wish.net));
  set_size(wish, curriculum, plan);
  plan.execution =
      parse_execution_config(merged_settings(config, "execution", Json::object(), wish.execution));
  plan.absent_devices = absent_devices_of(wish);
  set_memory(wish, plan);
  set_flops(wish, plan);
  if (!wish.bandwidth.empty())
    plan.bytes_per_s = parse_bandwidth(wish.bandwidth, setting_name("bandwidth"));
  plan.seed = wish.seed;
  return task;
}

std::vector<StagePlan> PlanTask::plans() const {
  if (curriculum)
    return plan_curriculum(options, *curriculum, dataset ? &*dataset : nullptr, batch_for_all);
  return {StagePlan{.chosen = choose_plan(options)}};
}

Json PlanTask::to_json(const std::vector<StagePlan>& stages) const {
  Json json = lamp::to_json(*largest_stage(stages).chosen);
  if (!curriculum || (stages.size() == 1 && !dataset)) return json;
  json["curriculum"] = lamp::to_json(stages);
  if (const auto total = total_seconds(stages)) json["total_s"] = *total;
  return json;
}

void throw_unless_all_fit(const std::vector<StagePlan>& stages) {
  for (const StagePlan& stage : stages) {
    if (!stage.chosen || stage.chosen->plan.fits) continue;
    std::string message = stages.size() > 1 ? "plan: " + stage.name(stages.size()) : "plan";
    const auto& reasons = stage.chosen->plan.reasons;
    for (const std::string& reason : reasons)
      message += (&reason == &reasons.front() ? ": " : "; ") + reason;
    throw DoesNotFit(message);
  }
}

}  // namespace lamp
