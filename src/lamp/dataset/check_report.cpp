// A check's result as JSON and as text.
#include "lamp/dataset/check_report.h"

#include <algorithm>

#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/datalist_parser.h"

namespace lamp {
namespace {

constexpr std::size_t kShownNotes = 20;

std::string titled_row(const std::string& title, const std::string& text) {
  return title + std::string(title.size() < 10 ? 10 - title.size() : 1, ' ') + text + "\n";
}

std::string triple(const std::array<double, 3>& values, int digits) {
  return fixed(values[0], digits) + " x " + fixed(values[1], digits) + " x " +
         fixed(values[2], digits);
}

// "96 x 96 x 64 voxels" where all are alike; else the range along each axis, and the titled_row
// that lies in the middle by its product, so that a triple is always that of a real file.
std::string spread(const std::vector<std::array<double, 3>>& rows, int digits,
                   const std::string& unit) {
  std::array<std::string, 3> ranges;
  bool alike = true;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const auto along = [axis](const auto& a, const auto& b) { return a[axis] < b[axis]; };
    const auto [low, high] = std::minmax_element(rows.begin(), rows.end(), along);
    const std::string from = fixed((*low)[axis], digits), to = fixed((*high)[axis], digits);
    ranges[axis] = std::string(1, "xyz"[axis]) + " " + (from == to ? from : from + " to " + to);
    alike = alike && from == to;
  }
  if (alike) return triple(rows.front(), digits) + unit;
  std::vector<std::array<double, 3>> sorted = rows;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end(), [](const auto& a, const auto& b) {
    return a[0] * a[1] * a[2] < b[0] * b[1] * b[2];
  });
  return ranges[0] + ", " + ranges[1] + ", " + ranges[2] + unit + "; the middle one " +
         triple(*middle, digits);
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
  return titled_row("sizes", spread(sizes, 0, " voxels")) +
         titled_row("spacings", spread(spacings, 2, " mm")) +
         titled_row("values", shortest(range[0]) + " to " + shortest(range[1]));
}

struct ClassFacts {
  int labelled = 0, annotated = 0, present = 0;
  double ml = 0;
};

// By label id; one pass over the cases, since both may be many.
std::map<int, ClassFacts> class_facts(const CheckReport& report) {
  std::map<int, ClassFacts> classes;
  for (const auto& label : report.labels) classes[label.first];
  int labelled = 0;
  for (const CaseFacts& facts : report.cases) {
    if (facts.label_voxels.empty()) continue;
    ++labelled;
    for (const int id : facts.annotated) ++classes[id].annotated;
    for (const auto& [value, voxels] : facts.label_voxels) {
      const auto known = value < 0 || value > kLargestLabel ? classes.end()
                                                            : classes.find(static_cast<int>(value));
      if (known == classes.end()) continue;
      ++known->second.present;
      known->second.ml += static_cast<double>(voxels) * facts.geometry.voxel_volume_mm3() / 1000;
    }
  }
  for (auto& entry : classes) entry.second.labelled = labelled;
  return classes;
}

std::string label_table(const CheckReport& report) {
  const std::map<int, ClassFacts> classes = class_facts(report);
  std::string text;
  for (const auto& [id, name] : report.labels) {
    if (id == 0) continue;
    const ClassFacts& facts = classes.at(id);
    text += titled_row(
        "label " + std::to_string(id),
        name + ": annotated in " + std::to_string(facts.annotated) + " of " +
            counted(facts.labelled, "label map") + ", present in " + std::to_string(facts.present) +
            (facts.present ? ", mean " + fixed(facts.ml / facts.present, 2) + " ml" : ""));
  }
  return text;
}

// "20 training cases, 1 test case", "3 images".
std::string counts_by_split(const CheckReport& report) {
  std::vector<std::string> counts;
  for (const char* split : {"training", "validation", "test", "image"}) {
    const auto count = std::count_if(report.cases.begin(), report.cases.end(),
                                     [&](const CaseFacts& facts) { return facts.split == split; });
    const std::string noun = std::string(split) == "image" ? "image" : split + std::string(" case");
    if (count > 0) counts.push_back(counted(count, noun));
  }
  return counts.empty() ? "none" : joined(counts);
}

Json case_json(const CaseFacts& facts) {
  Json json = {{"name", facts.name}, {"split", facts.split}, {"channels", facts.channels}};
  if (facts.channels > 0) {
    json["size"] = facts.geometry.size;
    json["spacing_mm"] = facts.geometry.spacing_mm;
    json["origin_mm"] = facts.geometry.origin_mm;  // LPS, as the direction
    json["direction"] = facts.geometry.direction;  // titled_row-major, columns are the axes
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

Json to_json(const Fault& fault) {
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
  for (const Fault& fault : report.faults) json["faults"].push_back(to_json(fault));
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
  std::string text =
      titled_row("checked", printable(report.name)) + titled_row("cases", counts_by_split(report));
  std::vector<const CaseFacts*> read;
  for (const CaseFacts& facts : report.cases)
    if (facts.channels > 0) read.push_back(&facts);
  if (!read.empty()) text += sizes_and_spacings(read);
  text += label_table(report);
  for (std::size_t i = 0; i < std::min(report.notes.size(), kShownNotes); ++i)
    text += titled_row("note", printable(report.notes[i]));
  if (report.notes.size() > kShownNotes)
    text += titled_row("note", "and " + std::to_string(report.notes.size() - kShownNotes) +
                                   " more (" + setting_name("json") + " shows all)");
  for (const Fault& fault : report.faults)
    text += titled_row("FAULT", printable(message_of(fault)));
  return text +
         titled_row("result", report.ok() ? "no faults" : counted(report.faults.size(), "fault"));
}

}  // namespace lamp
