// metrics.csv of a run: one row an epoch, the Dice columns filled where it was validated.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace lamp {

struct EpochRow {
  std::int64_t epoch = 0;  // over all stages, from 1
  std::int64_t stage = 0;  // from 1
  double loss = 0;         // mean over the epoch's steps
  double learning_rate = 0;
  double seconds = 0;
  std::vector<double> dice;  // by foreground label, NaN = not measured in any case; empty = no
                             // validation this epoch
  // What best.safetensors is chosen by (validation.h); NaN = nothing to score.
  double dice_mean = std::numeric_limits<double>::quiet_NaN();
};

class RunLog {
 public:
  // Goes on with the file's first `rows` rows (those a resumed state knows of) and drops the rest;
  // warns where fewer are there. A resume behind a file that is no run's log throws UsageError and
  // leaves it alone.
  RunLog(std::filesystem::path file, const std::map<int, std::string>& labels, std::int64_t rows);
  // On the disk when it returns, as far as the system can tell; throws Error on a full disk.
  void append(const EpochRow& row);

 private:
  std::filesystem::path file_;
  std::size_t dice_columns_;
  std::ofstream out_;
};

// Mean of the entries that are not NaN; NaN if there are none.
double mean_dice(const std::vector<double>& dice);

}  // namespace lamp
