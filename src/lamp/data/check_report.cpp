// A check's result as JSON and as text.
#include <algorithm>

#include "lamp/base/text.h"
#include "lamp/data/dataset_check.h"

namespace lamp {
namespace {

constexpr std::size_t kShownNotes = 20;

std::string row(const std::string& title, const std::string& text) {
  return title + std::string(title.size() < 10 ? 10 - title.size() : 1, ' ') + text + "\n";
}

// Smallest, median and largest along each axis by itself.
std::string spread(const std::vector<std::array<double, 3>>& rows, int digits,
                   const std::string& unit) {
  std::array<std::string, 3> texts;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::vector<double> values;
    for (const auto& entry : rows) values.push_back(entry[axis]);
    std::sort(values.begin(), values.end());
    const std::array<double, 3> shown = {values.front(), values[values.size() / 2], values.back()};
    for (std::size_t i = 0; i < 3; ++i) texts[i] += (axis ? " x " : "") + fixed(shown[i], digits);
  }
  if (texts[0] == texts[2]) return texts[0] + unit;
  return texts[0] + " to " + texts[2] + ", median " + texts[1] + unit;
}

std::string sizes_and_spacings(const std::vector<const CaseFacts*>& read) {
  std::vector<std::array<double, 3>> sizes, spacings;
  std::array<double, 2> range = read.front()->value_range;
  for (const CaseFacts* facts : read) {
    const auto& size = facts->geometry.size;
    sizes.push_back(
        {static_cast<double>(size[0]), static_cast<double>(size[1]), static_cast<double>(size[2])});
    spacings.push_back(facts->geometry.spacing_mm);
    range = {std::min(range[0], facts->value_range[0]), std::max(range[1], facts->value_range[1])};
  }
  return row("sizes", spread(sizes, 0, " voxels")) + row("spacings", spread(spacings, 2, " mm")) +
         row("values", shortest(range[0]) + " to " + shortest(range[1]));
}

struct ClassFacts {
  int labelled = 0, annotated = 0, present = 0;
  double ml = 0;
};

ClassFacts class_facts(const CheckReport& report, int id) {
  ClassFacts result;
  for (const CaseFacts& facts : report.cases) {
    if (facts.label_voxels.empty()) continue;
    ++result.labelled;
    result.annotated += std::count(facts.annotated.begin(), facts.annotated.end(), id) > 0;
    const auto count = facts.label_voxels.find(id);
    if (count == facts.label_voxels.end()) continue;
    ++result.present;
    result.ml += static_cast<double>(count->second) * facts.geometry.voxel_volume_mm3() / 1000;
  }
  return result;
}

std::string label_table(const CheckReport& report) {
  std::string text;
  for (const auto& [id, name] : report.labels) {
    if (id == 0) continue;
    const ClassFacts facts = class_facts(report, id);
    text += row("label " + std::to_string(id),
                name + ": annotated in " + std::to_string(facts.annotated) + " of " +
                    std::to_string(facts.labelled) + " label maps, present in " +
                    std::to_string(facts.present) +
                    (facts.present ? ", mean " + fixed(facts.ml / facts.present, 2) + " ml" : ""));
  }
  return text;
}

std::string counts_by_split(const CheckReport& report) {
  std::string text;
  for (const char* split : {"training", "validation", "test", "image"}) {
    const auto count = std::count_if(report.cases.begin(), report.cases.end(),
                                     [&](const CaseFacts& facts) { return facts.split == split; });
    if (count > 0) text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + split;
  }
  return text.empty() ? "none" : text;
}

Json case_json(const CaseFacts& facts) {
  Json json = {{"name", facts.name}, {"split", facts.split}, {"channels", facts.channels}};
  if (facts.channels > 0) {
    json["size"] = facts.geometry.size;
    json["spacing_mm"] = facts.geometry.spacing_mm;
    json["value_range"] = facts.value_range;
  }
  if (facts.label_voxels.empty()) return json;
  json["annotated"] = facts.annotated;
  json["label_voxels"] = Json::object();
  for (const auto& [value, voxels] : facts.label_voxels)
    json["label_voxels"][std::to_string(value)] = voxels;
  return json;
}

}  // namespace

Json to_json(const DatasetFault& fault) {
  return {{"file", fault.file},
          {"what", fault.what},
          {"found", fault.found},
          {"expected", fault.expected},
          {"fix", fault.fix}};
}

Json to_json(const CheckReport& report) {
  Json json = {{"ok", report.ok()},
               {"faults", Json::array()},
               {"cases", report.cases.size()},
               {"labels", Json::object()}};
  for (const DatasetFault& fault : report.faults) json["faults"].push_back(to_json(fault));
  for (const auto& [id, name] : report.labels) json["labels"][std::to_string(id)] = name;
  json["notes"] = report.notes;
  json["ignored"] = Json::array();
  for (const LeftOut& file : report.ignored)
    json["ignored"].push_back({{"file", file.file.string()}, {"reason", file.reason}});
  json["case_facts"] = Json::array();
  for (const CaseFacts& facts : report.cases) json["case_facts"].push_back(case_json(facts));
  return json;
}

std::string describe(const CheckReport& report) {
  std::string text = row("checked", report.name) + row("cases", counts_by_split(report));
  std::vector<const CaseFacts*> read;
  for (const CaseFacts& facts : report.cases)
    if (facts.channels > 0) read.push_back(&facts);
  if (!read.empty()) text += sizes_and_spacings(read);
  text += label_table(report);
  for (std::size_t i = 0; i < std::min(report.notes.size(), kShownNotes); ++i)
    text += row("note", report.notes[i]);
  if (report.notes.size() > kShownNotes)
    text += row("note", "and " + std::to_string(report.notes.size() - kShownNotes) +
                            " more (--json shows all)");
  for (const DatasetFault& fault : report.faults)
    text += row("FAULT", fault.what + ": " + fault.file + ": found " + fault.found + ", expected " +
                             fault.expected + "; " + fault.fix);
  return text + row("result",
                    report.ok() ? "no faults" : std::to_string(report.faults.size()) + " faults");
}

}  // namespace lamp
