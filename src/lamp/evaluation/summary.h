// What `lamp evaluate` hands over: nnU-Net's summary.json, a table for spreadsheets, one for
// people.
#pragma once

#include <filesystem>
#include <string>

#include "lamp/base/json.h"
#include "lamp/base/own_output.h"
#include "lamp/evaluation/evaluation.h"

namespace lamp {

// {"metric_per_case": [{"metrics": {"1": {...}}, "prediction_file", "reference_file"}], "mean":
// {"1": {...}}, "foreground_mean": {...}, "failed": [{"case", "error"}], "labels": {"1": name}}
// with sorted keys. Means leave out NaN; an infinite distance makes its mean infinite, so every
// mean has n_cases (cases with a Dice), n_missed and n_extra beside it, and "median" holds medians.
Json summary_json(const EvaluationResult& result);

// One row for each case and label, with a header line.
std::string metrics_csv(const EvaluationResult& result);

// For people: one line for each label with the means over the cases, and the mean over the labels.
std::string dice_table(const EvaluationResult& result);

// Where `output` wants the summary: an existing folder, or a name without an ending, holds
// summary.json; empty = inside a folder of predictions, or beside a single one. Throws UsageError
// for a name that does not end in .json.
std::filesystem::path summary_path(const std::filesystem::path& output,
                                   const std::filesystem::path& prediction);

// Writes `summary` and beside it metrics.csv, of NAME.json NAME_metrics.csv, where they replace
// nothing but what LAMP has written; with no case at all it only removes older ones, which would
// pass for this result. Throws UsageError if something foreign is there, Error if the disk refuses.
void write_summary(const EvaluationResult& result, const std::filesystem::path& summary);

// evaluate_folders() and write_summary(), while no other process writes to the summary's folder.
// What must not be replaced is refused before the first case.
EvaluationResult evaluate_into(const std::filesystem::path& summary,
                               const EvaluationOptions& options);

}  // namespace lamp
