// Which micro-batches of a stage run forward a second time, just before their backward, instead of
// keeping their activations.
#pragma once

#include <string>

namespace lamp {

//   never        keep everything
//   always       keep the stage's input only
//   except_last  the last micro-batch is kept: its backward follows soon after its forward
enum class RecomputeRule { kNever, kAlways, kExceptLast };

// "never", "always", "except_last". Throws UsageError for another name.
RecomputeRule parse_recompute_rule(const std::string& name);
std::string to_string(RecomputeRule rule);

inline bool recomputes(RecomputeRule rule, int microbatch, int microbatches) {
  return rule == RecomputeRule::kAlways ||
         (rule == RecomputeRule::kExceptLast && microbatch + 1 < microbatches);
}

}  // namespace lamp
