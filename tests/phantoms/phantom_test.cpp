// Phantoms promise: the same bytes for the same seed, true relative sizes, sides that only the
// whole picture tells.
#include "lamp/phantoms/phantom.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/datalist.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/phantoms/phantom_twins.h"
#include "lamp/volume/orientation.h"
#include "phantoms/phantom_fixture.h"
#include "support/folder_contents.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;

using lamp::testing::contents_of;

using PhantomTest = lamp::testing::PhantomFixture;

// The mean physical position of a label's voxels.
std::array<double, 3> centroid(const Volume& label, int id) {
  const torch::Tensor places = torch::nonzero(label.voxels[0] == id).to(torch::kFloat64).mean(0);
  return label.geometry.point(
      {places[2].item<double>(), places[1].item<double>(), places[0].item<double>()});
}

double volume_ml(const Volume& label, int id) {
  return static_cast<double>((label.voxels == id).sum().item<std::int64_t>()) *
         label.geometry.voxel_volume_mm3() / 1000;
}

TEST_F(PhantomTest, SameSeedGivesTheSameBytesWithAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  for (const char* kind : {"han", "liver", "twins"}) {
    at::set_num_threads(1);
    write_phantoms(options(kind, std::string(kind) + "1"));
    at::set_num_threads(2);
    write_phantoms(options(kind, std::string(kind) + "2"));
    const auto first = contents_of(folder_ / (std::string(kind) + "1"));
    EXPECT_EQ(first.size(), 7U + 4U);  // files and folders
    EXPECT_TRUE(first == contents_of(folder_ / (std::string(kind) + "2"))) << kind;
  }
  at::set_num_threads(threads);
}

TEST_F(PhantomTest, AnotherSeedGivesOtherImages) {
  PhantomOptions other = options("han");
  other.seed = 6;
  const PhantomCase a = draw_phantom(options("han"), true, 0), b = draw_phantom(other, true, 0);
  EXPECT_FALSE(a.image.geometry.size == b.image.geometry.size &&
               torch::equal(a.image.voxels, b.image.voxels));
}

TEST_F(PhantomTest, TestCasesDoNotDependOnTheNumberOfTrainingCases) {
  PhantomOptions more = options("liver");
  more.train = 9;
  EXPECT_TRUE(torch::equal(draw_phantom(options("liver"), false, 0).image.voxels,
                           draw_phantom(more, false, 0).image.voxels));
}

TEST_F(PhantomTest, OrgansHaveTheirTrueRelativeVolumes) {
  PhantomOptions full = options("han");
  full.size = {96, 96, 64};
  constexpr int kCases = 3;
  const std::vector<double> expected_ml = {25, 0.5, 60, 0.7, 0.7, 28, 28, 9, 9};
  std::vector<double> mean_ml(expected_ml.size(), 0);
  for (int i = 0; i < kCases; ++i) {
    const PhantomCase drawn = draw_phantom(full, true, i);
    for (std::size_t organ = 0; organ < mean_ml.size(); ++organ)
      mean_ml[organ] += volume_ml(drawn.label, static_cast<int>(organ) + 1) / kCases;
  }
  for (std::size_t organ = 0; organ < mean_ml.size(); ++organ) {
    EXPECT_GT(mean_ml[organ], 0.7 * expected_ml[organ]) << "label " << organ + 1;
    EXPECT_LT(mean_ml[organ], 1.3 * expected_ml[organ]) << "label " << organ + 1;
  }
}

// A tube's volume goes with the square of its thickness, an ellipsoid's with the cube; the ends of
// the nerves and the canvas take some of it.
TEST_F(PhantomTest, ThinOrgansAreDrawnThickerAndTheOthersAreNot) {
  PhantomOptions plain = options("han");
  plain.size = {96, 96, 64};
  PhantomOptions thick = plain;
  thick.thin_organs = 2;
  const PhantomCase before = draw_phantom(plain, true, 0), after = draw_phantom(thick, true, 0);
  const auto grown = [&](int id) {
    return volume_ml(after.label, id) / volume_ml(before.label, id);
  };
  EXPECT_NEAR(grown(2), 8, 1.6);
  for (const int nerve : {4, 5}) EXPECT_NEAR(grown(nerve), 4, 1.2) << nerve;
  for (const int other : {3, 6, 7, 8, 9}) EXPECT_NEAR(grown(other), 1, 0.02) << other;
  thick.thin_organs = 0.5;
  EXPECT_THROW(write_phantoms(thick), UsageError);
  PhantomOptions liver = options("liver");
  liver.thin_organs = 2;
  EXPECT_THROW(write_phantoms(liver), UsageError);
}

