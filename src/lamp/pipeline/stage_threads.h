// Which stages of a pipeline work side by side, and with how many CPU threads each: what the
// executor does and the planner counts on. Threads depend on the devices alone, not on the schedule
// or the number of micro-batches, since a result's bits depend on them. No torch here.
//
// devices: of each stage, by name: "cpu", "cuda:1". threads: of the process, on the CPU.
#pragma once

#include <string>
#include <vector>

#include "lamp/pipeline/schedule.h"

namespace lamp {

// Whether there are more stages on the CPU than threads, or several on one other device: then all
// stages take turns, and each has all threads.
bool is_crowded(const std::vector<std::string>& devices, int threads);

// Whether never two stages are at work: they are crowded, or all on the CPU under a schedule that
// never gives two of them work at the same time.
bool take_turns(const std::vector<std::string>& devices, int threads, ScheduleKind schedule,
                int microbatches);

// Stages that the threads are shared out among: those on the CPU; 1 where they are crowded or
// none is there.
int sharing_stages(const std::vector<std::string>& devices, int threads);

// Of each stage on the CPU: an equal share.
int stage_threads(const std::vector<std::string>& devices, int threads);

}  // namespace lamp
