#include "lamp/experiment/patch_probe.h"

#include <gtest/gtest.h>

#include "lamp/base/size3.h"

namespace lamp {
namespace {

ProbeOptions probe(const std::string& kind, Size3 size) {
  ProbeOptions options{.patch = {16, 16, 16}, .train_cases = 24, .test_cases = 24, .steps = 60};
  options.phantoms = {.kind = kind, .size = size, .seed = 3};
  options.data.to_lps = false;
  options.data.window = {{-100, 200}};
  return options;
}

TEST(PatchProbeTest, FindsACueWhereThereIsOne) {
  // Left and right organs of the head look alike too, but the nine kinds do not: chance is 1 in 9.
  const ProbeResult result = probe_patches(probe("han", {64, 64, 48}));
  EXPECT_NEAR(result.chance, 1.0 / 9, 1e-12);
  EXPECT_FALSE(result.at_chance()) << result.accuracy;
  EXPECT_GT(result.accuracy, 0.3);
}

TEST(PatchProbeTest, StaysAtChanceOnPatchesOfTwinsWithinReach) {
  const ProbeResult result = probe_patches(probe("twins", {80, 64, 56}));
  EXPECT_EQ(result.chance, 0.5);
  // Three standard errors: another machine's rounding draws another number.
  EXPECT_LT(result.accuracy, result.chance + 3 * result.standard_error);
  EXPECT_EQ(result.patches, 24 * 2 * 2);
}

TEST(PatchProbeTest, TheSameOptionsGiveTheSameResult) {
  ProbeOptions options = probe("twins", {80, 64, 56});
  options.train_cases = options.test_cases = 6;
  options.steps = 5;
  EXPECT_EQ(probe_patches(options).accuracy, probe_patches(options).accuracy);
}

}  // namespace
}  // namespace lamp
