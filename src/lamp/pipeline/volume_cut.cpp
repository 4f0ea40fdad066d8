// Boundaries at full resolution, then a look at every level.
#include "lamp/pipeline/volume_cut.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

std::vector<std::int64_t> shared_boundaries(std::int64_t planes,
                                            const std::vector<double>& shares) {
  const double all = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<std::int64_t> boundaries = {0};
  double before = 0;
  for (const double share : shares) {
    before += share;
    boundaries.push_back(std::llround(static_cast<double>(planes) * before / all));
  }
  return boundaries;
}

bool has_empty_slab(const SlabCut& cut, std::int64_t planes) {
  const auto owned = cut.owned(planes);
  return std::any_of(owned.begin(), owned.end(),
                     [](const PlaneRange& range) { return range.count() < 1; });
}

}  // namespace

std::vector<std::int64_t> planes_by_link(const Sequence& chain, std::int64_t axis,
                                         std::int64_t planes) {
  std::vector<std::int64_t> result = {planes};
  for (std::size_t link = 0; link < chain.size(); ++link) {
    const auto rule = chain.layers()[link]->plane_rule(axis);
    if (!rule)
      throw UsageError(setting_name("execution.split") + ": layer " + chain.names()[link] +
                       " cannot run on slabs of a volume; use slabs=1");
    result.push_back(rule->output_planes(result.back()));
  }
  return result;
}

SlabCut cut_volume(const Sequence& chain, c10::IntArrayRef sizes, int slabs,
                   const std::vector<double>& shares) {
  TORCH_CHECK(sizes.size() == 5, "slabs are cut from [N, C, D, H, W], found ", sizes);
  TORCH_CHECK(shares.empty() || static_cast<int>(shares.size()) == slabs, "found ", shares.size(),
              " shares for ", slabs, " slabs");
  const auto longest = std::max_element(sizes.begin() + 2, sizes.end());
  SlabCut cut{.axis = static_cast<int>(longest - sizes.begin()),
              .boundaries = shares.empty() ? even_boundaries(*longest, slabs)
                                           : shared_boundaries(*longest, shares)};
  const auto levels = planes_by_link(chain, cut.axis, *longest);
  const std::int64_t least = *std::min_element(levels.begin(), levels.end());
  if (has_empty_slab(cut, least))
    throw UsageError(setting_name("execution.split") + ": found slabs=" + std::to_string(slabs) +
                     ", but the network's coarsest level has " + counted(least, "plane") +
                     " of an input of " + std::to_string(*longest) + ": expected " +
                     std::to_string(std::max<std::int64_t>(least, 1)) + " slabs or fewer" +
                     (shares.empty() ? "" : ", none too thin"));
  return cut;
}

}  // namespace lamp
