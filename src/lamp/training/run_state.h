// Everything a run needs to go on exactly where it stopped, in one file that is written aside and
// renamed: weights and buffers, optimizer state, random state, and the cursor into the curriculum.
#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lamp/execution/optimizer.h"
#include "lamp/nets/network.h"
#include "lamp/training/train_config.h"

namespace lamp {

// The next step to take, and what the epoch and the run have gathered so far.
struct Cursor {
  std::int64_t stage = 0;
  std::int64_t epoch = 0;        // within the stage
  std::int64_t step = 0;         // within the epoch
  std::int64_t epochs_done = 0;  // over all stages: rows of metrics.csv
  double loss_sum = 0;           // over the steps of the unfinished epoch
  double epoch_seconds = 0;      // spent on the unfinished epoch
  double best_dice = -1;         // of best.safetensors; -1 = none yet
  // What was trained on, whatever becomes of the run's other files: content_digest() of the data
  // (data_fingerprint.h) and split_digest() (case_split.h). Empty in states of before.
  std::string data, split;
};

std::filesystem::path state_file(const std::filesystem::path& run);

// Throws Error if the disk refuses; the state that was there before survives.
void save_state(const std::filesystem::path& run, const Network& network,
                torch::optim::Optimizer& optimizer, const Cursor& cursor);

// Throw InputError (naming `file`) for a place that a run of these stages cannot have come to; the
// step within an epoch depends on the number of cases that an epoch draws.
void check_cursor(const Cursor& cursor, const std::vector<StageConfig>& stages,
                  const std::string& file);
void check_step(const Cursor& cursor, const StageConfig& stage, std::int64_t training_cases,
                const std::string& file);
// The sum of the losses, too, must be one that these steps can have led to.
void check_loss_sum(const Cursor& cursor, const TrainConfig& config, const std::string& file);

// How many steps the optimizer of a state has taken at this place of a run over `training_cases`.
OptimizerPlace optimizer_place(const Cursor& cursor, const TrainConfig& config,
                               std::int64_t training_cases);

// Throws InputError if the run's metrics.csv is another table than that of its `epochs` epochs.
// Rows that a crash of the machine has cost are no reason not to go on.
void check_metrics(const std::filesystem::path& run, std::int64_t epochs);

// Reading is split in two, because the optimizer to restore depends on the cursor's stage. What is
// missing, damaged or does not fit is an InputError.
class SavedState {
 public:
  explicit SavedState(const std::filesystem::path& run);
  const Cursor& cursor() const { return cursor_; }
  // Without one (a file of before there were any, or an edited one) only what the checks here look
  // at is known to be sound.
  bool has_checksum() const { return has_checksum_; }
  // Whether restore() would succeed: the tensors of a network of this shape and of its optimizer
  // at its place, finite numbers, the random state. Changes nothing outside.
  void check(const NetConfig& net, const OptimizerConfig& optimizer, OptimizerPlace place) const;
  void restore(Network& network) const;
  void restore(torch::optim::Optimizer& optimizer, const NamedParameters& parameters) const;

 private:
  std::filesystem::path file_;
  Cursor cursor_;
  bool has_checksum_ = false;
  std::string optimizer_tensors_;  // their number, as the file says; empty in older files
  std::map<std::string, torch::Tensor> weights_;
  std::map<std::string, torch::Tensor> optimizer_;
  torch::Tensor random_;
};

}  // namespace lamp
