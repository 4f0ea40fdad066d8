// Field by field.
#include "lamp/execution/segment_plan.h"

#include <ATen/Parallel.h>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/execution/resolved_execution.h"

namespace lamp {

std::optional<DeviceGrid> parse_segment_split(const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto grid = parse_device_grid(text);
  if (grid) return grid;
  const bool is_auto = text == "auto";
  throw UsageError(setting_name("execution.split") + ": found \"" + shortened(text) +
                   "\", expected replicas=R,stages=K,slabs=L (whole numbers from 1 to 1024, "
                   "missing ones are 1)" +
                   (is_auto ? ", or leave it out: every device is a stage then; lamp plan chooses, "
                              "and its plan can be taken here"
                            : ""));
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
  const auto split = given.split == "auto" ? std::nullopt : parse_segment_split(given.split);
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
