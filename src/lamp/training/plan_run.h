// `lamp plan`, and what "auto" in a configuration means: a network, an input and devices turned
// into numbers, a plan made of them, and the plan turned into the settings of a run.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"
#include "lamp/training/bench.h"
#include "lamp/training/execution.h"
#include "lamp/training/train_config.h"

namespace lamp {

// Of a device's memory, where costs come from shapes: they do not know the workspaces of kernels.
constexpr double kShareWithoutWorkspaces = 0.9;

struct PlanOptions {
  NetConfig net;
  std::array<std::int64_t, 3> input = {64, 64, 64};  // x, y, z
  bool largest_input = false;                        // `input` is the most: plan_choices.h
  std::int64_t batch = 1;
  ExecutionConfig execution;  // .device: what is here; what is "auto" is planned
  OptimizerConfig optimizer;
  bool loss_is_sum = true;  // over samples
  // Devices that are not here: their number, at most; their costs come from shapes alone.
  std::optional<std::int64_t> absent_devices;
  std::optional<std::int64_t> device_memory_bytes;  // none = what is free
  std::optional<double> flops_per_s;                // of absent devices
  std::optional<double> bytes_per_s;                // between devices
  std::uint64_t seed = 0;
};

// Throws UsageError for an input that is smaller than the network's stride and for options that
// contradict each other.
void check_plan_options(const PlanOptions& options, std::int64_t stride);

// What the options ask of the planner, apart from the time of the optimizer's step. shapes: of
// shapes_of().
PlanRequest request_of(const PlanOptions& options, const std::shared_ptr<Network>& shapes);

// Measures the network's layers on the first device, or works them out for absent ones; then
// make_plan(). Throws UsageError for options that contradict each other.
Plan plan_network(const PlanOptions& options);

// The configuration with everything that was "auto" as the plan has it.
ExecutionConfig resolved(ExecutionConfig execution, const Plan& plan);

// The plan's measured counterpart.
MeasuredStep measure_plan(const PlanOptions& options, const Plan& plan, int rounds);

// The contract's fields.
Json to_json(const Plan& plan);

}  // namespace lamp
