// Names to settings.
#include "lamp/execution/execution_config.h"

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/precision.h"

namespace lamp {
namespace {

void parse_partition(ObjectReader& reader, ExecutionConfig& config) {
  const Json& partition = reader.at("partition");
  if (!partition.is_array()) {
    config.partition = reader.choice("partition", config.partition,
                                     {"auto", "time", "layers", "parameters", "activations"});
    return;
  }
  config.partition = "counts";
  for (const Json& count : partition) {
    if (!count.is_number_integer() || count.get<std::int64_t>() < 1)
      throw_wrong_type(reader.where("partition"), partition,
                       "\"auto\" or the layers of each stage, such as [5, 7, 9]");
    config.partition_counts.push_back(count.get<std::int64_t>());
  }
}

void parse_split(ObjectReader& reader, ExecutionConfig& config) {
  const Json& split = reader.at("split");
  config.auto_split = split == "auto";
  if (split.is_null() || config.auto_split) return;
  if (split.is_string()) config.split = parse_device_grid(split.get<std::string>());
  if (!config.split) throw_wrong_type(reader.where("split"), split, kExpectedGrid);
}

void parse_recompute(ObjectReader& reader, ExecutionConfig& config) {
  const Json& rules = reader.at("recompute");
  if (!rules.is_array()) {
    config.recompute =
        reader.choice("recompute", config.recompute, {"auto", "never", "always", "except_last"});
    return;
  }
  config.recompute = "stages";
  for (const Json& rule : rules) {
    if (!rule.is_string())
      throw_wrong_type(reader.where("recompute"), rules,
                       "\"auto\", a rule, or one for each stage such as [\"always\", \"never\"]");
    config.recompute_stages.push_back(parse_recompute_rule(rule.get<std::string>()));
  }
}

void parse_device_memory(ObjectReader& reader, ExecutionConfig& config) {
  const Json& memory = reader.at("memory");
  if (memory.is_null() || memory == "auto") return;
  if (memory.is_string()) {
    config.memory_bytes =
        parse_memory(memory.get<std::string>(), "configuration: " + reader.where("memory"));
    return;
  }
  if (!memory.is_number_integer() || memory.get<std::int64_t>() < 1)
    throw_wrong_type(reader.where("memory"), memory, "\"auto\" or a size such as \"16GiB\"");
  config.memory_bytes = memory.get<std::int64_t>();
}

}  // namespace

Json rule_names(const std::vector<RecomputeRule>& rules) {
  Json names = Json::array();
  for (const RecomputeRule rule : rules) names.push_back(to_string(rule));
  return names;
}

ExecutionConfig parse_execution_config(const Json& json) {
  ObjectReader reader(json, "execution");
  ExecutionConfig config;
  config.device = reader.get<std::string>("device", config.device);
  parse_split(reader, config);
  config.precision = reader.choice("precision", config.precision, {"auto", "fp32", "bf16", "fp16"});
  config.layout = reader.choice("layout", config.layout, {"auto", "channels_last", "contiguous"});
  parse_partition(reader, config);
  const Json& count = reader.at("microbatches");
  if (!count.is_null() && count != "auto") {
    if (!count.is_number_integer() || count.get<std::int64_t>() < 1)
      throw_wrong_type(reader.where("microbatches"), count, "\"auto\" or a number, 1 or more");
    config.microbatches = count.get<std::int64_t>();
  }
  config.schedule =
      reader.choice("schedule", config.schedule, {"auto", "naive", "gpipe", "1f1b", "zero-bubble"});
  parse_recompute(reader, config);
  config.deferred_batch_norm = reader.get<bool>("deferred_batch_norm", config.deferred_batch_norm);
  parse_device_memory(reader, config);
  config.costs = reader.choice("costs", config.costs, {"measured", "shapes"});
  reader.finish();
  return config;
}

Json to_json(const ExecutionConfig& config) {
  Json json = {
      {"device", config.device},
      {"precision", config.precision},
      {"layout", config.layout},
      {"partition",
       config.partition == "counts" ? Json(config.partition_counts) : Json(config.partition)},
      {"microbatches", config.microbatches == 0 ? Json("auto") : Json(config.microbatches)},
      {"schedule", config.schedule},
      {"recompute", config.recompute == "stages" ? rule_names(config.recompute_stages)
                                                 : Json(config.recompute)}};
  if (config.split) json["split"] = to_string(*config.split);
  if (config.auto_split) json["split"] = "auto";
  if (config.deferred_batch_norm) json["deferred_batch_norm"] = true;
  if (config.memory_bytes) json["memory"] = *config.memory_bytes;
  if (config.costs != "measured") json["costs"] = config.costs;
  return json;
}

DeviceGrid grid_of(const ExecutionConfig& config, std::int64_t devices) {
  if (!config.split) return {.stages = devices};
  const DeviceGrid& grid = *config.split;
  if (grid.devices() != devices)
    throw UsageError(setting_name("execution.split") + ": found " + to_string(grid) +
                     ", a product of " + std::to_string(grid.devices()) + ", for " +
                     counted(devices, "device") + "; give a split whose product is " +
                     std::to_string(devices));
  return grid;
}

double tensor_share(const std::string& devices) {
  const auto stages = parse_devices(devices);
  return std::count_if(stages.begin(), stages.end(),
                       [](c10::Device stage) { return stage.is_cpu(); }) > 1
             ? kTensorShareOfSharedHeap
             : 1;
}

std::int64_t device_memory(const ExecutionConfig& config, c10::Device device) {
  if (config.memory_bytes) return *config.memory_bytes;
  const std::int64_t available = available_bytes(device);
  return device.is_cpu() ? static_cast<std::int64_t>(tensor_share(config.device) *
                                                     static_cast<double>(available))
                         : available;
}

std::string chosen_precision(const std::string& name, c10::Device device) {
  if (name != "auto") return name;
  return bf16_support(device).is_fast ? "bf16" : "fp32";
}

Layout training_layout(const ExecutionConfig& config, const NetConfig& net) {
  const c10::Device device = parse_devices(config.device).front();
  return choose_layout(
      config.layout,
      {.device = device,
       .precision = parse_precision(chosen_precision(config.precision, device), device.type()),
       .width = net.width,
       .training = true});
}

std::function<double(const LayerCosts&)> cut_weight(const std::string& partition) {
  if (partition == "time")
    return [](const LayerCosts& layer) { return layer.forward_s + layer.backward_s; };
  if (partition == "layers") return [](const LayerCosts&) { return 1.0; };
  if (partition == "parameters")
    return [](const LayerCosts& layer) { return static_cast<double>(layer.parameter_bytes); };
  if (partition == "activations")
    return [](const LayerCosts& layer) { return static_cast<double>(layer.output_bytes); };
  return nullptr;
}

}  // namespace lamp
