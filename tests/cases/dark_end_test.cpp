// Made-up histograms, in which the level, the shares and the factor are known.
#include "lamp/cases/dark_end.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lamp/phantoms/phantom.h"

namespace lamp {
namespace {

ValueCounts counts_of(const torch::Tensor& values) {
  return count_intensities(values.to(torch::kFloat32).reshape({1, 1, 1, -1}), {})[0].all();
}

// Air, fat, muscle and bone, evenly spread over 2 * `spread` around their values.
torch::Tensor scan(std::int64_t air, double spread = 10, std::int64_t fat = 2000) {
  const auto around = [&](double value, std::int64_t count) {
    return value + spread * torch::linspace(-1, 1, count, torch::kFloat64);
  };
  return torch::cat({around(-1000, air), around(-100, fat), around(50, 4000), around(800, 500)});
}

TEST(DarkEndTest, IsWhereTheDarkestVoxelsGather) {
  const DarkEnd found = dark_end(counts_of(scan(3500)));
  EXPECT_TRUE(found.clear());
  EXPECT_NEAR(found.level, -1000, 1);
  EXPECT_NEAR(found.share, 0.35, 0.001);
  EXPECT_NEAR(found.span, 1800, 25);
  EXPECT_EQ(found.beyond, 0);
}

TEST(DarkEndTest, PaddingIsNoDarkEnd) {
  const torch::Tensor padded = torch::cat({scan(3500), torch::full({9000}, -3024.)});
  EXPECT_NEAR(dark_end(counts_of(padded)).level, -1000, 1);
  EXPECT_NEAR(dark_end(counts_of(padded)).share, 0.35, 0.001) << "of what is no padding";
}

TEST(DarkEndTest, NoneWithoutValuesOrContrast) {
  EXPECT_FALSE(dark_end({}).clear());
  EXPECT_FALSE(dark_end(counts_of(torch::full({100}, -1000.))).clear());
  EXPECT_FALSE(dark_end(counts_of(torch::linspace(-1000, 1000, 9000))).clear()) << "evenly spread";
}

TEST(DarkEndTest, TheRangeOfTrainingIsThatOfMostCases) {
  const DarkEnd clear{.level = -1000, .span = 1500, .share = 0.4};
  const DarkEnd other{.level = -980, .span = 1900, .share = 0.2};
  const DarkEnd unclear{.level = -100, .span = 300, .share = 0.01};
  const auto range = dark_range({clear, unclear, other});
  ASSERT_TRUE(range);
  EXPECT_EQ(range->level, (std::array<double, 2>{-1000, -980}));
  EXPECT_EQ(range->span, (std::array<double, 2>{1500, 1900}));
  EXPECT_FALSE(dark_range({clear, unclear})) << "half of the cases";
  EXPECT_FALSE(dark_range({}));
  EXPECT_FALSE(dark_range({{.level = 0, .span = 900, .share = 0.4}})) << "MR";
}

TEST(DarkEndTest, AFactorIsFound) {
  const auto range = dark_range({dark_end(counts_of(scan(3500)))});
  ASSERT_TRUE(range);
  for (const double factor : {0.05, 0.1, 0.25, 0.5, 0.6}) {
    const auto found = shrunk_by(dark_end(counts_of(scan(5000, 20) * factor)), *range);
    ASSERT_TRUE(found) << factor;
    EXPECT_NEAR(*found, factor, 0.01 * factor);
  }
  for (const double factor : {0.8, 1., 1.2, 2.})
    EXPECT_FALSE(shrunk_by(dark_end(counts_of(scan(5000) * factor)), *range)) << factor;
}

// What is left of a CT without its air ends in fat, near a tenth of air's level.
TEST(DarkEndTest, CropsWithoutAirAreNotShrunk) {
  const auto range = dark_range({dark_end(counts_of(scan(3500)))});
  ASSERT_TRUE(range);
  for (const std::int64_t fat : {0, 500, 2000, 10000, 50000}) {
    for (const double spread : {20., 40.}) {
      const torch::Tensor crop = scan(0, spread, fat);
      EXPECT_FALSE(shrunk_by(dark_end(counts_of(crop)), *range)) << fat << " " << spread;
      const torch::Tensor no_bone = crop.masked_select(crop < 300);
      EXPECT_FALSE(shrunk_by(dark_end(counts_of(no_bone)), *range)) << fat << " " << spread;
    }
  }
  const torch::Tensor lung = torch::cat({-850 + 60 * torch::linspace(-1, 1, 5000), scan(0)});
  EXPECT_FALSE(shrunk_by(dark_end(counts_of(lung)), *range));
}

TEST(DarkEndTest, OrdinaryVariationIsNotShrunk) {
  torch::manual_seed(9);
  for (const char* kind : {"han", "liver"}) {
    const auto image_of = [&](std::uint64_t seed, int index) {
      return draw_phantom({.kind = kind, .size = {64, 64, 48}, .seed = seed}, true, index)
          .image.voxels[0]
          .to(torch::kFloat32);
    };
    std::vector<DarkEnd> training;
    for (int i = 0; i < 4; ++i) training.push_back(dark_end(counts_of(image_of(1, i))));
    const auto range = dark_range(training);
    ASSERT_TRUE(range) << kind;
    const torch::Tensor image = image_of(21, 0);
    ASSERT_TRUE(shrunk_by(dark_end(counts_of(image * 0.5)), *range)) << kind;
    for (std::int64_t z = 0; z + 12 <= image.size(0); z += 9) {
      for (std::int64_t x = 0; x + 16 <= image.size(2); x += 12) {
        for (const std::int64_t step : {1, 2}) {
          const torch::Tensor part = image.slice(0, z, z + 12, step).slice(2, x, x + 16);
          for (const double noise : {0., 10., 25.})
            for (const double shift : {-30., 30.})
              EXPECT_FALSE(shrunk_by(
                  dark_end(counts_of(part + shift + noise * torch::randn_like(part))), *range))
                  << kind << " z " << z << " x " << x << " noise " << noise << " shift " << shift;
        }
      }
    }
  }
}

}  // namespace
}  // namespace lamp
