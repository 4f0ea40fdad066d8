// Tables from cells.
#include "lamp/experiment/results.h"

#include "lamp/base/text.h"
#include "lamp/experiment/verdict.h"

namespace lamp {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

// The labels' names in the order of their ids, as the first finished cell has them.
std::vector<std::string> label_names(const Results& results) {
  std::vector<std::string> names;
  for (const Condition& condition : results.experiment.conditions) {
    const auto found = results.dice.find(condition.name);
    if (found == results.dice.end() || found->second.empty()) continue;
    for (const auto& [name, dice] : found->second.front()["dice"].items()) names.push_back(name);
    break;
  }
  return names;
}

// In per cent, those that are defined; "" is the average.
std::vector<double> dice_values(const Results& results, const std::string& row,
                                const std::string& label) {
  std::vector<double> values;
  const auto found = results.dice.find(row);
  if (found == results.dice.end()) return values;
  for (const Json& cell : found->second) {
    const Json value = label.empty() ? cell["average"] : cell["dice"].value(label, Json());
    if (value.is_number()) values.push_back(100 * value.get<double>());
  }
  return values;
}

std::vector<double> seconds_of(const Results& results, const std::string& row) {
  const auto found = results.timings.find(row);
  if (found == results.timings.end()) return {};
  return found->second["seconds"].get<std::vector<double>>();
}

std::string mean_text(const std::vector<double>& values, int digits) {
  if (values.empty()) return "–";
  std::string text = fixed(mean_of(values), digits);
  if (values.size() > 1) text += " ± " + fixed(deviation_of(values), digits);
  return text;
}

std::string line_of(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

std::string head_of(const std::vector<std::string>& cells) {
  std::string rule = "|";
  for (std::size_t i = 0; i < cells.size(); ++i) rule += "---|";
  return line_of(cells) + rule + "\n";
}

std::string paper_text(const Results& results, const std::string& row) {
  if (row.empty()) return "";
  for (const PaperTable& table : results.experiment.paper)
    if (const std::string cell = table.last_of(row); !cell.empty()) return cell + ", " + row;
  return row;
}

bool mentions_paper(const Results& results) {
  for (const Condition& condition : results.experiment.conditions)
    if (!condition.paper.empty()) return true;
  return false;
}

std::string dice_table(const Results& results) {
  if (results.experiment.conditions.empty()) return "";
  const auto labels = label_names(results);
  const bool paper = mentions_paper(results);
  std::vector<std::string> head = {"model (input)"};
  head.insert(head.end(), labels.begin(), labels.end());
  head.insert(head.end(), {"average", "training s"});
  if (paper) head.push_back("the paper's average");
  std::string text = "Dice in %, mean ± standard deviation over the seeds (" +
                     std::to_string(results.experiment.seeds.size()) +
                     "), of the means over the test cases.\n\n" + head_of(head);
  for (const Condition& condition : results.experiment.conditions) {
    std::vector<std::string> row = {condition.name};
    for (const std::string& label : labels)
      row.push_back(mean_text(dice_values(results, condition.name, label), 1));
    row.push_back(mean_text(dice_values(results, condition.name, ""), 1));
    std::vector<double> seconds;
    if (const auto found = results.dice.find(condition.name); found != results.dice.end())
      for (const Json& cell : found->second) seconds.push_back(cell["train_seconds"].get<double>());
    row.push_back(seconds.empty() ? "–" : fixed(mean_of(seconds), 0));
    if (paper) row.push_back(paper_text(results, condition.paper));
    text += line_of(row);
  }
  return text + "\n";
}

std::string timing_table(const Results& results) {
  if (results.experiment.timings.empty()) return "";
  const auto& first = results.experiment.timings.front();
  std::string text = "Inference of one volume of " + size_text(first.input) +
                     " voxels, windows overlapping by " + shortest(100 * first.overlap) +
                     " %, mean ± standard deviation of " +
                     counted(results.experiment.rounds, "round") + " after a warm-up.\n\n" +
                     head_of({"model (input)", "seconds", "peak GiB", "the paper's seconds"});
  for (const Timing& timing : results.experiment.timings) {
    const auto found = results.timings.find(timing.name);
    const bool there = found != results.timings.end();
    text += line_of({timing.name, mean_text(seconds_of(results, timing.name), 2),
                     there ? fixed(found->second["peak_bytes"][0].get<double>() / kGiB, 2) : "–",
                     paper_text(results, timing.paper)});
  }
  return text + "\n";
}

std::string control_table(const Results& results) {
  if (!results.experiment.control) return "";
  std::string text =
      "Control: a classifier trained to tell a patch's label from the patch alone, tried on cases "
      "it never saw.\n\n" +
      head_of({"patch", "accuracy %", "in training %", "chance %", "standard error at chance"});
  for (const auto& patch : results.experiment.control->patches) {
    const auto found = results.control.find(size_text(patch));
    if (found == results.control.end()) {
      text += line_of({size_text(patch), "–", "–", "–", "–"});
      continue;
    }
    const auto percent = [&](const char* key) {
      return fixed(100 * found->second[key].get<double>(), 1);
    };
    text += line_of({size_text(patch), percent("accuracy"), percent("train_accuracy"),
                     percent("chance"), percent("standard_error")});
  }
  return text + "\n";
}

const char* word_for(Verdict::State state) {
  if (state == Verdict::kHolds) return "**reproduced**";
  return state == Verdict::kFails ? "**not reproduced**" : "not there yet";
}

std::string claims_text(const Results& results) {
  if (results.experiment.claims.empty()) return "";
  std::string text = head_of({"claim", "", "found"});
  for (const Claim& claim : results.experiment.claims) {
    const Verdict verdict = judge(claim, results);
    text += line_of({claim.text, word_for(verdict.state), verdict.found});
  }
  return text + "\n";
}

std::string paper_tables(const Results& results) {
  std::string text;
  for (const PaperTable& table : results.experiment.paper) {
    text += "The paper's " + table.title + "\n\n" + head_of(table.columns);
    for (const auto& [name, cells] : table.rows) {
      std::vector<std::string> row = {name};
      row.insert(row.end(), cells.begin(), cells.end());
      text += line_of(row);
    }
    text += "\n";
  }
  return text;
}

std::string provenance_text(const Json& provenance) {
  std::string text;
  for (const auto& [key, value] : provenance.items())
    text +=
        "- " + key + ": " + (value.is_string() ? value.get<std::string>() : value.dump()) + "\n";
  return text.empty() ? text : text + "\n";
}

std::string csv_text(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

std::string results_markdown(const Results& results) {
  std::string text = "# " + results.experiment.title + "\n\n";
  for (const std::string& paragraph : results.experiment.about) text += paragraph + "\n\n";
  text += provenance_text(results.provenance);
  text += claims_text(results) + dice_table(results) + timing_table(results);
  for (const auto& [file, plot] : results_plots(results))
    text += "![" + plot.title + "](" + file + ")\n\n";
  text += control_table(results) + paper_tables(results);
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

std::string results_csv(const Results& results) {
  std::string text = "table,row,seed,quantity,value\n";
  const auto add = [&](const char* table, const std::string& row, const std::string& seed,
                       const std::string& quantity, const Json& value) {
    text += std::string(table) + "," + csv_text(row) + "," + seed + "," + csv_text(quantity) + "," +
            (value.is_number() ? shortest(value.get<double>()) : "NaN") + "\n";
  };
  for (const Condition& condition : results.experiment.conditions) {
    const auto found = results.dice.find(condition.name);
    if (found == results.dice.end()) continue;
    for (const Json& cell : found->second) {
      const std::string seed = cell["seed"].dump();
      for (const auto& [label, dice] : cell["dice"].items())
        add("dice", condition.name, seed, label, dice);
      for (const char* key : {"average", "train_seconds"})
        add("dice", condition.name, seed, key, cell[key]);
    }
  }
  for (const Timing& timing : results.experiment.timings)
    for (const double seconds : seconds_of(results, timing.name))
      add("seconds", timing.name, "", "seconds", seconds);
  for (const auto& [patch, control] : results.control)
    add("control", patch, "", "accuracy", control["accuracy"]);
  return text;
}

std::map<std::string, BarPlot> results_plots(const Results& results) {
  std::map<std::string, BarPlot> plots;
  if (!results.experiment.conditions.empty()) {
    BarPlot& plot = plots["dice.svg"];
    plot = {.title = results.experiment.title, .axis = "average Dice, %"};
    for (const Condition& condition : results.experiment.conditions)
      plot.bars.push_back({condition.name, dice_values(results, condition.name, "")});
  }
  if (!results.experiment.timings.empty()) {
    BarPlot& plot = plots["seconds.svg"];
    plot = {.title = results.experiment.title, .axis = "seconds a volume"};
    for (const Timing& timing : results.experiment.timings)
      plot.bars.push_back({timing.name, seconds_of(results, timing.name)});
  }
  return plots;
}

Json results_json(const Results& results) {
  Json json = {{"title", results.experiment.title},
               {"provenance", results.provenance},
               {"dice", results.dice},
               {"seconds", results.timings},
               {"control", results.control},
               {"claims", Json::array()}};
  for (const Claim& claim : results.experiment.claims) {
    const Verdict verdict = judge(claim, results);
    json["claims"].push_back(
        {{"claim", claim.text},
         {"holds",
          verdict.state == Verdict::kOpen ? Json() : Json(verdict.state == Verdict::kHolds)},
         {"found", verdict.found}});
  }
  return json;
}

}  // namespace lamp
