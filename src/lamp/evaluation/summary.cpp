// One table says which metrics there are and how to read each; JSON, CSV and the means follow it.
#include "lamp/evaluation/summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <system_error>
#include <vector>

#include "lamp/base/csv.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/output_lock.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/taken_place.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWriter = "lamp evaluate";

using SortedJson = nlohmann::json;  // sorts its keys

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Metric {
  const char* key;
  bool count;  // a whole number for each case
  double (*value)(const LabelMetrics&);
};

double number(std::int64_t count) { return static_cast<double>(count); }

constexpr Metric kMetrics[] = {
    {"Dice", false, [](const LabelMetrics& m) { return m.overlap.dice(); }},
    {"IoU", false, [](const LabelMetrics& m) { return m.overlap.iou(); }},
    {"HD95", false, [](const LabelMetrics& m) { return m.hd95_mm; }},
    {"NSD_2mm", false, [](const LabelMetrics& m) { return m.surface_dice_2mm; }},
    {"ASSD", false, [](const LabelMetrics& m) { return m.assd_mm; }},
    {"TP", true, [](const LabelMetrics& m) { return number(m.overlap.true_positive); }},
    {"FP", true, [](const LabelMetrics& m) { return number(m.overlap.false_positive()); }},
    {"FN", true, [](const LabelMetrics& m) { return number(m.overlap.false_negative()); }},
    {"TN", true, [](const LabelMetrics& m) { return number(m.overlap.true_negative()); }},
    {"n_pred", true, [](const LabelMetrics& m) { return number(m.overlap.n_pred); }},
    {"n_ref", true, [](const LabelMetrics& m) { return number(m.overlap.n_ref); }},
    {"volume_pred_mm3", false, [](const LabelMetrics& m) { return m.volume_pred_mm3; }},
    {"volume_ref_mm3", false, [](const LabelMetrics& m) { return m.volume_ref_mm3; }},
};

double value_of(const Metric& metric, const LabelMetrics& metrics) {
  return metrics.annotated ? metric.value(metrics) : kNan;
}

// The first line of metrics.csv, by which it is known again.
std::string csv_header() {
  std::string text = "case,label,name";
  for (const Metric& metric : kMetrics) text += std::string(",") + metric.key;
  return text;
}

// Each summary of a folder has its own: metrics.csv of summary.json, NAME_metrics.csv of NAME.json.
fs::path metrics_file(const fs::path& summary) {
  const std::string name = summary.stem().string();
  return summary.parent_path() / (name == "summary" ? "metrics.csv" : name + "_metrics.csv");
}

// The label's values over the cases, without NaN.
std::vector<double> defined_values(const EvaluationResult& result, std::int64_t label,
                                   const Metric& metric) {
  std::vector<double> values;
  for (const CaseEvaluation& entry : result.cases)
    if (const double value = value_of(metric, entry.labels.at(label)); !std::isnan(value))
      values.push_back(value);
  return values;
}

double mean(const std::vector<double>& values) {
  if (values.empty()) return kNan;
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double median(std::vector<double> values) {
  if (values.empty()) return kNan;
  std::sort(values.begin(), values.end());
  const double low = values[(values.size() - 1) / 2], high = values[values.size() / 2];
  return low == high ? low : (low + high) / 2;
}

double label_mean(const EvaluationResult& result, std::int64_t label, const Metric& metric) {
  return mean(defined_values(result, label, metric));
}

double foreground_mean(const EvaluationResult& result, const Metric& metric) {
  std::vector<double> means;
  for (const auto& [label, name] : result.names)
    if (const double value = label_mean(result, label, metric); !std::isnan(value))
      means.push_back(value);
  return mean(means);
}

std::int64_t cases_where(const EvaluationResult& result, std::int64_t label,
                         bool (LabelMetrics::*is)() const) {
  return std::count_if(result.cases.begin(), result.cases.end(),
                       [&](const CaseEvaluation& entry) { return (entry.labels.at(label).*is)(); });
}

SortedJson case_json(const CaseEvaluation& entry) {
  SortedJson metrics = SortedJson::object();
  for (const auto& [label, values] : entry.labels) {
    SortedJson& row = metrics[std::to_string(label)];
    for (const Metric& metric : kMetrics) {
      const double value = value_of(metric, values);
      if (metric.count && !std::isnan(value)) {
        row[metric.key] = static_cast<std::int64_t>(value);
      } else {
        row[metric.key] = value;
      }
    }
  }
  return {{"metrics", metrics},
          {"prediction_file", entry.prediction.string()},
          {"reference_file", entry.reference.string()}};
}

void add_means(const EvaluationResult& result, SortedJson& summary) {
  SortedJson foreground = {{"n_missed", 0}, {"n_extra", 0}};
  for (const Metric& metric : kMetrics) foreground[metric.key] = foreground_mean(result, metric);
  for (const auto& [label, name] : result.names) {
    SortedJson& means = summary["mean"][std::to_string(label)];
    SortedJson& medians = summary["median"][std::to_string(label)];
    for (const Metric& metric : kMetrics) {
      const auto values = defined_values(result, label, metric);
      means[metric.key] = mean(values);
      medians[metric.key] = median(values);
    }
    const auto missed = cases_where(result, label, &LabelMetrics::missed);
    const auto extra = cases_where(result, label, &LabelMetrics::extra);
    means["n_cases"] = defined_values(result, label, kMetrics[0]).size();
    means["n_missed"] = missed;
    means["n_extra"] = extra;
    foreground["n_missed"] = foreground["n_missed"].get<std::int64_t>() + missed;
    foreground["n_extra"] = foreground["n_extra"].get<std::int64_t>() + extra;
  }
  summary["foreground_mean"] = foreground;
}

std::string csv_number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return "Infinity";
  return shortest(value);
}

