// Counts of cases by what became of them.
#include "lamp/convert/prepare_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/dataset/check_report.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {

std::array<double, 3> parse_spacing(const std::string& text) {
  std::array<double, 3> spacing_mm{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t a = 0; a < 3; ++a) {
    const auto [next, error] = std::from_chars(at, end, spacing_mm[a]);
    const bool separated = a == 2 ? next == end : next != end && *next == ',';
    if (error != std::errc() || !separated || !std::isfinite(spacing_mm[a]) || spacing_mm[a] <= 0)
      throw UsageError("prepare " + setting_name("spacing") + ": found \"" + shortened(text) +
                       "\", expected three positive numbers of mm such as 0.98,0.98,2.5");
    at = next + 1;
  }
  return spacing_mm;
}

Json to_json(const PrepareReport& report) {
  const auto count = [&](auto is) {
    return std::count_if(report.cases.begin(), report.cases.end(), is);
  };
  const auto training = count([](const PreparedCase& facts) { return facts.training; });
  const auto partly = count(
      [&](const PreparedCase& facts) { return facts.annotated.size() + 1 < report.labels.size(); });
  Json json = {{"folder", report.folder.string()},
               {"from", report.from},
               {"cases", report.source_cases},
               {"training", training},
               {"test", static_cast<std::int64_t>(report.cases.size()) - training},
               {"converted", report.converted},
               {"labels", Json::object()},
               {"partly_annotated", partly},
               {"scaled", count([](const PreparedCase& facts) { return facts.scaled; })},
               {"overlaps", Json::array()},
               {"notes", Json::array()},
               {"faults", Json::array()}};
  for (const auto& [id, name] : report.labels) json["labels"][std::to_string(id)] = name;
  for (const PreparedCase& facts : report.cases) {
    for (const Overlap& overlap : facts.overlaps)
      json["overlaps"].push_back({{"case", facts.name},
                                  {"kept", report.labels.at(overlap.kept)},
                                  {"lost", report.labels.at(overlap.lost)},
                                  {"voxels", overlap.voxels}});
    for (const std::string& note : facts.notes) json["notes"].push_back(note);
  }
  for (const Fault& fault : report.faults) json["faults"].push_back(to_json(fault));
  return json;
}

void throw_if_failed(const PrepareReport& report) {
  if (report.faults.empty()) return;
  const std::string first = message_of(report.faults.front());
  if (report.cases.empty() && report.faults.size() == 1) throw Error(first, kExitInput);
  throw Error(counted(report.faults.size(), "fault") + ", " + std::to_string(report.cases.size()) +
                  " of " + std::to_string(report.source_cases) +
                  " cases are written, the first: " + first,
              report.cases.empty() ? kExitInput : kExitSomeCasesFailed);
}

}  // namespace lamp
