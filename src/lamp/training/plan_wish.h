// What a plan is asked for, in words, and what is planned then: one input on its own, or every
// stage of a training's configuration. `lamp plan` fills in the words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"
#include "lamp/training/curriculum_plan.h"
#include "lamp/training/train_config.h"

namespace lamp {

// An empty text is one that was not given.
struct PlanWish {
  std::string config;             // a file or a preset
  std::filesystem::path dataset;  // gives a configuration its sizes
  Json net = Json::object();      // these two come before the configuration's own
  Json execution = Json::object();
  std::string input, max_input;  // "96,96,96"; the input may be "auto" up to the second
  std::optional<std::int64_t> batch;
  std::string optimizer;
  std::string devices;        // how many that are not here: "4"
  std::string device_memory;  // "16GiB" of all, or one each: "16GiB,8GiB"
  std::string flops;          // "100T" of all, or one each: "100T,50T"
  std::string bandwidth;
  bool measure = false;
  std::optional<int> rounds;  // of the measurement
  std::uint64_t seed = 0;
};

struct PlanTask {
  PlanOptions options;
  std::optional<TrainConfig> curriculum;  // nothing where a single input is planned
  std::optional<Dataset> dataset;
  bool batch_for_all = false;  // options.batch holds for every stage

  // One or, of a curriculum, all stages.
  std::vector<StagePlan> plans() const;
  // The largest stage's plan, and of a curriculum all of them.
  Json to_json(const std::vector<StagePlan>& stages) const;
};

// Throws UsageError for words that say nothing or contradict each other.
PlanTask parse_plan_wish(const PlanWish& wish);

// Throws DoesNotFit with the plan's advice if a stage does not fit.
void throw_unless_all_fit(const std::vector<StagePlan>& stages);

}  // namespace lamp
