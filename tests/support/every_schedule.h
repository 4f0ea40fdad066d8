// For tests that hold whatever the schedule or the rule of recomputation.
#pragma once

#include <array>

#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"

namespace lamp::testing {

inline constexpr std::array kEverySchedule = {ScheduleKind::kNaive, ScheduleKind::kGPipe,
                                              ScheduleKind::k1F1B, ScheduleKind::kZeroBubble};
inline constexpr std::array kEveryRule = {RecomputeRule::kNever, RecomputeRule::kAlways,
                                          RecomputeRule::kExceptLast};

}  // namespace lamp::testing
