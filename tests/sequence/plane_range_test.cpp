// Planes against the definition of a convolution, one plane after another.
#include "lamp/sequence/plane_range.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "lamp/base/random.h"

namespace lamp {
namespace {

// Dense planes of each strided one, by the definition.
std::set<std::int64_t> dense_planes(const PlaneRule& rule, const PlaneRange& strided) {
  std::set<std::int64_t> planes;
  for (std::int64_t o = strided.first; o < strided.last; ++o)
    for (std::int64_t k = 0; k < rule.kernel; ++k)
      planes.insert(o * rule.stride - rule.padding + k);
  return planes;
}

TEST(PlaneRangeTest, DensePlanesAreThoseOfEveryStridedOne) {
  for (std::int64_t kernel = 1; kernel <= 4; ++kernel)
    for (std::int64_t stride = 1; stride <= kernel; ++stride)
      for (std::int64_t first = 0; first < 5; ++first)
        for (std::int64_t count = 1; count < 5; ++count) {
          const PlaneRule rule{.kernel = kernel, .stride = stride, .padding = (kernel - 1) / 2};
          const PlaneRange range = rule.dense_of({first, first + count});
          const auto wanted = dense_planes(rule, {first, first + count});
          EXPECT_EQ(range.first, *wanted.begin());
          EXPECT_EQ(range.last, *wanted.rbegin() + 1);
        }
}

TEST(PlaneRangeTest, StridedPlanesAreAllThatReachADenseOne) {
  for (std::int64_t kernel = 1; kernel <= 4; ++kernel)
    for (std::int64_t stride = 1; stride <= kernel; ++stride)
      for (std::int64_t first = 0; first < 7; ++first)
        for (std::int64_t count = 1; count < 5; ++count) {
          const PlaneRule rule{.kernel = kernel, .stride = stride, .padding = (kernel - 1) / 2};
          const PlaneRange range = rule.strided_of({first, first + count});
          for (std::int64_t o = -6; o < 14; ++o) {
            const auto planes = dense_planes(rule, {o, o + 1});
            const bool reaches = std::any_of(planes.begin(), planes.end(), [&](std::int64_t d) {
              return d >= first && d < first + count;
            });
            EXPECT_EQ(o >= range.first && o < range.last, reaches)
                << "kernel " << kernel << ", stride " << stride << ", plane " << o << " of "
                << first << " to " << first + count;
          }
        }
}

TEST(PlaneRangeTest, SlabsShareOutEveryPlaneAtEveryLevel) {
  Random random{3};
  for (int trial = 0; trial < 500; ++trial) {
    const auto stride = std::int64_t{1} << random.below(6);
    const std::int64_t coarsest = 1 + random.below(20);
    const std::int64_t slabs = 1 + random.below(coarsest);
    const SlabCut cut{.boundaries = even_boundaries(coarsest * stride, slabs)};
    for (std::int64_t level = 1; level <= stride; level *= 2) {
      const std::int64_t planes = coarsest * stride / level;
      std::int64_t before = 0;
      for (const PlaneRange& range : cut.owned(planes)) {
        EXPECT_EQ(range.first, before);
        EXPECT_GE(range.count(), 1) << planes << " planes, " << slabs << " slabs";
        before = range.last;
      }
      EXPECT_EQ(before, planes);
    }
  }
}

TEST(PlaneRangeTest, BoundariesNeedNotBeMultiplesOfTheStride) {
  const SlabCut cut{.boundaries = {0, 144, 288}};  // nine units of 32 planes
  EXPECT_EQ(cut.owned(288)[0].count(), 144);
  EXPECT_EQ(cut.owned(9)[0], (PlaneRange{0, 5}));  // 4.5 goes up
  EXPECT_EQ(cut.owned(18)[1], (PlaneRange{9, 18}));
}

}  // namespace
}  // namespace lamp
