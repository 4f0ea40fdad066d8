// Names to settings, and the cut.
#include "lamp/training/execution.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/planner/balance.h"
#include "lamp/planner/least_memory.h"
#include "lamp/profile/measured_costs.h"
#include "lamp/profile/shape_costs.h"

namespace lamp {
namespace {

constexpr std::int64_t kMicroBatchesPerStage = 4;  // gpipe's bubble is then at most a fifth
// Batch norm is steadier with two samples.
constexpr std::int64_t kLeastSamples = 2;
constexpr double kDeviceBytesPerS = 25e9;  // between GPUs: PCIe 4.0 x16 less its overhead

ScheduleKind schedule_of(const ExecutionConfig& config) {
  return config.schedule == "auto" ? ScheduleKind::kGPipe : parse_schedule_kind(config.schedule);
}

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

// The rules that the configuration names; none for "auto".
std::vector<RecomputeRule> rules_for(const ExecutionConfig& config, std::size_t stages) {
  if (config.recompute == "auto") return {};
  if (config.recompute != "stages")
    return std::vector(stages, parse_recompute_rule(config.recompute));
  if (config.recompute_stages.size() != stages)
    throw UsageError("--recompute: found " + std::to_string(config.recompute_stages.size()) +
                     " rules for " + std::to_string(stages) + " stages");
  return config.recompute_stages;
}

Json to_json(const std::vector<RecomputeRule>& rules) {
  Json names = Json::array();
  for (const RecomputeRule rule : rules) names.push_back(to_string(rule));
  return names;
}

struct Cut {
  Partition partition;
  std::vector<RecomputeRule> recompute;  // [K]
};

// What the configuration says without any measurement; nothing for "auto" and the like.
std::optional<Partition> partition_from(const Sequence& chain, const ExecutionConfig& config,
                                        std::size_t stages) {
  if (config.partition == "counts") {
    if (config.partition_counts.size() != stages)
      throw UsageError("--partition: found " + std::to_string(config.partition_counts.size()) +
                       " stages for " + std::to_string(stages) + " devices");
    return partition_by_counts(config.partition_counts, chain.size());
  }
  if (stages == 1) return Partition{{0, chain.size()}};
  if (config.partition == "layers")
    return partition_by_costs(std::vector<double>(chain.size(), 1), stages);
  if (config.partition == "parameters" || stages > chain.size())  // the latter throws
    return partition_by_costs(parameter_bytes(chain), stages);
  return std::nullopt;
}

// Bytes from shapes, since loader threads may allocate meanwhile; seconds as measured, if they
// were.
NetworkCosts costs_of(const Network& network, const torch::Tensor& sample,
                      const NetworkCosts* measured) {
  const Network shapes = make_network(network.config);
  shapes.chain->train();
  keep_shapes_only(*shapes.chain);
  NetworkCosts costs = shape_costs(*shapes.chain, sample.sizes().vec(), {});
  for (std::size_t link = 0; measured != nullptr && link < costs.layers.size(); ++link) {
    costs.layers[link].forward_s = measured->layers[link].forward_s;
    costs.layers[link].backward_s = measured->layers[link].backward_s;
    costs.layers[link].weight_s = measured->layers[link].weight_s;
  }
  costs.loss_s = 0;
  return costs;
}

// The planner's cut for this schedule and number of micro-batches. Neither it nor what is computed
// again changes a result, so that measured times may decide.
Cut planned_cut(const NetworkCosts& costs, const ExecutionConfig& config,
                const PipelineLoad& load) {
  PipelineSetup setup{.schedule = schedule_of(config),
                      .microbatches = static_cast<int>(load.microbatches),
                      .bytes_per_s = kDeviceBytesPerS,
                      .optimizer_factor = load.optimizer_factor};
  for (const c10::Device device : load.devices)
    setup.devices.push_back({device.str(), device_memory(config, device)});
  const auto rules = rules_for(config, load.devices.size());
  std::optional<RecomputeRule> rule;
  if (!rules.empty()) rule = rules.front();
  if (std::any_of(rules.begin(), rules.end(), [&](RecomputeRule other) { return other != rule; }))
    throw UsageError(
        "execution.recompute: rules that differ from stage to stage need a given cut: set "
        "execution.partition to the numbers of layers, or recompute to one rule or auto");
  auto found = balance(costs, setup, {.recompute = rule, .most_simulations = 20000});
  if (!found) {
    found = least_memory_balance(costs, setup, rule);
    log_warning("the network may not fit: a device would hold " +
                bytes_text(found->largest_peak_bytes) + "; see lamp plan for what would fit");
  }
  return {found->partition, rules.empty() ? found->recompute : rules};
}

// Where the cut is given, the planner still says what must be computed again.
std::vector<RecomputeRule> planned_rules(const Network& network, const ExecutionConfig& config,
                                         const PipelineLoad& load, const Partition& partition) {
  if (load.devices.size() == 1) return {RecomputeRule::kNever};
  PipelineSetup setup{.schedule = schedule_of(config),
                      .microbatches = static_cast<int>(load.microbatches),
                      .optimizer_factor = load.optimizer_factor};
  for (const c10::Device device : load.devices)
    setup.devices.push_back({device.str(), device_memory(config, device)});
  const auto found = evaluate_partition(costs_of(network, load.sample, nullptr), setup, partition);
  return found ? found->recompute : std::vector(load.devices.size(), RecomputeRule::kAlways);
}

Cut cut_for(const Network& network, const ExecutionConfig& config, const PipelineLoad& load) {
  const std::size_t stages = load.devices.size();
  auto partition = partition_from(*network.chain, config, stages);
  if (!partition) {
    const NetworkCosts costs = measure_seconds(*network.chain, load.sample);
    if (config.partition == "auto")
      return planned_cut(costs_of(network, load.sample, &costs), config, load);
    std::vector<double> sizes;
    const auto weight = cut_weight(config.partition);
    for (const LayerCosts& layer : costs.layers) sizes.push_back(weight(layer));
    partition = partition_by_costs(sizes, stages);
  }
  const auto rules = rules_for(config, stages);
  return {*partition, rules.empty() ? planned_rules(network, config, load, *partition) : rules};
}

}  // namespace

ExecutionConfig parse_execution_config(const Json& json) {
  ObjectReader reader(json, "execution");
  ExecutionConfig config;
  config.device = reader.get<std::string>("device", config.device);
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
  parse_device_memory(reader, config);
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
      {"recompute",
       config.recompute == "stages" ? to_json(config.recompute_stages) : Json(config.recompute)}};
  if (config.memory_bytes) json["memory"] = *config.memory_bytes;
  return json;
}

