// Field by field.
#include "lamp/execution/segment_plan.h"

#include <ATen/Parallel.h>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/resolved_execution.h"

namespace lamp {

std::optional<DeviceGrid> parse_split(const std::string& text) {
  if (text.empty() || text == "auto") return std::nullopt;
  const auto grid = parse_device_grid(text);
  if (!grid)
    throw UsageError(setting_name("execution.split") + ": found \"" + shortened(text) +
                     "\", expected " + kExpectedGrid);
  return grid;
}

DeviceGrid segment_grid(const std::optional<DeviceGrid>& split, std::int64_t devices) {
  const DeviceGrid grid = split.value_or(DeviceGrid{.stages = devices});
  if (grid.devices() != devices)
    throw UsageError(setting_name("execution.split") + ": found " + to_string(grid) +
                     ", a product of " + std::to_string(grid.devices()) + ", for " +
                     counted(devices, "device") + "; give a split whose product is " +
                     std::to_string(devices));
  return grid;
}

SegmentExecution obey_plan(const std::string& file, const std::vector<NetConfig>& nets,
                           const SegmentExecution& given) {
  const ResolvedExecution plan = read_plan(file);
  const auto refuse = [&](const std::string& field) {
    if (!field.empty()) throw UsageError(setting_to("plan", file) + ": " + field);
  };
  for (const NetConfig& net : nets) refuse(differing_net(plan, net));
  const auto held = [&](const std::string& name, const std::string& planned,
                        const std::string& said) {
    if (!said.empty() && said != "auto" && said != planned)
      refuse(name + ": " + planned + " in the plan, " + said + " here");
    return planned;
  };
  const auto split = parse_split(given.split);
  SegmentExecution execution{
      .device = held("device", plan.device(), given.device),
      .precision = held("precision", plan.precision, given.precision),
      .layout = held("layout", plan.layout, given.layout),
      .split = held("split", to_string(plan.grid()), split ? to_string(*split) : "")};
  plan.torch_devices();  // throws if they are not here
  at::set_num_threads(plan.threads);
  return execution;
}

}  // namespace lamp
