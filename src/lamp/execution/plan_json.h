// A plan for programs to read, as docs/commands.md has it.
#pragma once

#include "lamp/base/json.h"
#include "lamp/execution/plan_choices.h"

namespace lamp {

Json to_json(const Plan& plan);

// The fields of both: what lamp plan prints and a run reads.
Json to_json(const NetworkPlan& chosen);

}  // namespace lamp
