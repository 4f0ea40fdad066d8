// The configuration of a training run: every option with its default and advice. docs/formats.md
// shows the JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/augment/augment_config.h"
#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/cases/preprocess.h"
#include "lamp/execution/execution_config.h"
#include "lamp/execution/optimizer.h"
#include "lamp/nets/network.h"
#include "lamp/objective/losses.h"

namespace lamp {

// One stage of the curriculum (the paper's section 3): small patches in large batches first, whole
// volumes last.
struct StageConfig {
  std::optional<Size3> patch;  // x, y, z voxels; none = "whole"
  // "auto": none yet; when the run begins the largest that fits the memory, up to the median size
  // of the training images (auto_settings.h). The run keeps it.
  bool is_auto_patch = false;
  std::int64_t batch = 1;
  std::int64_t epochs = 1;       // an epoch draws every training case once
  OptimizerConfig optimizer;     // the run's, unless the stage names its own
  std::string describe() const;  // "64x64x64, batch 16"
};

struct ValidationConfig {
  std::int64_t every_epochs = 10;  // and at the end of every stage
  double fraction = 0.1;           // of the training cases, chosen by the seed; 0 = no validation
  std::optional<int> fold;         // the cases of this fold instead, where the data set has folds
};

struct LoaderConfig {
  int threads = 2;  // read, prepare and cut in the background
  std::optional<std::int64_t>
      memory;  // bytes of prepared cases kept; none ("auto") = a quarter of what is free
  // Prepared cases on disk: "auto" (the user's cache folder) | "off" | a folder.
  std::string cache = "auto";
  std::optional<std::int64_t>
      cache_limit;  // bytes; none ("auto") = half of what cache and free space make together
};

struct TrainConfig {
  NetConfig net;  // in_channels and classes follow from the data set
  DataConfig data;
  AugmentConfig augment;
  bool centre_by_class = false;  // "sampling": {"centre": "voxel" | "class"}
  LossConfig loss;
  OptimizerConfig optimizer;  // of stages that name none of their own
  std::vector<StageConfig> curriculum;
  ValidationConfig validation;
  LoaderConfig loader;
  ExecutionConfig execution;
  // "checkpoint": {"every_seconds"}: at the end of an epoch the state is saved if that long has
  // passed (and of a stage, and after a signal, in any case). A kill -9 costs what was done since.
  double checkpoint_seconds = 60;
  std::uint64_t seed = 0;
};

// Throws UsageError for unknown keys (naming the nearest), wrong types and values that cannot work.
TrainConfig parse_train_config(const Json& json);
Json to_json(const TrainConfig& config);

// The text of a preset ("han", "liver", "demo"); nothing if there is none of that name.
std::optional<std::string> preset_text(const std::string& name);
std::vector<std::string> preset_names();

// "optimizer.lr=1e-4" taken apart: the dotted path, and the value as JSON or, where it is none, as
// a string.
struct Setting {
  std::string key;
  Json value;
};
// Throws UsageError.
Setting parse_setting(const std::string& text);

// Throws UsageError, naming both, if two of the settings that a user typed give the same place, or
// one a place within the other's: neither order of them says what is wanted.
void check_settings(const std::vector<std::string>& settings);

// Puts settings into the document, later ones over earlier ones. A list's element must be there
// already: lists do not grow by their index. loss.name and augment.preset take the place of all
// that they stand for, except what other settings give. Throws UsageError.
void apply_settings(Json& json, const std::vector<std::string>& settings);

// A preset's name or a JSON file, with `settings` applied on top.
Json read_config(const std::string& name_or_file, const std::vector<std::string>& settings);

}  // namespace lamp
