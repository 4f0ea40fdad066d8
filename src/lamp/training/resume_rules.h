// What `--resume` may change. A run's config.json says how its network came to be; so what has been
// used already stays, and what only says how or how often may be set anew.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/training/run_state.h"
#include "lamp/training/train_config.h"

namespace lamp {

enum class ResumeRule {
  kNever,       // the saved network would mean something else
  kAlways,      // how it is computed, read and saved
  kOpenStage,   // of the stage that the run is in, and of later ones
  kFreshStage,  // only of stages of which no step was taken
  kEpochs       // of open stages, and no fewer than are done
};

// The rule for a key such as "curriculum.0.optimizer.lr"; nothing if none was decided, which a test
// refuses.
std::optional<ResumeRule> resume_rule(const std::string& key);

// Every value of a configuration with its key, stages by their number: all that a rule decides on.
std::vector<std::pair<std::string, Json>> configuration_values(const Json& config);

// Where a run stands.
struct RunPosition {
  TrainConfig before;  // as config.json has it
  Cursor cursor;

  bool is_finished(std::size_t stage, std::int64_t epochs) const;
  bool has_begun(std::size_t stage) const;
};

// The configuration that a resume is asked for: `base` is the one given or, without one, the run's
// own (`own`). A setting of the optimizer holds for every stage that is left, whatever these say
// themselves. Throws UsageError where such a setting would reach none.
Json configuration_to_resume(Json base, bool own, const std::vector<std::string>& settings,
                             const RunPosition& position);

// A finished stage keeps the optimizer it had, except for what `given` says of this very stage
// (which check_resume will then refuse).
void keep_finished_optimizers(TrainConfig& config, const Json& given, const RunPosition& position);

// Throws UsageError that names the first key that may not change, with its old and new value.
// Returns a line for each change.
std::vector<std::string> check_resume(const std::filesystem::path& run, const RunPosition& position,
                                      const TrainConfig& now);

// Runs from before the run-wide optimizer was recorded: it is that of the stages, where they agree.
Json with_run_optimizer(Json config);

}  // namespace lamp
