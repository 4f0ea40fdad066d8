// What a training step holds at the least, by shapes alone: whether it is worth measuring, or
// beginning, at all. Nothing is allocated.
#pragma once

#include <string>

#include "lamp/execution/plan_request.h"

namespace lamp {

// The memory model is a prediction (within 10 % of what was measured) that leaves workspaces out.
constexpr double kModelError = 0.1;

bool is_reduced(const std::string& precision);

// Activations of half the bytes: no reduced precision holds less.
NetworkCosts halved(NetworkCosts costs);

// Of what is left open the settings that hold least: one micro-batch after another, as many as the
// planner would take.
void hold_little(PlanRequest& request);

// Not even the settings that hold least fit the devices' memory, the model's error granted. For
// devices that are here and an input that is given.
bool surely_too_large(const PlanOptions& options);

}  // namespace lamp
