// best.safetensors of a run: which network it holds, and that there is one whatever happens.
#pragma once

#include <cstdint>
#include <filesystem>

#include "lamp/nets/model_file.h"
#include "lamp/training/validation.h"

namespace lamp {

// The rule. Of two networks the better one has the higher Validation::dice_mean(); of equals the
// one with fewer false positives in cases that lack the label; of equals still the later one, which
// has learned for longer. While nothing could be scored, best.safetensors is the latest network.
// The file's "provenance" says what it holds: {"epoch", "validation_dice" (null = not scored),
// "false_positives"}.
class BestModel {
 public:
  // `known_dice`: what the saved state of a resumed run says of the file; below 0 = nothing yet.
  // A file that is not there, cannot be read, or holds another network than that (one that was
  // written after the state, or in place of a lost one), is told, and the choice starts anew.
  BestModel(const std::filesystem::path& run, double known_dice, std::int64_t epochs_done);

  // Writes the model if it is the best so far.
  void offer(const Validation& validation, Model model, std::int64_t epoch);
  // Writes the model while nothing could be scored, or where the file is missing.
  void keep_latest(Model model, std::int64_t epoch);

  double dice() const { return dice_; }  // -1 = not scored
  const std::filesystem::path& file() const { return file_; }

 private:
  std::filesystem::path file_;
  double dice_ = -1;
  std::int64_t false_positives_ = 0;
};

}  // namespace lamp
