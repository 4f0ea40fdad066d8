// Names and JSON of a timeline.
#include "lamp/pipeline/timeline.h"

#include <array>
#include <cstddef>
#include <utility>

namespace lamp {

std::string to_string(WorkKind kind) {
  constexpr std::array<const char*, 5> kNames = {"forward", "backward", "weight", "recompute",
                                                 "transfer"};
  return kNames[static_cast<std::size_t>(kind)];
}

WorkKind work_kind(ActionKind kind) {
  if (kind == ActionKind::kForward) return WorkKind::kForward;
  return kind == ActionKind::kBackward ? WorkKind::kBackward : WorkKind::kWeight;
}

Json to_json(const std::vector<TimelineEntry>& timeline) {
  Json json = Json::array();
  for (const TimelineEntry& entry : timeline) {
    Json row = {{"stage", entry.stage},
                {"kind", to_string(entry.kind)},
                {"microbatch", entry.microbatch},
                {"start", entry.start},
                {"end", entry.end}};
    if (entry.kind == WorkKind::kTransfer) row["to_stage"] = entry.to_stage;
    json.push_back(std::move(row));
  }
  return json;
}

}  // namespace lamp
