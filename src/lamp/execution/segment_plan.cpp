// Field by field.
#include "lamp/execution/segment_plan.h"

#include <ATen/Parallel.h>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/execution/resolved_execution.h"

namespace lamp {

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
  SegmentExecution execution{.device = held("device", plan.device(), given.device),
                             .precision = held("precision", plan.precision, given.precision),
                             .layout = held("layout", plan.layout, given.layout)};
  if (plan.slabs > 1 || plan.replicas > 1)
    refuse("split: " + to_string(plan.grid()) +
           " in the plan, but volumes are segmented on stages alone so far; plan without slabs and "
           "replicas");
  plan.torch_devices();  // throws if they are not here
  at::set_num_threads(plan.threads);
  return execution;
}

}  // namespace lamp
