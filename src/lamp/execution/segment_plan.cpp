// Field by field.
#include "lamp/execution/segment_plan.h"

#include <ATen/Parallel.h>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/execution/resolved_execution.h"

namespace lamp {

void obey_plan(const std::string& file, const std::vector<SegmentModel>& models,
               const GivenExecution& given, SegmentOptions& options) {
  const ResolvedExecution plan = read_plan(file);
  const auto refuse = [&](const std::string& field) {
    if (!field.empty()) throw UsageError(setting_to("plan", file) + ": " + field);
  };
  for (const SegmentModel& model : models) refuse(differing_net(plan, model.model.network.config));
  const auto take = [&](const std::string& name, const std::string& said,
                        const std::string& planned, std::string& field) {
    if (!said.empty() && said != planned)
      refuse(name + ": " + planned + " in the plan, " + said + " here");
    field = planned;
  };
  take("device", given.device, plan.device(), options.device);
  take("precision", given.precision, plan.precision, options.precision);
  take("layout", given.layout, plan.layout, options.layout);
  plan.torch_devices();  // throws if they are not here
  at::set_num_threads(plan.threads);
}

}  // namespace lamp