TEST_F(PhantomTest, EveryOrganIsPresentOnASmallGridToo) {
  PhantomOptions small = options("han");
  small.size = {64, 64, 48};
  for (int i = 0; i < 4; ++i) {
    const PhantomCase drawn = draw_phantom(small, true, i);
    for (int id = 1; id <= 9; ++id)
      EXPECT_GT(volume_ml(drawn.label, id), 0) << "case " << i << " label " << id;
  }
}

TEST_F(PhantomTest, TheLeftTwinLiesAtLargerXThanTheRightOne) {
  for (int i = 0; i < 6; ++i) {
    const PhantomCase head = draw_phantom(options("han"), true, i);
    for (const int left : {6, 8})
      EXPECT_GT(centroid(head.label, left)[0], centroid(head.label, left + 1)[0]) << i;
    const PhantomCase twins = draw_phantom(options("twins"), true, i);
    EXPECT_GT(centroid(twins.label, 1)[0], centroid(twins.label, 2)[0]) << i;
  }
}

TEST_F(PhantomTest, SomeCasesAreStoredWithOtherAxes) {
  std::map<std::string, int> straight;
  for (const char* kind : {"han", "twins"})
    for (int i = 0; i < 16; ++i) {
      PhantomOptions small = options(kind);
      small.size = {32, 32, 32};
      straight[kind] +=
          draw_phantom(small, true, i).image.geometry.direction == Geometry().direction;
    }
  EXPECT_THAT(straight["han"],
              ::testing::AllOf(::testing::Ge(8), ::testing::Lt(16)));  // three in four
  EXPECT_THAT(straight["twins"],
              ::testing::AllOf(::testing::Ge(3), ::testing::Le(13)));  // one in two
}

TEST_F(PhantomTest, CasesVaryInSizeAndHaveAnisotropicSpacing) {
  std::set<Size3> sizes;
  for (int i = 0; i < 4; ++i) {
    const PhantomCase drawn = draw_phantom(options("liver"), true, i);
    sizes.insert(drawn.image.geometry.size);
    EXPECT_EQ(drawn.image.voxels.scalar_type(), torch::kInt16);
    EXPECT_EQ(drawn.label.voxels.scalar_type(), torch::kUInt8);
    std::array<double, 3> spacing = drawn.image.geometry.spacing_mm;
    std::sort(spacing.begin(), spacing.end());
    EXPECT_LT(spacing[0], spacing[2]);
  }
  EXPECT_GT(sizes.size(), 1U);
}

TEST_F(PhantomTest, LiversHoldTumoursOfDifferentNumberAndSize) {
  std::set<bool> with_tumour;
  for (int i = 0; i < 12; ++i) {
    const PhantomCase drawn = draw_phantom(options("liver"), true, i);
    EXPECT_GT(volume_ml(drawn.label, 1), 500);
    with_tumour.insert(volume_ml(drawn.label, 2) > 0);
  }
  EXPECT_EQ(with_tumour.size(), 2U);  // cases with and cases without
}

