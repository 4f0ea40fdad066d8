// To leave out the case in question alone would not do: the others may hold a foreign one, and to
// describe all the others anew for every case takes long with hundreds of them. So one group of
// cases that agree is grown from the case that most others agree with.
#include "lamp/cases/case_outliers.h"

#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

#include "lamp/base/text.h"
#include "lamp/cases/intensity_check.h"

namespace lamp {
namespace {

constexpr std::size_t kFewestCases = 4;
constexpr std::size_t kMostSeeds = 16;          // so many are compared each with each
constexpr std::int64_t kMostCounted = 1 << 22;  // voxels of a channel: distributions need no more

// Of the span that the others have, so that any units will do. A body that was cut out of its air
// has a third of a CT's span and keeps its upper end; padding doubles it and keeps that too.
constexpr double kTimesTheSpan = 5;
constexpr double kShift = 0.4;  // of both ends, to the same side

using CaseList = std::vector<const OutlierCase*>;
using Ends = std::array<double, 2>;  // 0.5 and 99.5 % of an image

// What a case is held against.
struct Standard {
  Json described;
  std::vector<std::array<Ends, 2>> ends;  // by channel: the least and the most of each end
};

Ends ends_of(const ChannelIntensities& channel) {
  const ValueCounts all = channel.all();
  return all.total > 0 ? Ends{all.quantile(0.005), all.quantile(0.995)} : Ends{};
}

Standard standard_of(const CaseList& cases) {
  std::vector<Intensities> values;
  for (const OutlierCase* entry : cases) values.push_back(entry->values);
  Standard standard{.described = describe_intensities(values, {}), .ends = {}};
  for (const Intensities& image : values) {
    for (std::size_t c = 0; c < image.size(); ++c) {
      const Ends found = ends_of(image[c]);
      if (c == standard.ends.size()) standard.ends.push_back({found, found});
      auto& [least, most] = standard.ends[c];
      for (std::size_t end : {0, 1}) {
        least[end] = std::min(least[end], found[end]);
        most[end] = std::max(most[end], found[end]);
      }
    }
  }
  return standard;
}

// Much narrower or wider than all others, or shifted as a whole: what the body's quartiles need not
// show where the threshold of air lies far from the values.
std::string fault_of_ends(const Ends& found, const std::array<Ends, 2>& others) {
  const auto& [least, most] = others;
  const double span = found[1] - found[0];
  const double narrowest = std::max(0.0, least[1] - most[0]), widest = most[1] - least[0];
  const double shift = kShift * widest;
  const bool scaled = span * kTimesTheSpan < narrowest || span > kTimesTheSpan * widest;
  const bool shifted = (found[0] - most[0] > shift && found[1] - most[1] > shift) ||
                       (least[0] - found[0] > shift && least[1] - found[1] > shift);
  if (!scaled && !shifted) return "";
  const auto text = [](double value) { return shortest(std::round(value * 1000) / 1000); };
  return "nearly all voxels are from " + text(found[0]) + " to " + text(found[1]) +
         ", in training from " + text(least[0]) + " to " + text(most[1]);
}

// Empty also for what cannot be compared; `comparable` says which.
std::vector<std::string> differences(const Intensities& values, const Standard& standard,
                                     bool* comparable = nullptr) {
  IntensityFindings findings = compare_intensities(values, standard.described, {});
  const bool usable = !findings.numbers.is_null();
  if (comparable != nullptr) *comparable = usable;
  for (std::size_t c = 0; usable && findings.warnings.empty() && c < values.size(); ++c) {
    const std::string fault = fault_of_ends(ends_of(values[c]), standard.ends.at(c));
    if (fault.empty()) continue;
    findings.warnings.push_back((values.size() > 1 ? "channel " + std::to_string(c) + ": " : "") +
                                fault);
  }
  return findings.warnings;
}

bool agrees(const Intensities& values, const Standard& standard) {
  bool comparable = false;
  const bool alike = differences(values, standard, &comparable).empty();
  return comparable && alike;
}

// The largest set of cases that one of them agrees with, and they with it.
CaseList first_group(const CaseList& training) {
  CaseList seeds;
  const std::size_t count = std::min(training.size(), kMostSeeds);
  for (std::size_t i = 0; i < count; ++i) seeds.push_back(training[i * training.size() / count]);
  std::vector<Standard> standards;
  for (const OutlierCase* seed : seeds) standards.push_back(standard_of({seed}));
  std::vector<CaseList> groups(count);
  for (std::size_t i = 0; i < count; ++i) {
    groups[i].push_back(seeds[i]);
    for (std::size_t j = 0; j < count; ++j)
      if (i != j && agrees(seeds[j]->values, standards[i]) &&
          agrees(seeds[i]->values, standards[j]))
        groups[i].push_back(seeds[j]);
  }
  return *std::max_element(groups.begin(), groups.end(),
                           [](const auto& a, const auto& b) { return a.size() < b.size(); });
}

struct UsualCases {
  CaseList cases;
  Standard standard;
};

// Each that joins widens what the next ones are held against, as in training.
UsualCases usual_cases(const CaseList& training) {
  UsualCases usual{.cases = first_group(training), .standard = {}};
  for (;;) {
    usual.standard = standard_of(usual.cases);
    CaseList joining;
    for (const OutlierCase* entry : training)
      if (std::find(usual.cases.begin(), usual.cases.end(), entry) == usual.cases.end() &&
          agrees(entry->values, usual.standard))
        joining.push_back(entry);
    if (joining.empty()) return usual;
    usual.cases.insert(usual.cases.end(), joining.begin(), joining.end());
  }
}

// Every so many rows and columns of a large image.
torch::Tensor thinned(const torch::Tensor& image) {
  const std::int64_t voxels = image[0].numel();
  std::int64_t step = 1;
  while (voxels / (step * step) > kMostCounted) ++step;
  return image.slice(2, 0, image.size(2), step).slice(3, 0, image.size(3), step);
}

}  // namespace

std::vector<std::string> outlier_warnings(const std::vector<OutlierCase>& cases) {
  CaseList training;
  for (const OutlierCase& entry : cases)
    if (entry.training && !entry.values.empty()) training.push_back(&entry);
  if (training.size() < kFewestCases) return {};
  const UsualCases usual = usual_cases(training);
  if (2 * usual.cases.size() <= training.size())
    return {"the training cases' values have little in common: no more than " +
            std::to_string(usual.cases.size()) + " of " + std::to_string(training.size()) +
            " cases are alike"};
  std::vector<std::string> warnings;
  for (const OutlierCase& entry : cases) {
    if (entry.values.empty() ||
        std::find(usual.cases.begin(), usual.cases.end(), &entry) != usual.cases.end())
      continue;
    const std::string others = entry.training ? "the other training cases" : "the training cases";
    for (const std::string& warning : differences(entry.values, usual.standard))
      warnings.push_back(entry.name + ": values unlike those of " + others + ": " + warning);
  }
  return warnings;
}

ImageObserver CaseComparison::observer() {
  return [this](std::size_t place, const torch::Tensor& image) {
    Intensities found = count_intensities(thinned(image), {});
    const std::lock_guard lock(mutex_);
    Intensities& channels = values_[place];  // of a case, one file after the other
    std::move(found.begin(), found.end(), std::back_inserter(channels));
  };
}

void CaseComparison::note(CheckReport& report) const {
  std::vector<OutlierCase> cases;
  for (const auto& [place, values] : values_) {
    const CaseFacts& facts = report.cases.at(place);
    cases.push_back({facts.name, values, facts.split == "training"});
  }
  std::vector<std::string> warnings = outlier_warnings(cases);
  for (std::string& warning : warnings) warning = "warning: " + warning;
  report.notes.insert(report.notes.begin(), warnings.begin(), warnings.end());
}

}  // namespace lamp
