#include "lamp/experiment/dice_cell.h"

#include <algorithm>
#include <cmath>

#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/own_output.h"
#include "lamp/base/setting_name.h"
#include "lamp/dataset/datalist.h"
#include "lamp/evaluation/evaluation.h"
#include "lamp/evaluation/summary.h"
#include "lamp/experiment/cleared_folder.h"
#include "lamp/formats/volume_mark.h"
#include "lamp/inference/segment_outputs.h"
#include "lamp/inference/segmenter.h"
#include "lamp/training/trainer.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

// Sum of the column "seconds" of metrics.csv: also right for a run that was interrupted.
double training_seconds(const fs::path& run) {
  const std::string text = read_file(run / "metrics.csv");
  const auto records = csv_records(text);
  const auto header = records.empty() ? std::vector<std::string>() : csv_fields(records.front());
  const auto column =
      static_cast<std::size_t>(std::find(header.begin(), header.end(), "seconds") - header.begin());
  if (column == header.size()) throw Error("experiment: no column of seconds in " + run.string());
  double seconds = 0;
  for (std::size_t row = 1; row < records.size(); ++row)
    seconds += std::stod(csv_fields(records[row]).at(column));
  return seconds;
}

// Beside the run folder, in which training wants to find nothing but its own; runs of an earlier
// lamp have theirs inside.
fs::path settings_file(const fs::path& run) {
  const fs::path inside = run / "cell.json";
  return fs::exists(inside) ? inside : fs::path(run.string() + ".cell.json");
}

// A copy that was not finished is recognised by this file, which is the first in it.
constexpr const char* kCopyMark = ".lamp-copy";

void copy_run(const DiceCell& cell) {
  const fs::path copy = cell.run.string() + ".copy";
  std::error_code error;
  if (fs::exists(copy / kCopyMark)) fs::remove_all(copy, error);
  if (fs::exists(copy)) put_aside(copy, "its place is needed for a copy of a run");
  make_output_folder(copy);
  write_file(copy / kCopyMark, "");
  fs::copy(cell.starts_run, copy, fs::copy_options::recursive, error);
  if (error)
    throw Error("experiment: cannot copy " + cell.starts_run.string() + ": " + error.message());
  fs::rename(copy, cell.run, error);
  if (error) throw Error("experiment: cannot write " + cell.run.string() + ": " + error.message());
}

// A run folder that was begun with other settings, on other data, or by an earlier condition that
// has changed since, is of no use here, but it is not ours to throw away.
void prepare_run(const DiceCell& cell) {
  const fs::path settings = settings_file(cell.run);
  const bool needs_copy = !cell.starts_run.empty();
  const bool begun = fs::exists(settings) && read_json(settings) == cell.settings &&
                     (fs::exists(cell.run) || !needs_copy);
  if (!begun) {
    if (fs::exists(cell.run)) put_aside(cell.run, cell.name + " was begun with other settings");
    make_output_folder(cell.run.parent_path());
    write_file(settings_file(cell.run), dump_json(cell.settings) + "\n");
    if (needs_copy) copy_run(cell);  // whole or not at all, whatever interrupts
  }
  std::error_code error;
  fs::remove(cell.run / kCopyMark, error);
}

// The stages that the earlier run has been through were trained as that run says, whatever this
// condition would have used for them.
void keep_begun_optimizers(Json& config, const fs::path& starts_run) {
  const Json begun = read_json(starts_run / "config.json").value("curriculum", Json::array());
  Json& stages = config["curriculum"];
  for (std::size_t i = 0; i < std::min(begun.size(), stages.size()); ++i)
    stages[i]["optimizer"] = begun[i].value("optimizer", Json());
}

void train_cell(const DiceCell& cell) {
  Json config = cell.condition.train;
  if (!cell.starts_run.empty()) keep_begun_optimizers(config, cell.starts_run);
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
    throw InputError({.file = cell.dataset.string(),
                      .what = "no test cases",
                      .found = "an empty \"test\" list",
                      .expected = "some for an experiment",
                      .fix = "make them with lamp prepare " + setting_name("test")});
  request.options.device = cell.device;
  request.options.patch = parse_patch(cell.condition.patch);
  request.options.overlap = cell.condition.overlap;
  const std::string model = (cell.run / "last.safetensors").string();
  SegmentReport report = segment_all({{model, load_model(model)}}, request);
  report.throw_if_failed();
  return report;
}

bool is_own_prediction(const fs::path& file) {
  return (file.filename() == "segment.json" ? own_json : own_volume)(kSegmentWriter)(file);
}

// Not a number, as for a label that no test case holds, becomes null.
Json defined(const Json& value) {
  return value.is_number() && std::isfinite(value.get<double>()) ? value : Json();
}

}  // namespace

Json run_dice_cell(const DiceCell& cell) {
  train_cell(cell);
  clear_folder(cell.predictions, is_own_prediction);
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