// Every 32^3 patch that touches a twin lies inside the twin's bounding box grown by 31 voxels on
// each side.
TEST_F(PhantomTest, APatchThatTouchesATwinShowsNoCueToItsSide) {
  for (int i = 0; i < 4; ++i) {
    Random random({3, static_cast<std::uint64_t>(i)});
    const Size3 size = {136 - 2 * i, 112 - 2 * i, 96 - 2 * i};
    const Scene scene = draw_twins({.size = size}, random);
    for (const int id : {1, 2}) {
      const torch::Tensor places = torch::nonzero(scene.label.voxels[0] == id);
      ASSERT_GT(places.size(0), 100);
      const torch::Tensor low = std::get<0>(places.min(0)) - 31,
                          high = std::get<0>(places.max(0)) + 32;
      torch::Tensor image = scene.image.voxels[0], label = scene.label.voxels[0];
      for (std::int64_t a = 0; a < 3; ++a) {
        const auto begin = low[a].item<std::int64_t>(), end = high[a].item<std::int64_t>();
        ASSERT_GE(begin, 0) << "the volume's border is in reach along axis " << a;
        ASSERT_LE(end, image.size(a)) << "the volume's border is in reach along axis " << a;
        image = image.slice(a, begin, end);
        label = label.slice(a, begin, end);
      }
      EXPECT_GT(image.min().item<int>(), -200) << "skin or air in reach";
      EXPECT_LT(image.max().item<int>(), 250) << "the landmark in reach";
      EXPECT_EQ((label == 3 - id).sum().item<std::int64_t>(), 0) << "the other twin in reach";
    }
    EXPECT_GT(scene.image.voxels.max().item<int>(), 700) << "no landmark at all";
  }
}

TEST_F(PhantomTest, TwinsOfOneCaseAreTheSameShape) {
  Random random({4});
  const Scene scene = draw_twins({.size = {136, 112, 96}}, random);
  const auto shape = [&](int id) {
    const torch::Tensor places = torch::nonzero(scene.label.voxels[0] == id);
    return places - std::get<0>(places.min(0));
  };
  EXPECT_TRUE(torch::equal(shape(1), shape(2)));
}

TEST_F(PhantomTest, MissingAnnotationsAreListedAndErased) {
  PhantomOptions half = options("han");
  half.train = 6;
  half.missing = 0.5;
  write_phantoms(half);
  const Dataset dataset = read_dataset(half.folder);
  std::size_t annotated = 0;
  for (const Case& entry : dataset.training) {
    ASSERT_TRUE(entry.annotated);
    annotated += entry.annotated->size();
    for (const auto& [value, voxels] : count_values(read_case_label(entry, dataset).voxels)) {
      if (value == 0) continue;
      EXPECT_THAT(*entry.annotated, ::testing::Contains(value)) << entry.name;
    }
  }
  EXPECT_THAT(annotated,
              ::testing::AllOf(::testing::Gt(13U), ::testing::Lt(41U)));  // 27 expected of 54
  EXPECT_TRUE(check_dataset(half.folder).ok());
}

TEST_F(PhantomTest, OneOrganAlwaysStaysAnnotated) {
  PhantomOptions none = options("han");
  none.missing = 1;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(draw_phantom(none, true, i).annotated.size(), 1U);
  EXPECT_EQ(draw_phantom(none, false, 0).annotated.size(), 9U);  // test cases keep all
}

TEST_F(PhantomTest, MissingAnnotationsLeaveTheImageAlone) {
  PhantomOptions half = options("han");
  half.missing = 0.5;
  EXPECT_TRUE(torch::equal(draw_phantom(half, true, 1).image.voxels,
                           draw_phantom(options("han"), true, 1).image.voxels));
}

TEST_F(PhantomTest, RefusesOptionsOutOfRange) {
  const auto refused = [&](auto change) {
    PhantomOptions bad = options("han");
    change(bad);
    EXPECT_THROW(write_phantoms(bad), UsageError);
    EXPECT_FALSE(fs::exists(bad.folder));
  };
  refused([](PhantomOptions& o) { o.kind = "knee"; });
  refused([](PhantomOptions& o) { o.train = -1; });
  refused([](PhantomOptions& o) { o.train = o.test = 0; });
  refused([](PhantomOptions& o) { o.missing = 1.5; });
  refused([](PhantomOptions& o) { o.missing = std::nan(""); });
  refused([](PhantomOptions& o) { o.size = {31, 64, 64}; });
  for (const char* text :
       {"64", "64,64", "64,64,64,64", "64,64,x", "", "64,,64", "-64,64,64", "64,64,64 "})
    EXPECT_THROW(parse_phantom_size(text), UsageError) << text;
  EXPECT_EQ(parse_phantom_size("96,80,64"), (Size3{96, 80, 64}));
}

}  // namespace
}  // namespace lamp
