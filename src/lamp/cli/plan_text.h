// A plan for people, on stdout.
#pragma once

#include <vector>

#include "lamp/training/bench.h"
#include "lamp/training/curriculum_plan.h"

namespace lamp {

// Stages, times, memory and reasons, where it fits; with `layers` what each of them costs before.
void print_plan(const Plan& plan, bool layers);
// Predicted beside measured.
void print_comparison(const Plan& plan, const MeasuredStep& measured);
// Each stage, then how long all of them take.
void print_curriculum(const std::vector<StagePlan>& stages, bool layers);

}  // namespace lamp