std::int64_t device_memory(const ExecutionConfig& config, c10::Device device) {
  return config.memory_bytes ? *config.memory_bytes : available_bytes(device);
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

void check_cut(const Sequence& chain, const ExecutionConfig& config, std::size_t stages) {
  partition_from(chain, config, stages);
  rules_for(config, stages);
}

std::unique_ptr<Pipeline> make_pipeline(const Network& network, const ExecutionConfig& config,
                                        const PipelineLoad& load, std::uint64_t seed) {
  Cut cut = cut_for(network, config, load);
  return std::make_unique<Pipeline>(network.chain,
                                    PipelineOptions{.devices = load.devices,
                                                    .partition = std::move(cut.partition),
                                                    .schedule = schedule_of(config),
                                                    .recompute = std::move(cut.recompute),
                                                    .seed = seed});
}

std::int64_t choose_microbatches(const ExecutionConfig& config, const Network& network,
                                 const torch::Tensor& prepared,
                                 const std::vector<c10::Device>& devices, bool loss_is_sum) {
  const std::int64_t samples = prepared.size(0);
  const std::int64_t stride = network.stride_multiple;
  const bool one_value = prepared[0].numel() / prepared.size(1) == stride * stride * stride;
  const std::int64_t most = one_value ? std::max<std::int64_t>(samples / 2, 1) : samples;
  std::int64_t wanted = config.microbatches;
  const auto other = [&](c10::Device device) { return device != devices.front(); };
  if (wanted == 0)
    wanted = std::none_of(devices.begin(), devices.end(), other)
                 ? 1
                 : std::clamp<std::int64_t>(
                       samples / kLeastSamples, 1,
                       kMicroBatchesPerStage * static_cast<std::int64_t>(devices.size()));
  else if (wanted > most || (wanted > 1 && !loss_is_sum))
    log_warning_once("execution.microbatches: " + std::to_string(wanted) + " are too many for " +
                     (loss_is_sum ? "batches of " + std::to_string(samples) + " and batch norm"
                                  : "a loss that needs the whole batch") +
                     ": using " + std::to_string(loss_is_sum ? most : 1));
  return loss_is_sum ? std::min(wanted, most) : 1;
}

Json describe(const Pipeline& pipeline, const ExecutionConfig& config) {
  Json stages = Json::array();
  for (std::size_t j = 0; j < pipeline.partition().size(); ++j)
    stages.push_back({{"device", pipeline.options().devices[j].str()},
                      {"first", pipeline.partition()[j].first},
                      {"last", pipeline.partition()[j].last - 1}});
  return {{"device", config.device},
          {"precision", config.precision},
          {"layout", config.layout},
          {"stages", std::move(stages)},
          {"schedule", to_string(pipeline.options().schedule)},
          {"recompute", to_json(pipeline.options().recompute)}};
}

}  // namespace lamp