std::string right(const std::string& text, std::size_t width) {
  return std::string(text.size() < width ? width - text.size() : 1, ' ') + text;
}

std::string shown(double value, int digits) {
  if (std::isnan(value)) return "-";
  return std::isinf(value) ? "inf" : fixed(value, digits);
}

constexpr std::size_t kColumn = 10;
constexpr std::size_t kShownMetrics = 5;  // the first of kMetrics

std::string table_row(const std::string& name, std::size_t width, const std::vector<double>& values,
                      const std::vector<std::int64_t>& counts) {
  std::string row = name + std::string(width - name.size(), ' ');
  for (std::size_t i = 0; i < values.size(); ++i)
    row += right(shown(values[i], i == 2 || i == 4 ? 2 : 4), kColumn);
  for (const std::int64_t count : counts) row += right(std::to_string(count), kColumn);
  return row + "\n";
}

}  // namespace

Json summary_json(const EvaluationResult& result) {
  SortedJson summary = {{"metric_per_case", SortedJson::array()},
                        {"mean", SortedJson::object()},
                        {"median", SortedJson::object()},
                        {"failed", SortedJson::array()},
                        {"labels", SortedJson::object()}};
  for (const CaseEvaluation& entry : result.cases)
    summary["metric_per_case"].push_back(case_json(entry));
  for (const CaseFailure& failure : result.failures)
    summary["failed"].push_back({{"case", failure.name}, {"error", failure.message}});
  for (const auto& [label, name] : result.names) summary["labels"][std::to_string(label)] = name;
  add_means(result, summary);
  return Json(summary);
}

OwnTest own_metrics_table() { return own_table(csv_header()); }

std::string metrics_csv(const EvaluationResult& result) {
  std::string text = csv_header() + "\n";
  for (const CaseEvaluation& entry : result.cases) {
    for (const auto& [label, values] : entry.labels) {
      text += csv_field(entry.name) + "," + std::to_string(label) + "," +
              csv_field(result.names.at(label));
      for (const Metric& metric : kMetrics) text += "," + csv_number(value_of(metric, values));
      text += "\n";
    }
  }
  return text;
}

std::string dice_table(const EvaluationResult& result) {
  std::size_t width = 6;
  for (const auto& [label, name] : result.names) width = std::max(width, name.size());
  std::string text = "label" + std::string(width - 5, ' ');
  for (const char* title :
       {"Dice", "IoU", "HD95 mm", "NSD 2mm", "ASSD mm", "cases", "missed", "extra"})
    text += right(title, kColumn);
  text += "\n";
  std::vector<double> means(kShownMetrics);
  std::vector<std::int64_t> sums = {static_cast<std::int64_t>(result.cases.size()), 0, 0};
  for (const auto& [label, name] : result.names) {
    for (std::size_t i = 0; i < kShownMetrics; ++i)
      means[i] = label_mean(result, label, kMetrics[i]);
    const std::vector<std::int64_t> counts = {
        static_cast<std::int64_t>(defined_values(result, label, kMetrics[0]).size()),
        cases_where(result, label, &LabelMetrics::missed),
        cases_where(result, label, &LabelMetrics::extra)};
    sums[1] += counts[1];
    sums[2] += counts[2];
    text += table_row(name, width, means, counts);
  }
  for (std::size_t i = 0; i < kShownMetrics; ++i) means[i] = foreground_mean(result, kMetrics[i]);
  return text + table_row("mean", width, means, sums);
}

fs::path summary_path(const fs::path& output, const fs::path& prediction) {
  constexpr const char* kName = "summary.json";
  std::error_code error;
  if (output.empty())
    return (fs::is_directory(prediction, error) ? prediction : prediction.parent_path()) / kName;
  if (fs::is_directory(output, error) || !output.has_filename() || !output.has_extension())
    return output / kName;
  std::string ending = output.extension().string();
  ending = lower(ending);
  if (ending == ".json") return output;
  throw UsageError(setting_name("output") + ": " + output.string() +
                   ": found a name that does not end in .json, expected the summary's, such as " +
                   (output.parent_path() / kName).string() + ", or a folder for it");
}

namespace {

// `options` names what must not be replaced.
OutputList summary_outputs(const fs::path& summary, const EvaluationOptions& options) {
  OutputList files;
  files.add({setting_name("output"), summary, own_json(kWriter)});
  files.add({setting_name("output"), metrics_file(summary), own_metrics_table()});
  files.protect(options.prediction);
  files.protect(options.reference);
  if (options.dataset) files.protect(*options.dataset);
  return files;
}

}  // namespace

void write_summary(const EvaluationResult& result, const fs::path& summary) {
  OutputList files = summary_outputs(summary, {});
  files.check();
  if (result.cases.empty()) {
    for (const fs::path& file : {summary, metrics_file(summary)})
      if (files.remove_older(file))
        log_warning("no case could be compared: removed the earlier " + file.string());
    return;
  }
  files.make_folders();
  write_file(metrics_file(summary), metrics_csv(result));
  write_file(summary, dump_json(written_by(kWriter, summary_json(result)), 4) + "\n");
}

EvaluationResult evaluate_into(const fs::path& summary, const EvaluationOptions& options) {
  summary_outputs(summary, options).check();
  refuse_taken_place(summary.parent_path(), setting_to("output", summary.string()),
                     ResultsAre::kSingleFile);
  OutputLock lock(summary.parent_path());  // pictures are one for all summaries
  lock.start();
  EvaluationResult result = evaluate_folders(options);
  write_summary(result, summary);
  return result;
}

}  // namespace lamp
