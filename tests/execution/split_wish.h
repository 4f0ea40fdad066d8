// A small network on a grid of devices, for tests of its plans.
#pragma once

#include <string>

#include "lamp/base/errors.h"
#include "lamp/execution/plan_choices.h"

namespace lamp::testing {

inline PlanOptions split_wish(const std::string& devices, const std::string& split) {
  PlanOptions options{.input = {16, 16, 16}, .batch = 1};
  options.net = parse_net_config({{"width", 4}, {"depth", 1}, {"classes", 3}});
  Json execution = {{"device", devices}, {"costs", "shapes"}, {"layout", "contiguous"}};
  if (!split.empty()) execution["split"] = split;
  options.execution = parse_execution_config(execution);
  return options;
}

inline std::string refusal_of(const PlanOptions& options) {
  try {
    choose_plan(options);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace lamp::testing
