// Entry by entry.
#include "lamp/cli/timeline_picture.h"

namespace lamp {

TimelinePicture timeline_picture(const Simulation& simulation, const std::string& title,
                                 const std::string& unit) {
  TimelinePicture picture{
      .title = title, .stages = static_cast<int>(simulation.busy.size()), .unit = unit};
  for (const TimelineEntry& entry : simulation.timeline)
    picture.bars.push_back({entry.stage, to_string(entry.kind), entry.microbatch, entry.start,
                            entry.end, entry.to_stage});
  return picture;
}

}  // namespace lamp
