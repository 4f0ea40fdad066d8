// Which micro-batches of a stage run forward a second time, just before their backward, instead of
// keeping their activations.
#pragma once

#include <array>
#include <string>

namespace lamp {

//   never        keep everything
//   always       keep the stage's input only
//   except_last  the last micro-batch is kept: its backward follows soon after its forward
enum class RecomputeRule { kNever, kAlways, kExceptLast };

// "never", "always", "except_last". Throws UsageError for another name.
// From the least work to the least memory.
inline constexpr std::array kRecomputeRules = {RecomputeRule::kNever, RecomputeRule::kExceptLast,
                                               RecomputeRule::kAlways};

RecomputeRule parse_recompute_rule(const std::string& name);
std::string to_string(RecomputeRule rule);

inline bool recomputes(RecomputeRule rule, int microbatch, int microbatches) {
  return rule == RecomputeRule::kAlways ||
         (rule == RecomputeRule::kExceptLast && microbatch + 1 < microbatches);
}

}  // namespace lamp
