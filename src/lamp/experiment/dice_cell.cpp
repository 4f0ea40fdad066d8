#include "lamp/experiment/dice_cell.h"

#include <cmath>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/data/datalist.h"
#include "lamp/evaluation/evaluation.h"
#include "lamp/evaluation/summary.h"
#include "lamp/inference/segmenter.h"
#include "lamp/training/run_place.h"
#include "lamp/training/trainer.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

// Sum of the column "seconds" of metrics.csv: also right for a run that was interrupted.
double training_seconds(const fs::path& run) {
  std::istringstream lines(read_file(run / "metrics.csv"));
  std::string line;
  std::getline(lines, line);
  const auto cell = [](const std::string& row, std::size_t wanted) {
    std::istringstream cells(row);
    std::string text;
    for (std::size_t i = 0; i <= wanted; ++i) std::getline(cells, text, ',');
    return text;
  };
  std::size_t column = 0;
  while (cell(line, column) != "seconds") {
    if (++column > 100) throw Error("experiment: no column of seconds in " + run.string());
  }
  double seconds = 0;
  while (std::getline(lines, line)) seconds += std::stod(cell(line, column));
  return seconds;
}

// The first name that is free: RUN.before-1, RUN.before-2, ...
fs::path put_aside(const fs::path& run) {
  for (int number = 1;; ++number) {
    const fs::path other = run.string() + ".before-" + std::to_string(number);
    if (!fs::exists(other)) return other;
  }
}

// A run folder that was begun with other settings, on other data, or by an earlier condition that
// has changed since, is of no use here, but it is not ours to throw away.
void prepare_run(const DiceCell& cell) {
  const fs::path mark = cell.run / "cell.json";
  if (fs::exists(mark) && read_json(mark) == cell.settings) {
    mark_run_folder(cell.run);  // not yet there in folders from before there was a mark
    return;
  }
  std::error_code error;
  if (fs::exists(cell.run)) {
    const fs::path aside = put_aside(cell.run);
    fs::rename(cell.run, aside, error);
    if (error) throw Error("experiment: cannot move " + cell.run.string() + ": " + error.message());
    log_warning(cell.name + ": the run that was begun with other settings is now " +
                aside.string());
  }
  // Whole or not at all, whatever interrupts.
  const fs::path copy = cell.run.string() + ".copy";
  fs::remove_all(copy, error);
  make_output_folder(copy);
  if (!cell.starts_run.empty()) {
    fs::copy(cell.starts_run, copy, fs::copy_options::recursive, error);
    if (error)
      throw Error("experiment: cannot copy " + cell.starts_run.string() + ": " + error.message());
  }
  mark_run_folder(copy);
  write_file(copy / "cell.json", dump_json(cell.settings) + "\n");
  fs::rename(copy, cell.run, error);
  if (error) throw Error("experiment: cannot write " + cell.run.string() + ": " + error.message());
}

void train_cell(const DiceCell& cell) {
  Json config = cell.condition.train;
  config["seed"] = cell.seed;
  config["execution"]["device"] = cell.device;
  prepare_run(cell);
  train({.dataset = cell.dataset, .config = config, .run = cell.run, .resume = true});
  close_log_file();
}

SegmentReport segment_cell(const DiceCell& cell) {
  SegmentRequest request{.output = cell.predictions};
  for (const Case& entry : read_dataset(cell.dataset).test)
    request.inputs.push_back(entry.images.front().string());
  if (request.inputs.empty())
    throw InputError("no test cases", cell.dataset.string(),
                     "its \"test\" list is empty; an experiment needs test cases");
  request.options.device = cell.device;
  request.options.patch = parse_patch(cell.condition.patch);
  request.options.overlap = cell.condition.overlap;
  const std::string model = (cell.run / "last.safetensors").string();
  SegmentReport report = segment_all({{model, load_model(model)}}, request);
  report.throw_if_failed();
  return report;
}

// Not a number, as for a label that no test case holds, becomes null.
Json defined(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>()) ? value : Json();
}

}  // namespace

Json run_dice_cell(const DiceCell& cell) {
  train_cell(cell);
  std::error_code error;
  fs::remove_all(cell.predictions, error);
  const SegmentReport report = segment_cell(cell);
  const EvaluationResult evaluation = evaluate_folders(
      {.prediction = cell.predictions, .reference = cell.references, .dataset = cell.dataset});
  throw_if_failed(evaluation);
  const Json summary = summary_json(evaluation);
  Json result = {{"dice", Json::object()}};
  for (const auto& [label, name] : evaluation.names)
    result["dice"][name] = defined(summary["mean"][std::to_string(label)]["Dice"]);
  result["average"] = defined(summary["foreground_mean"]["Dice"]);
  result["missed"] = summary["foreground_mean"]["n_missed"];
  result["train_seconds"] = training_seconds(cell.run);
  result["network_seconds"] = Json::array();
  for (const CaseResult& entry : report.cases)
    result["network_seconds"].push_back(entry.seconds.network);
  return result;
}

}  // namespace lamp
