// To text and back, and a comparison field by field.
#include "lamp/execution/resolved_execution.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/nets/net_factory.h"
#include "lamp/pipeline/volume_cut.h"

namespace lamp {
namespace {

constexpr std::int64_t kMostThreads = 1 << 16;
constexpr std::int64_t kMostSamples = 1'000'000'000;
constexpr double kMostShare = 1e9;  // whose sum is finite

std::vector<std::int64_t> layer_counts(const Partition& partition) {
  std::vector<std::int64_t> counts;
  for (const StageRange& range : partition)
    counts.push_back(static_cast<std::int64_t>(range.last - range.first));
  return counts;
}

std::string shown(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Fault plan_fault(const std::filesystem::path& file, Fault rest) {
  rest.file = file.string();
  rest.what = "no usable plan";
  rest.fix = "write it again with lamp plan " + setting_name("output");
  return rest;
}

// A plan tells the program what to do, as a configuration does.
[[noreturn]] void refuse_plan(const std::filesystem::path& file, Fault rest) {
  throw UsageError(message_of(plan_fault(file, std::move(rest))));
}

// Reads one plan; every fault is the file's.
class PlanReader {
 public:
  PlanReader(const Json& json, const std::filesystem::path& file, std::string where)
      : json_(json), file_(file), where_(std::move(where)) {
    if (!json.is_object())
      refuse("", "an object, as lamp plan " + setting_name("output") + " writes it");
  }

  std::string text(const char* key) const {
    const Json& value = at(key);
    if (!value.is_string()) refuse(key, "a text");
    return value.get<std::string>();
  }
  std::int64_t number(const Json& value, const char* key, std::int64_t most) const {
    if (!value.is_number_integer() || value.get<std::int64_t>() < 1 ||
        value.get<std::int64_t>() > most)
      refuse(key, "whole numbers from 1 to " + std::to_string(most));
    return value.get<std::int64_t>();
  }
  std::int64_t number(const char* key, std::int64_t most) const {
    return number(at(key), key, most);
  }
  std::vector<std::int64_t> numbers(const char* key, std::int64_t most) const {
    const Json& list = at(key);
    if (!list.is_array() || list.empty()) refuse(key, "a list of whole numbers");
    std::vector<std::int64_t> values;
    for (const Json& value : list) values.push_back(number(value, key, most));
    return values;
  }
  // Each above 0 and no larger than `most`; none where the key is not there.
  std::vector<double> shares(const char* key, std::int64_t count, double most) const {
    const auto found = json_.find(key);
    if (found == json_.end()) return {};
    const auto is_share = [&](const Json& value) {
      return value.is_number() && value.get<double>() > 0 && value.get<double>() <= most;
    };
    if (!found->is_array() || std::ssize(*found) != count ||
        !std::all_of(found->begin(), found->end(), is_share))
      refuse(key, counted(count, "number") + " above 0, one for each slab");
    return found->get<std::vector<double>>();
  }
  const Json& at(const char* key) const {
    const auto found = json_.find(key);
    if (found == json_.end()) refuse(key, "one");
    return *found;
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const {
    const auto found = key.empty() ? json_.end() : json_.find(key);
    const std::string what = key.empty()            ? shortened(shown(json_))
                             : found == json_.end() ? "no " + key
                                                    : key + " " + shortened(shown(*found));
    throw InputError(plan_fault(file_, {.found = where_ + what, .expected = expected}));
  }

 private:
  const Json& json_;
  const std::filesystem::path& file_;
  std::string where_;
};

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names;
  std::size_t start = 0;
  for (std::size_t end = 0; end != std::string::npos; start = end + 1) {
    end = text.find(',', start);
    names.push_back(text.substr(start, end == std::string::npos ? end : end - start));
  }
  return names;
}

// A plan of an earlier lamp says nothing: all its devices are stages.
DeviceGrid grid_in(const Json& plan, const PlanReader& reader, std::size_t devices) {
  const auto count = static_cast<std::int64_t>(devices);
  if (!plan.contains("split")) return {.stages = count};
  const auto grid = parse_device_grid(reader.text("split"));
  if (!grid || grid->devices() != count)
    reader.refuse("split", "replicas=R,stages=K,slabs=L whose product is the " +
                               counted(devices, "device") + " of the plan");
  return *grid;
}

std::string difference(const std::string& field, const Json& plan, const Json& here) {
  return plan == here ? "" : field + ": " + shown(plan) + " in the plan, " + shown(here) + " here";
}

// Whether the configuration fixes a field otherwise.
std::string contradiction(const ResolvedExecution& plan, const PlannedWork& work) {
  const ExecutionConfig& config = work.execution;
  if (config.device != "auto") {
    const std::string names = joined(device_names(parse_devices(config.device)), ",");
    if (auto text = difference("device", plan.device(), names); !text.empty()) return text;
  }
  if (config.split)
    if (auto text = difference("split", to_string(plan.grid()), to_string(*config.split));
        !text.empty())
      return text;
  const Json wish = to_json(config), decided = to_json(plan);
  for (const char* field : {"precision", "layout", "schedule"})
    if (wish[field] != "auto")
      if (auto text = difference(field, decided[field], wish[field]); !text.empty()) return text;
  const std::int64_t most =
      work.loss_is_sum ? most_microbatches(plan.batch / std::min(plan.batch, plan.replicas),
                                           plan.input, stride_multiple(plan.net))
                       : 1;
  if (config.microbatches > 0 && std::min(config.microbatches, most) != plan.microbatches)
    return difference("microbatches", plan.microbatches, config.microbatches);
  if (plan.microbatches > most) return difference("microbatches", plan.microbatches, most);
  if (config.partition == "counts")
    if (auto text = difference("partition", decided["partition"], wish["partition"]); !text.empty())
      return text;
  if (plan.replicas > 1 && !work.loss_is_sum)
    return "split: " + to_string(plan.grid()) + " in the plan, but the loss needs the whole batch";
  if (plan.deferred_batch_norm != config.deferred_batch_norm)
    return difference("deferred_batch_norm", plan.deferred_batch_norm, config.deferred_batch_norm);
  if (config.recompute == "stages")
    return difference("recompute", decided["recompute"], wish["recompute"]);
  if (config.recompute != "auto") {
    const std::vector same(plan.stages(), parse_recompute_rule(config.recompute));
    return difference("recompute", decided["recompute"], rule_names(same));
  }
  return "";
}

}  // namespace

std::int64_t most_microbatches(std::int64_t samples, const Size3& input, std::int64_t stride) {
  const bool one_value =
      std::all_of(input.begin(), input.end(), [&](std::int64_t side) { return side <= stride; });
  return one_value ? std::max<std::int64_t>(samples / 2, 1) : samples;
}

bool bears_shares(const ResolvedExecution& plan, const Sequence& chain, const Size3& input) {
  if (plan.slab_shares.empty()) return true;
  const std::int64_t stride = stride_multiple(plan.net);
  std::vector<std::int64_t> sizes = {1, plan.net.in_channels};
  for (std::size_t axis = 3; axis-- > 0;)
    sizes.push_back((input[axis] + stride - 1) / stride * stride);
  try {
    cut_volume(chain, sizes, static_cast<int>(plan.slabs), plan.slab_shares);
    return true;
  } catch (const UsageError&) {
    return false;
  }
}

std::string ResolvedExecution::device() const { return joined(devices, ","); }

std::vector<c10::Device> ResolvedExecution::torch_devices() const {
  return parse_devices(device());
}

std::string ResolvedExecution::describe() const {
  std::string text = precision + ", " + layout + ", ";
  if (replicas > 1) text += counted(replicas, "replica") + " of ";
  std::string cut = slabs > 1 ? ", " + counted(slabs, "slab") + " of every volume" : "";
  if (!slab_shares.empty()) cut += " in unequal shares";
  if (slabs > 1) cut += ",";
  if (stages() == 1) {
    text += "one stage" + cut + " on " + device();
  } else {
    text += std::to_string(stages()) + " stages of " +
            joined(layer_counts(partition), ", ", " and ") + " layers" + cut + " on " + device() +
            ", " + to_string(schedule);
  }
  text += ", " + counted(microbatches, "micro-batch");
  const bool computes_again = std::any_of(recompute.begin(), recompute.end(),
                                          [](auto rule) { return rule != RecomputeRule::kNever; });
  if (computes_again) text += ", recompute " + rule_names(recompute).dump();
  return text;
}

Json stage_rows(const std::vector<std::string>& devices, const Partition& partition,
                std::int64_t replicas) {
  const std::size_t of_replica = devices.size() / static_cast<std::size_t>(replicas);
  const std::size_t slabs = of_replica / partition.size();
  Json rows = Json::array();
  for (std::size_t row = 0; row < devices.size(); ++row) {
    const StageRange& links = partition[row % of_replica / slabs];
    rows.push_back({{"replica", row / of_replica},
                    {"slab", row % slabs},
                    {"device", devices[row]},
                    {"first", links.first},
                    {"last", links.last - 1}});
  }
  return rows;
}

Json to_json(const ResolvedExecution& execution) {
  Json json = {{"net", to_json(execution.net)},
               {"input", execution.input},
               {"batch", execution.batch},
               {"device", execution.device()},
               {"split", to_string(execution.grid())},
               {"threads", execution.threads},
               {"precision", execution.precision},
               {"layout", execution.layout},
               {"partition", layer_counts(execution.partition)},
               {"stages", stage_rows(execution.devices, execution.partition, execution.replicas)},
               {"schedule", to_string(execution.schedule)},
               {"microbatches", execution.microbatches},
               {"recompute", rule_names(execution.recompute)},
               {"deferred_batch_norm", execution.deferred_batch_norm},
               {"reasons", execution.reasons}};
  if (!execution.slab_shares.empty()) json["slab_shares"] = execution.slab_shares;
  return json;
}

ResolvedExecution parse_own_plan(const Json& json, const std::filesystem::path& file,
                                 const std::string& where) {
  const PlanReader reader(json, file, where);
  ResolvedExecution plan;
  try {
    plan.net = parse_net_config(reader.at("net"));
    plan.schedule = parse_schedule_kind(reader.text("schedule"));
    for (const Json& rule : reader.at("recompute"))
      plan.recompute.push_back(parse_recompute_rule(shown(rule)));
  } catch (const UsageError& error) {
    throw InputError(plan_fault(file, {.found = where + error.what()}));
  }
  const auto input = size3_of(reader.at("input"));
  if (!input) reader.refuse("input", expected_size3_list());
  plan.input = *input;
  plan.batch = reader.number("batch", kMostSamples);
  plan.microbatches = reader.number("microbatches", plan.batch);
  plan.threads = static_cast<int>(reader.number("threads", kMostThreads));
  plan.devices = split_names(reader.text("device"));
  const DeviceGrid grid = grid_in(json, reader, plan.devices.size());
  plan.replicas = grid.replicas;
  plan.slabs = grid.slabs;
  plan.slab_shares = reader.shares("slab_shares", plan.slabs, kMostShare);
  plan.precision = reader.text("precision");
  plan.layout = reader.text("layout");
  const auto counts = reader.numbers("partition", kMostSamples);
  const Network network = make_network(plan.net);
  if (!bears_shares(plan, *network.chain, plan.input))
    reader.refuse("slab_shares", "shares that leave each slab a plane at every level of the input");
  const auto links = static_cast<std::int64_t>(network.chain->size());
  if (counts.size() != plan.stages() ||
      std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) != links)
    reader.refuse("partition", "the layers of each of " + std::to_string(plan.stages()) +
                                   " stages, " + std::to_string(links) + " in all");
  plan.partition = partition_by_counts(counts, static_cast<std::size_t>(links));
  if (plan.recompute.size() != plan.stages()) reader.refuse("recompute", "a rule for each stage");
  if (plan.precision != "fp32" && plan.precision != "bf16" && plan.precision != "fp16")
    reader.refuse("precision", "fp32, bf16 or fp16");
  if (plan.layout != "channels_last" && plan.layout != "contiguous")
    reader.refuse("layout", "channels_last or contiguous");
  if (const auto deferred = json.find("deferred_batch_norm"); deferred != json.end()) {
    if (!deferred->is_boolean()) reader.refuse("deferred_batch_norm", "true or false");
    plan.deferred_batch_norm = deferred->get<bool>();
  }
  if (const auto reasons = json.find("reasons"); reasons != json.end() && reasons->is_array())
    for (const Json& reason : *reasons) plan.reasons.push_back(shown(reason));
  return plan;
}

ResolvedExecution parse_resolved_execution(const Json& json, const std::filesystem::path& file,
                                           const std::string& where) {
  try {
    return parse_own_plan(json, file, where);
  } catch (const InputError& error) {
    refuse_plan(file, error.fault());
  }
}

std::vector<Json> read_plans(const std::filesystem::path& file) {
  const Json json = read_settings_file(file);
  if (json.is_array() && !json.empty()) return {json.begin(), json.end()};
  if (!json.is_object())
    refuse_plan(file, {.found = "no plan in it",
                       .expected = "what lamp plan " + setting_name("output") + " writes"});
  const auto curriculum = json.find("curriculum");
  if (curriculum == json.end() || !curriculum->is_array() || curriculum->empty()) return {json};
  std::vector<Json> plans;
  for (const Json& row : *curriculum)
    plans.push_back(row.is_object() && row.value("planned", Json(true)) == false ? Json() : row);
  return plans;
}

ResolvedExecution read_plan(const std::filesystem::path& file) {
  for (const Json& plan : read_plans(file))
    if (plan.is_object()) return parse_resolved_execution(plan, file);
  refuse_plan(file, {.found = "no stage in it was planned"});
}

std::string differing_net(const ResolvedExecution& plan, const NetConfig& net) {
  const Json planned = to_json(plan.net), here = to_json(net);
  for (const auto& [key, value] : here.items())
    if (auto text = difference("net." + key, planned.value(key, Json()), value); !text.empty())
      return text;
  return "";
}

std::string differing_field(const ResolvedExecution& plan, const PlannedWork& work) {
  if (auto text = differing_net(plan, work.net); !text.empty()) return text;
  if (auto text = difference("input", plan.input, work.input); !text.empty()) return text;
  if (auto text = difference("batch", plan.batch, work.batch); !text.empty()) return text;
  return contradiction(plan, work);
}

}  // namespace lamp
