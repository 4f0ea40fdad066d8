// Slabs of unequal size for devices of unequal speed: what each slab gets of every volume's planes.
// Where all devices are alike there are no shares, and slabs are even.
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/execution/plan_request.h"
#include "lamp/nets/network.h"

namespace lamp {

// How many times as fast as the first device each one is, from what the same work takes, rounded to
// quarters of an octave (19 %); empty where all are alike then.
std::vector<double> speeds_of_seconds(const std::vector<double>& seconds);

// Of options.unequal_flops_per_s, else options.device_speeds.
std::vector<double> device_speeds(const PlanOptions& options);

// Sets options.device_speeds, from a step of a small input on each of the options' devices; leaves
// them alike where that cannot matter: one device, no slabs to be asked for, or costs by shapes.
void measure_device_speeds(PlanOptions& options);

// [L]: of each slab the slowest of its devices, as slabs are cut alike in all stages and replicas;
// empty where all are alike.
std::vector<double> slab_speeds(const PlanOptions& options);

// [L], of a sum of 1, in proportion to the speeds; empty where all are alike. Slow devices get more
// where the coarsest level of the options' input, or of options.most_slabs planes, would leave them
// no plane; where that has hardly one for each, all are alike.
std::vector<double> slab_shares(const PlanOptions& options, const Network& network);
// speeds, that are not empty, for a coarsest level of so many planes.
std::vector<double> shares_of_speeds(const std::vector<double>& speeds, std::int64_t planes);

}  // namespace lamp
