// Plain CSV, appended to, so that a long run does not rewrite its history.
#include "lamp/training/run_log.h"

#include <cmath>
#include <limits>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

std::string first_rows(const std::filesystem::path& file, std::int64_t rows) {
  std::string kept;
  std::ifstream in(file);
  std::string line;
  for (std::int64_t i = 0; i <= rows && std::getline(in, line); ++i)
    if (i > 0) kept += line + "\n";
  return kept;
}

}  // namespace

RunLog::RunLog(std::filesystem::path file, const std::map<int, std::string>& labels,
               std::int64_t rows)
    : file_(std::move(file)), dice_columns_(labels.size() - 1) {
  std::string text = "epoch,stage,loss,learning_rate,seconds,dice_mean";
  for (const auto& [id, name] : labels)
    if (id != 0) text += ",dice_" + name;
  text += "\n";
  if (rows > 0) text += first_rows(file_, rows);
  write_file(file_, text);
  out_.open(file_, std::ios::app);
}

void RunLog::append(const EpochRow& row) {
  std::string line = std::to_string(row.epoch) + "," + std::to_string(row.stage) + "," +
                     shortest(row.loss) + "," + shortest(row.learning_rate) + "," +
                     fixed(row.seconds, 3);
  std::vector<double> cells = row.dice;
  cells.insert(cells.begin(),
               row.dice.empty() ? std::numeric_limits<double>::quiet_NaN() : mean_dice(row.dice));
  cells.resize(dice_columns_ + 1, std::numeric_limits<double>::quiet_NaN());
  for (const double cell : cells) line += "," + (std::isnan(cell) ? std::string() : fixed(cell, 6));
  out_ << line << "\n" << std::flush;
  if (!out_)
    throw Error("cannot write: " + file_.string() +
                ": is the disk full? the last saved state is untouched");
}

double mean_dice(const std::vector<double>& dice) {
  double sum = 0;
  int count = 0;
  for (const double value : dice) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / count : std::numeric_limits<double>::quiet_NaN();
}

}  // namespace lamp
