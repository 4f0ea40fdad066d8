// What the stages of one device hold together over the time of a step: each of them more or less as
// its actions begin and end, and gradients that wait for the stage they are for. No torch here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "lamp/pipeline/timeline.h"

namespace lamp {

// How long a link is at work and what it and its like hold meanwhile, beside what is held anyway.
struct Moment {
  double seconds;
  std::int64_t bytes;
};

// Of one micro-batch on one stage, each link by link in the order of work.
struct Courses {
  std::vector<Moment> forward, plain_forward, first_backward, later_backward, first_weight,
      later_weight;

  void clear() {
    for (std::vector<Moment>* course :
         {&forward, &plain_forward, &first_backward, &later_backward, &first_weight, &later_weight})
      course->clear();
  }
};

// What an action holds at most, with everything else on its stage, and what is there after it.
struct ActionBytes {
  std::int64_t during;
  std::int64_t after;
  std::int64_t beside;  // of `during`, what is no moment's
  std::vector<Moment> Courses::*course;
};

struct SharingStage {
  std::int64_t before = 0;              // the step
  std::int64_t update = 0;              // while the optimizer is at work
  std::vector<ActionBytes> actions;     // in the order of the timeline
  Courses courses;                      // where one is empty, `during` is held all the time
  std::vector<std::int64_t> sent_back;  // gradients to each earlier stage, of a largest micro-batch
};

class SharedDevice {
 public:
  // shares: of each micro-batch, what it has of a largest one. Must outlive this.
  SharedDevice(std::size_t stages, const std::vector<double>& shares);

  void add(std::size_t j, SharingStage stage);
  // timeline: of all stages, those of other devices included, by start. Once only.
  std::int64_t peak(const std::vector<TimelineEntry>& timeline);

 private:
  // holder: a stage, or behind those the gradients that wait for one.
  struct Change {
    double time;
    bool is_start;
    std::size_t holder;
    std::int64_t bytes;  // from now on
  };
  struct OnTheirWay {
    std::size_t holder = 0;
    std::int64_t bytes = 0;
  };

  void follow(const TimelineEntry& entry);
  void follow_course(const TimelineEntry& entry, const ActionBytes& action,
                     const std::vector<Moment>& course);
  void send_back(const TimelineEntry& entry, const std::vector<std::int64_t>& bytes);
  void put_in_order();

  const std::vector<double>& shares_;
  std::vector<std::optional<SharingStage>> stages_;  // [K], of this device
  std::vector<std::size_t> position_;                // [K]: of the next action
  std::vector<std::int64_t> level_;                  // before the step, by holder
  std::vector<Change> changes_;
  // By the stage and micro-batch that they are for.
  std::map<std::pair<std::size_t, int>, OnTheirWay> on_their_way_;
};

}  // namespace lamp
