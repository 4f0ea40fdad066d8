// Plain CSV, appended to, so that a long run does not rewrite its history.
#include "lamp/training/run_log.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::string_view kHeader = "epoch,stage,loss,learning_rate,seconds,dice_mean";

// A row is known by its number, not by its place: the header of earlier versions had names with
// line breaks without quotes, so that it fills several records.
std::string first_rows(const std::filesystem::path& file, std::int64_t rows) {
  const std::string text = std::filesystem::exists(file) ? read_file(file) : std::string();
  if (!text.empty() && !text.starts_with(kHeader)) {
    throw UsageError("cannot resume: " + file.string() + ": found \"" +
                     text.substr(0, std::min<std::size_t>(text.find('\n'), 40)) +
                     "\", expected the run's own rows, which begin with \"epoch,stage\"; move the "
                     "file away");
  }
  std::string kept;
  std::int64_t next = 1;
  for (const std::string_view record : csv_records(text)) {
    if (next > rows) break;
    if (!record.starts_with(std::to_string(next) + ",")) continue;
    kept += std::string(record) + "\n";
    ++next;
  }
  if (next <= rows) {
    log_warning(file.string() + ": holds " + std::to_string(next - 1) + " of the " +
                counted(rows, "epoch") + " that the saved state has seen; the others are lost");
  }
  return kept;
}

}  // namespace

RunLog::RunLog(std::filesystem::path file, const std::map<int, std::string>& labels,
               std::int64_t rows)
    : file_(std::move(file)), dice_columns_(labels.size() - 1) {
  std::string text(kHeader);
  for (const auto& [id, name] : labels)
    if (id != 0) text += "," + csv_field("dice_" + name);
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
  cells.insert(cells.begin(), row.dice_mean);
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
