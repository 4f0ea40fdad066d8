// Names to settings, and the cut.
#include "lamp/training/execution.h"

#include <algorithm>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/pipeline/link_costs.h"

namespace lamp {
namespace {

constexpr std::int64_t kMicroBatchesPerStage = 4;  // gpipe's bubble is then at most a fifth
// Batch norm is steadier with two samples, and torch takes its slow convolution for a single small
// one (N x C x D x H up to 20480): 0.70 s against 0.15 s for one step of the demo's network.
constexpr std::int64_t kLeastSamples = 2;

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

std::vector<RecomputeRule> rules_for(const ExecutionConfig& config, std::size_t stages) {
  if (config.recompute == "stages") {
    if (config.recompute_stages.size() != stages)
      throw UsageError("--recompute: found " + std::to_string(config.recompute_stages.size()) +
                       " rules for " + std::to_string(stages) + " stages");
    return config.recompute_stages;
  }
  const bool is_auto = config.recompute == "auto";
  return std::vector(stages,
                     is_auto ? RecomputeRule::kNever : parse_recompute_rule(config.recompute));
}

Json to_json(const std::vector<RecomputeRule>& rules) {
  Json names = Json::array();
  for (const RecomputeRule rule : rules) names.push_back(to_string(rule));
  return names;
}

Partition partition_for(const Network& network, const ExecutionConfig& config, std::size_t stages,
                        const torch::Tensor& sample) {
  Sequence& chain = *network.chain;
  if (config.partition == "counts") {
    if (config.partition_counts.size() != stages)
      throw UsageError("--partition: found " + std::to_string(config.partition_counts.size()) +
                       " stages for " + std::to_string(stages) + " devices");
    return partition_by_counts(config.partition_counts, chain.size());
  }
  if (stages == 1) return {{0, chain.size()}};
  if (config.partition == "layers")
    return partition_by_costs(std::vector<double>(chain.size(), 1), stages);
  if (config.partition == "parameters") return partition_by_costs(parameter_bytes(chain), stages);
  if (stages > chain.size()) return partition_by_costs(parameter_bytes(chain), stages);  // throws
  const LinkCosts costs = measure_links(chain, sample);
  return partition_by_costs(config.partition == "activations" ? costs.output_bytes : costs.seconds,
                            stages);
}

}  // namespace

ExecutionConfig parse_execution_config(const Json& json) {
  ObjectReader reader(json, "execution");
  ExecutionConfig config;
  config.device = reader.get<std::string>("device", config.device);
  config.precision = reader.choice("precision", config.precision, {"fp32", "bf16", "fp16"});
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
  reader.finish();
  return config;
}

Json to_json(const ExecutionConfig& config) {
  return {{"device", config.device},
          {"precision", config.precision},
          {"partition",
           config.partition == "counts" ? Json(config.partition_counts) : Json(config.partition)},
          {"microbatches", config.microbatches == 0 ? Json("auto") : Json(config.microbatches)},
          {"schedule", config.schedule},
          {"recompute", config.recompute == "stages" ? to_json(config.recompute_stages)
                                                     : Json(config.recompute)}};
}

std::unique_ptr<Pipeline> make_pipeline(const Network& network, const ExecutionConfig& config,
                                        const std::vector<c10::Device>& devices,
                                        const torch::Tensor& sample, std::uint64_t seed) {
  PipelineOptions options{.devices = devices,
                          .partition = partition_for(network, config, devices.size(), sample),
                          .schedule = config.schedule == "auto"
                                          ? ScheduleKind::kGPipe
                                          : parse_schedule_kind(config.schedule),
                          .recompute = rules_for(config, devices.size()),
                          .seed = seed};
  return std::make_unique<Pipeline>(network.chain, options);
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
          {"stages", std::move(stages)},
          {"schedule", to_string(pipeline.options().schedule)},
          {"recompute", to_json(pipeline.options().recompute)}};
}

}  // namespace lamp
