// Changes in the order of time, then one sum.
#include "lamp/planner/shared_device.h"

#include <algorithm>
#include <numeric>

namespace lamp {

SharedDevice::SharedDevice(std::size_t stages, const std::vector<double>& shares)
    : shares_(shares), stages_(stages), position_(stages, 0), level_(stages, 0) {}

void SharedDevice::add(std::size_t j, SharingStage stage) {
  level_[j] = stage.before;
  stages_[j] = std::move(stage);
}

std::int64_t SharedDevice::peak(const std::vector<TimelineEntry>& timeline) {
  changes_.reserve(3 * timeline.size());
  for (const TimelineEntry& entry : timeline)
    if (entry.kind != WorkKind::kTransfer && stages_[static_cast<std::size_t>(entry.stage)])
      follow(entry);
  put_in_order();
  std::int64_t update = 0;
  for (const auto& stage : stages_) update += stage ? stage->update : 0;
  std::int64_t sum = std::accumulate(level_.begin(), level_.end(), std::int64_t{0});
  std::int64_t peak = std::max(update, sum);
  for (const Change& change : changes_) {
    sum += change.bytes - std::exchange(level_[change.holder], change.bytes);
    peak = std::max(peak, sum);
  }
  return peak;
}

// Stages that take turns are in order as they are.
void SharedDevice::put_in_order() {
  const auto earlier = [](const Change& a, const Change& b) {
    return std::pair(a.time, a.is_start) < std::pair(b.time, b.is_start);
  };
  if (!std::is_sorted(changes_.begin(), changes_.end(), earlier))
    std::stable_sort(changes_.begin(), changes_.end(), earlier);
}

void SharedDevice::follow(const TimelineEntry& entry) {
  const auto j = static_cast<std::size_t>(entry.stage);
  const SharingStage& stage = *stages_[j];
  const ActionBytes& action = stage.actions[position_[j]++];
  const bool is_backward = entry.kind == WorkKind::kBackward;
  if (is_backward)
    if (const auto taken = on_their_way_.extract(std::pair(j, entry.microbatch)))
      changes_.push_back({entry.start, false, taken.mapped().holder, 0});
  const std::vector<Moment>& course = stage.courses.*action.course;
  if (course.empty())
    changes_.push_back({entry.start, true, j, action.during});
  else
    follow_course(entry, action, course);
  changes_.push_back({entry.end, false, j, action.after});
  if (is_backward) send_back(entry, stage.sent_back);
}

// Link by link, in the time that the action has.
void SharedDevice::follow_course(const TimelineEntry& entry, const ActionBytes& action,
                                 const std::vector<Moment>& course) {
  if (entry.end <= entry.start) return;
  double seconds = 0, passed = 0;
  for (const Moment& moment : course) seconds += moment.seconds;
  for (const Moment& moment : course) {
    const double share = seconds > 0 ? passed / seconds : 0;
    changes_.push_back({entry.start + share * (entry.end - entry.start), true,
                        static_cast<std::size_t>(entry.stage), action.beside + moment.bytes});
    passed += moment.seconds;
  }
}

void SharedDevice::send_back(const TimelineEntry& entry, const std::vector<std::int64_t>& bytes) {
  const double share = shares_[static_cast<std::size_t>(entry.microbatch)];
  for (std::size_t to = 0; to < bytes.size(); ++to) {
    if (bytes[to] == 0) continue;
    const auto [found, is_first] = on_their_way_.try_emplace(std::pair(to, entry.microbatch),
                                                             OnTheirWay{.holder = level_.size()});
    if (is_first) level_.push_back(0);
    OnTheirWay& gradients = found->second;
    gradients.bytes += static_cast<std::int64_t>(share * static_cast<double>(bytes[to]));
    changes_.push_back({entry.end, false, gradients.holder, gradients.bytes});
  }
}

}  // namespace lamp
