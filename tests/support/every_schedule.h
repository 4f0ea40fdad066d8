// For tests that hold whatever the schedule.
#pragma once

#include <array>

#include "lamp/pipeline/schedule.h"

namespace lamp::testing {

inline constexpr std::array kEverySchedule = {ScheduleKind::kNaive, ScheduleKind::kGPipe,
                                              ScheduleKind::k1F1B, ScheduleKind::kZeroBubble};

}  // namespace lamp::testing
