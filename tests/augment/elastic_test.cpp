// The coarse field against the plain one: full-size noise filtered by a truncated Gaussian with
// zeros outside.
#include "lamp/augment/elastic.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <numbers>
#include <vector>

namespace lamp {
namespace {

constexpr double kSigma = 3;
constexpr double kMagnitude = 100;
constexpr std::int64_t kSize = 36;

torch::Tensor plain_field(std::int64_t seed) {
  const auto tail = static_cast<std::int64_t>(std::lround(3 * kSigma));
  const torch::Tensor offsets = torch::arange(-tail, tail + 1, torch::kFloat32);
  const torch::Tensor kernel =
      torch::exp(-offsets.square() / (2 * kSigma * kSigma)) / (std::sqrt(2 * M_PI) * kSigma);
  torch::manual_seed(seed);
  torch::Tensor field = torch::rand({3, 1, kSize, kSize, kSize}) * 2 - 1;
  const std::int64_t taps = 2 * tail + 1;
  field = torch::conv3d(field, kernel.view({1, 1, taps, 1, 1}), {}, 1, {tail, 0, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, taps, 1}), {}, 1, {0, tail, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, 1, taps}), {}, 1, {0, 0, tail});
  return field.squeeze(1) * kMagnitude;
}

torch::Tensor coarse_field(std::uint64_t seed) {
  Random random{seed};
  const ElasticField field({kSize, kSize, kSize}, {.sigma_voxels = kSigma, .magnitude = kMagnitude},
                           random);
  return field.slices(0, kSize);
}

// Means over fields of what characterises one.
struct Statistics {
  double whole = 0;   // standard deviation over the whole volume
  double inside = 0;  // at least 3 sigma from every border
  double face = 0;    // in the outermost slice along z, away from other borders
  double length = 0;  // of smoothness: the sigma of exp(-d^2 / (4 sigma^2)) between neighbours
  std::vector<double> correlation =
      std::vector<double>(4);  // over sigma, 2 sigma, 3 sigma, 4 sigma along z, inside
};

template <typename Draw>
Statistics statistics(const Draw& draw) {
  constexpr int kFields = 24;
  constexpr std::int64_t margin = 3 * static_cast<std::int64_t>(kSigma);
  constexpr std::int64_t inner = kSize - 2 * margin;
  Statistics sum;
  std::vector<double> lag_products(4);
  double variance = 0, whole = 0, face = 0, differences = 0;
  for (int i = 0; i < kFields; ++i) {
    const torch::Tensor field = draw(i + 1);
    const torch::Tensor column = field.narrow(2, margin, inner).narrow(3, margin, inner);
    const torch::Tensor inside = column.narrow(1, margin, inner);
    whole += field.square().mean().template item<double>();
    variance += inside.square().mean().template item<double>();
    for (std::int64_t axis = 1; axis <= 3; ++axis)
      differences += inside.diff(1, axis).square().mean().template item<double>() / 3;
    face += column.narrow(1, 0, 1).square().mean().template item<double>();
    for (std::size_t lag = 0; lag < 4; ++lag) {
      const auto distance = static_cast<std::int64_t>(static_cast<double>(lag + 1) * kSigma);
      const std::int64_t length = inner - distance;
      const torch::Tensor product =
          inside.narrow(1, 0, length) * inside.narrow(1, distance, length);
      lag_products[lag] += product.mean().template item<double>();
    }
  }
  sum.whole = std::sqrt(whole / kFields);
  sum.inside = std::sqrt(variance / kFields);
  sum.face = std::sqrt(face / kFields);
  sum.length = std::sqrt(-0.25 / std::log(1 - differences / (2 * variance)));
  for (std::size_t lag = 0; lag < 4; ++lag) sum.correlation[lag] = lag_products[lag] / variance;
  return sum;
}

// As elastic.h derives it.
double derived_deviation() {
  const double squared_kernel = 1 / (2 * std::sqrt(std::numbers::pi) * kSigma);
  return kMagnitude * std::sqrt(std::pow(squared_kernel, 3) / 3);
}

TEST(ElasticFieldTest, DisplacementsFollowTheDerivedDeviationAndCorrelation) {
  const Statistics coarse = statistics(coarse_field);
  const double expected = derived_deviation();
  EXPECT_NEAR(coarse.inside, expected, 0.1 * expected);
  EXPECT_NEAR(coarse.length, kSigma, 0.1 * kSigma);
  // Half of the kernel's square lies outside at a face.
  EXPECT_NEAR(coarse.face, expected / std::sqrt(2), 0.1 * expected);
  for (std::size_t lag = 0; lag < 4; ++lag) {
    const double distance = static_cast<double>(lag + 1);
    EXPECT_NEAR(coarse.correlation[lag], std::exp(-distance * distance / 4), 0.1)
        << "over " << distance << " sigma";
  }
}

TEST(ElasticFieldTest, DisplacementsMatchThePlainOnesEverywhere) {
  const Statistics coarse = statistics(coarse_field), plain = statistics(plain_field);
  EXPECT_NEAR(coarse.whole / plain.whole, 1, 0.1);
  EXPECT_NEAR(coarse.inside / plain.inside, 1, 0.1);
  EXPECT_NEAR(coarse.face / plain.face, 1, 0.1);
  EXPECT_NEAR(coarse.length / plain.length, 1, 0.1);
  for (std::size_t lag = 0; lag < 4; ++lag)
    EXPECT_NEAR(coarse.correlation[lag], plain.correlation[lag], 0.1);
}

// At the centre the variance is a third of the product, over the axes, of the summed squared
// weights inside.
TEST(ElasticFieldTest, AVolumeSmallerThanSigmaMovesAsOneAndLess) {
  const ElasticOptions options{.sigma_voxels = 30, .magnitude = 1000};
  const std::int64_t size = 12;
  double variance = 0, spread = 0, plain = 0;
  const int draws = 400;
  for (int i = 0; i < draws; ++i) {
    Random random{static_cast<std::uint64_t>(i)};
    const torch::Tensor field = ElasticField({size, size, size}, options, random).slices(0, size);
    variance += field.index({torch::indexing::Slice(), 6, 6, 6}).square().mean().item<double>();
    spread += field.flatten(1).std(1).mean().item<double>();
  }
  for (std::int64_t v = 0; v < size; ++v) {
    const double g =
        std::exp(-std::pow(static_cast<double>(v - 6) / 30, 2) / 2) / (std::sqrt(2 * M_PI) * 30);
    plain += g * g;
  }
  const double expected = 1000 * std::sqrt(std::pow(plain, 3) / 3);
  const double found = std::sqrt(variance / draws);
  EXPECT_NEAR(found, expected, 0.1 * expected);
  EXPECT_LT(spread / draws, 0.3 * found) << "neighbours within sigma move together";
}

TEST(ElasticFieldTest, SlicesAreParts) {
  Random random{9};
  const ElasticField field({10, 7, 45}, {.sigma_voxels = 2, .magnitude = 10}, random);
  EXPECT_TRUE(torch::equal(field.slices(3, 4), field.slices(0, 10).narrow(1, 3, 4)));
  EXPECT_THROW(field.slices(8, 3), c10::Error);
}

TEST(ElasticFieldTest, RefusesASigmaBelowAVoxel) {
  Random random{9};
  EXPECT_THROW(ElasticField({4, 4, 4}, {.sigma_voxels = 0.5}, random), c10::Error);
}

}  // namespace
}  // namespace lamp
