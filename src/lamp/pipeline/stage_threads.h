// How a process's CPU threads are shared out among stages. It depends on the devices alone, not on
// the schedule or the number of micro-batches, since a result's bits depend on it.
#pragma once

#include <c10/core/Device.h>

#include <vector>

namespace lamp {

// Whether there are more stages on the CPU than threads, or several on one GPU: then all stages
// take turns, and each has all threads.
bool is_crowded(const std::vector<c10::Device>& devices, int threads);

// Of each stage on the CPU: an equal share, or all where they take turns for being crowded.
int stage_threads(const std::vector<c10::Device>& devices, int threads);

}  // namespace lamp
