// The rules' names.
#include "lamp/pipeline/recompute.h"

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"

namespace lamp {
namespace {

constexpr std::array<const char*, 3> kRuleNames = {"never", "always", "except_last"};

}  // namespace

RecomputeRule parse_recompute_rule(const std::string& name) {
  for (std::size_t rule = 0; rule < kRuleNames.size(); ++rule)
    if (name == kRuleNames[rule]) return static_cast<RecomputeRule>(rule);
  throw UsageError(setting_name("execution.recompute") + ": found \"" + shortened(name) +
                   "\", expected never, always or except_last");
}

std::string to_string(RecomputeRule rule) { return kRuleNames[static_cast<std::size_t>(rule)]; }

}  // namespace lamp
