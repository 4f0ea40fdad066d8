// Every threshold is a share or a multiple, so that the units do not matter.
#include "lamp/cases/dark_end.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lamp {
namespace {

constexpr double kGap = 0.1;         // of the other values' range, below which a value is padding
constexpr double kWidth = 0.02;      // of the range: so wide is a level, noise included
constexpr double kLowPart = 1 / 3.;  // of the range, in which it is looked for
constexpr double kClearShare = 0.12;
constexpr std::array<double, 2> kBeyond = {1.15, 1.6};  // times the level
constexpr double kMostBeyond = 0.005;
constexpr double kFromZero = 0.1;  // of the span
constexpr double kLeastFactor = 0.02, kMostFactor = 0.65;
constexpr double kSpanVaries = 1.6;  // from patient to patient

ValueCounts unpadded(const ValueCounts& all) {
  const ValueCounts rest = above(all, all.values.front());
  if (rest.total == 0) return all;
  const double gap = rest.values.front() - all.values.front();
  return gap > kGap * (rest.quantile(0.995) - rest.values.front()) ? rest : all;
}

}  // namespace

bool DarkEnd::clear() const { return share >= kClearShare && span > 0; }

DarkEnd dark_end(const ValueCounts& all) {
  if (all.total == 0) return {};
  const ValueCounts counts = unpadded(all);
  const double low = counts.quantile(0.05), high = counts.quantile(0.995), range = high - low;
  if (!(range > 0)) return {};
  const std::vector<float>& values = counts.values;
  // The window with most voxels, wherever it begins among the low values.
  std::int64_t most = 0, held = 0;
  double sum = 0, level = 0;
  for (std::size_t begin = 0, end = 0; begin < values.size(); ++begin) {
    while (end < values.size() && values[end] <= values[begin] + kWidth * range &&
           values[end] <= low + kLowPart * range) {
      held += counts.counts[end];
      sum += static_cast<double>(counts.counts[end]) * values[end];
      ++end;
    }
    if (end <= begin) break;
    if (held > most) {
      most = held;
      level = sum / static_cast<double>(held);
    }
    held -= counts.counts[begin];
    sum -= static_cast<double>(counts.counts[begin]) * values[begin];
  }
  DarkEnd found{.level = level, .span = high - level};
  found.share = static_cast<double>(most) / static_cast<double>(counts.total);
  if (level < 0)
    found.beyond =
        counts.share_at_most(kBeyond[0] * level) - counts.share_at_most(kBeyond[1] * level);
  return found;
}

std::optional<DarkRange> dark_range(const std::vector<DarkEnd>& cases) {
  std::optional<DarkRange> range;
  std::size_t clear = 0;
  const auto widen = [](std::array<double, 2>& pair, double value) {
    pair = {std::min(pair[0], value), std::max(pair[1], value)};
  };
  for (const DarkEnd& entry : cases) {
    if (!entry.clear()) continue;
    ++clear;
    if (!range) range = {{entry.level, entry.level}, {entry.span, entry.span}};
    widen(range->level, entry.level);
    widen(range->span, entry.span);
  }
  if (2 * clear <= cases.size() || range->level[1] > -kFromZero * range->span[1]) return {};
  return range;
}

std::optional<double> shrunk_by(const DarkEnd& image, const DarkRange& trained) {
  if (!image.clear() || !(trained.level[1] < 0)) return {};
  const double factor = image.level / trained.level[1];
  if (factor < kLeastFactor || factor > kMostFactor || image.beyond > kMostBeyond ||
      image.span < factor * trained.span[0] / kSpanVaries ||
      image.span > factor * trained.span[1] * kSpanVaries)
    return {};
  return factor;
}

}  // namespace lamp
