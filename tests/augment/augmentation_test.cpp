// Augmentation: what each part does to a patch whose answer is known, and what it must never do.
#include "lamp/augment/augmentation.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <set>

#include "cases/patch_samples.h"
#include "lamp/base/errors.h"
#include "lamp/base/size3.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::numbered_patch;

const std::map<int, std::string> kOrgans = {
    {0, "background"}, {1, "Parotid_L"}, {2, "Parotid_R"}, {3, "Mandible"}};
const std::map<int, std::string> kUnsided = {{0, "background"}, {1, "liver"}, {2, "tumour"}};

AugmentConfig parse(const char* text) { return parse_augment_config(parse_json(text, "test")); }

std::string message_of(const char* text) {
  try {
    parse(text);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no error";
}

Patch run(const Patch& patch, const AugmentConfig& config, std::uint64_t seed = 1,
          const std::map<int, std::string>& labels = kOrgans) {
  Random random{seed};
  std::vector<int> annotated;
  return Augmenter(config, labels).augment(patch, annotated, random);
}

bool same(const Patch& a, const Patch& b) {
  return torch::equal(a.image, b.image) && torch::equal(a.label, b.label);
}

std::set<int> values_of(const torch::Tensor& label) {
  std::set<int> values;
  const torch::Tensor found = std::get<0>(at::_unique(label.to(torch::kLong)));
  for (std::int64_t i = 0; i < found.numel(); ++i) values.insert(found[i].item<int>());
  return values;
}

const char* const kEverything =
    R"({"preset": "han", "flip": {"probability": 1}, "rotate90": {"probability": 1},
    "affine": {"probability": 1}, "elastic": {"probability": 1, "sigma_voxels": [2, 3], "magnitude": [20, 60]},
    "intensity": {"probability": 1}, "gamma": {"probability": 1}, "noise": {"probability": 1, "kind": "gaussian"}})";

TEST(AugmentConfigTest, AbsentMeansNone) {
  EXPECT_EQ(parse_augment_config(Json()), AugmentConfig());
  EXPECT_EQ(parse(R"({"preset": "none"})"), AugmentConfig());
}

TEST(AugmentConfigTest, PresetsHoldThePapersNumbers) {
  const AugmentConfig han = parse(R"({"preset": "han"})");
  EXPECT_EQ(han.affine, (AffineConfig{0.8, 15, 10, 0.05, 0.2}));
  EXPECT_EQ(han.elastic, (ElasticConfig{0.8, {10, 50}, {600, 1200}}));
  EXPECT_EQ(han.flip.probability + han.rotate90.probability + han.noise.probability +
                han.gamma.probability,
            0);
  const AugmentConfig liver = parse(R"({"preset": "liver"})");
  EXPECT_EQ(liver.flip, (FlipConfig{0.1, {true, true, false}}));
  EXPECT_EQ(liver.rotate90.probability, 0.1);
  EXPECT_EQ(liver.noise, (NoiseConfig{1, false, 0.2}));
  EXPECT_EQ(liver.affine.probability + liver.elastic.probability, 0);
}

TEST(AugmentConfigTest, PartsReplaceThePresetsOwn) {
  const AugmentConfig config = parse(
      R"({"preset": "han", "elastic": {"probability": 0}, "affine": {"rotation_degrees": 5}, "gamma": {}})");
  EXPECT_EQ(config.elastic.probability, 0);
  EXPECT_EQ(config.affine, (AffineConfig{0.8, 5, 10, 0.05, 0.2}));
  EXPECT_EQ(config.gamma.probability, kNamedPartProbability) << "naming a part turns it on";
}

TEST(AugmentConfigTest, SurvivesARoundTrip) {
  for (const char* text : {"{}", R"({"preset": "han"})", R"({"preset": "liver"})", kEverything,
                           R"({"flip": {"axes": ["z"]}, "gamma": {"range": [0.5, 0.75]}})"}) {
    const AugmentConfig config = parse(text);
    EXPECT_EQ(parse_augment_config(to_json(config)), config) << text;
  }
}

TEST(AugmentConfigTest, ErrorsNameThePlaceAndWhatWasExpected) {
  EXPECT_THAT(message_of(R"({"preset": "liverr"})"),
              AllOf(HasSubstr("augment.preset"), HasSubstr("han, liver")));
  EXPECT_THAT(message_of(R"({"flips": {}})"),
              AllOf(HasSubstr("augment.flips"), HasSubstr("\"flip\"")));
  EXPECT_THAT(message_of(R"({"elastic": {"sigma": [1, 2]}})"),
              AllOf(HasSubstr("augment.elastic.sigma"), HasSubstr("sigma_voxels")));
  EXPECT_THAT(message_of(R"({"flip": true})"),
              HasSubstr("augment.flip: found true, expected an object"));
  EXPECT_THAT(message_of(R"({"flip": {"probability": 1.5}})"), HasSubstr("a number from 0 to 1"));
  EXPECT_THAT(message_of(R"({"flip": {"axes": ["left"]}})"), HasSubstr("augment.flip.axes"));
  EXPECT_THAT(message_of(R"({"flip": {"axes": []}})"), HasSubstr("augment.flip.axes"));
  EXPECT_THAT(message_of(R"({"elastic": {"sigma_voxels": [5, 2]}})"), HasSubstr("[low, high]"));
  EXPECT_THAT(message_of(R"({"elastic": {"sigma_voxels": 5}})"), HasSubstr("[low, high]"));
  EXPECT_THAT(message_of(R"({"elastic": {"sigma_voxels": [0, 2]}})"), HasSubstr("1 to 10000"));
  EXPECT_THAT(message_of(R"({"affine": {"scale": 1}})"), HasSubstr("0 to 0.9"));
  EXPECT_THAT(message_of(R"({"noise": {"kind": "pink"}})"), HasSubstr("uniform, gaussian"));
  EXPECT_THAT(message_of("[1]"), HasSubstr("augment: found [1], expected an object"));
}

TEST(AugmentationTest, NoneGivesThePatchItself) {
  const Patch patch = numbered_patch();
  EXPECT_TRUE(same(run(patch, AugmentConfig()), patch));
}

TEST(AugmentationTest, TheSameKeyGivesTheSamePatchOnAnyNumberOfThreads) {
  const Patch patch = numbered_patch(9, 40, 40);
  const AugmentConfig config = parse(kEverything);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Patch one = run(patch, config, 5);
  at::set_num_threads(3);
  const Patch three = run(patch, config, 5);
  at::set_num_threads(threads);
  EXPECT_TRUE(same(one, three));
  const Patch other = run(patch, config, 6);
  EXPECT_FALSE(torch::equal(one.image, other.image));
}

TEST(AugmentationTest, NeverTouchesTheGivenPatch) {
  const Patch patch = numbered_patch();
  const Patch copy{patch.image.clone(), patch.label.clone()};
  for (std::uint64_t seed = 0; seed < 8; ++seed) run(patch, parse(kEverything), seed);
  EXPECT_TRUE(same(patch, copy));
}

TEST(AugmentationTest, KeepsShapesTypesAndKnownLabels) {
  for (const auto type : {torch::kUInt8, torch::kInt16}) {
    Patch patch = numbered_patch(6, 9, 8);
    patch.label = (patch.label * 2).to(type);  // 0, 2, 4, 6: an average of two would show
    const std::map<int, std::string> labels = {{0, "background"}, {2, "a"}, {4, "b"}, {6, "c"}};
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const Patch changed = run(patch, parse(kEverything), seed, labels);
      EXPECT_EQ(changed.image.sizes(), patch.image.sizes());
      EXPECT_EQ(changed.label.sizes(), patch.label.sizes());
      EXPECT_EQ(changed.image.scalar_type(), torch::kFloat32);
      const bool moved_in = changed.label.to(torch::kInt16).eq(kNoScan).any().item<bool>();
      EXPECT_EQ(changed.label.scalar_type(), moved_in ? torch::kInt16 : type);
      EXPECT_TRUE(changed.image.isfinite().all().item<bool>());
      EXPECT_THAT(values_of(changed.label), ::testing::IsSubsetOf({-1, 0, 2, 4, 6}));
    }
  }
}

TEST(AugmentationTest, SingleSlicesAndSingleVoxelsSurvive) {
  for (const auto& size : {Shape3{1, 8, 8}, {1, 1, 1}, {4, 1, 3}}) {
    const Patch patch = numbered_patch(size[0], size[1], size[2]);
    const Patch changed = run(patch, parse(kEverything));
    EXPECT_EQ(changed.label.sizes(), patch.label.sizes());
    EXPECT_TRUE(changed.image.isfinite().all().item<bool>());
  }
}

TEST(AugmentationTest, AFlipMirrorsTheNamedAxis) {
  const Patch patch = numbered_patch();
  const struct {
    const char* config;
    std::int64_t dim;
  } axes[] = {{R"({"flip": {"probability": 1, "axes": ["x"]}})", 2},
              {R"({"flip": {"probability": 1, "axes": ["y"]}})", 1},
              {R"({"flip": {"probability": 1, "axes": ["z"]}})", 0}};
  for (const auto& axis : axes) {
    const Patch changed = run(patch, parse(axis.config), 1, kUnsided);
    EXPECT_TRUE(torch::equal(changed.image, patch.image.flip({axis.dim + 1}))) << axis.config;
    EXPECT_TRUE(torch::equal(changed.label, patch.label.flip({axis.dim}))) << axis.config;
  }
}

TEST(AugmentationTest, AMirroredPatchExchangesLeftAndRight) {
  const Patch patch = numbered_patch();
  const Patch changed = run(patch, parse(R"({"flip": {"probability": 1, "axes": ["x"]}})"));
  const torch::Tensor twin =
      torch::tensor({0, 2, 1, 3});  // Parotid_L <-> Parotid_R, the mandible stays
  EXPECT_TRUE(torch::equal(changed.label.to(torch::kLong),
                           twin.index({patch.label.flip({2}).to(torch::kLong)})));
}

// Were it otherwise, one and the same picture would come with two different labels.
TEST(AugmentationTest, AFlipOfYIsAFlipOfXAndAHalfTurn) {
  const Patch patch = numbered_patch();
  const Patch of_x = run(patch, parse(R"({"flip": {"probability": 1, "axes": ["x"]}})"));
  const Patch of_y = run(patch, parse(R"({"flip": {"probability": 1, "axes": ["y"]}})"));
  const Patch turned =
      run(of_x, parse(R"({"rotate90": {"probability": 1}})"));  // not square: a half turn
  EXPECT_TRUE(same(turned, of_y));
  const Patch of_both = run(patch, parse(R"({"flip": {"probability": 1, "axes": ["x", "y"]}})"));
  EXPECT_TRUE(torch::equal(of_both.label, patch.label.flip({1, 2})))
      << "two mirrors are a turn: labels stay";
}

TEST(AugmentationTest, AnnotatedLabelsAreExchangedAlong) {
  Random random{1};
  std::vector<int> annotated = {1, 3};
  const Augmenter mirror(parse(R"({"flip": {"probability": 1, "axes": ["x"]}})"), kOrgans);
  mirror.augment(numbered_patch(), annotated, random);
  EXPECT_THAT(annotated, ElementsAre(2, 3))
      << "an image with the left gland labelled shows it on the right now";
}

TEST(AugmentationTest, RefusesToMirrorALabelWithoutItsTwin) {
  const std::map<int, std::string> labels = {
      {0, "background"}, {1, "OpticNerve_L"}, {2, "Mandible"}};
  try {
    check_augment(parse(R"({"preset": "liver"})"), labels);
    FAIL() << "accepted";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(),
                AllOf(HasSubstr("1 \"OpticNerve_L\""), HasSubstr("\"OpticNerve_R\"")));
  }
  EXPECT_THROW(Augmenter(parse(R"({"preset": "liver"})"), labels), UsageError);
  EXPECT_NO_THROW(check_augment(parse(R"({"preset": "han"})"), labels)) << "nothing is mirrored";
  EXPECT_NO_THROW(check_augment(parse(R"({"preset": "liver"})"), kUnsided));
  EXPECT_NO_THROW(check_augment(parse(R"({"preset": "liver"})"), kOrgans));
}

TEST(AugmentationTest, QuarterTurnsKeepLabelsAndOnlyTurnSquares) {
  const Patch square = numbered_patch(3, 6, 6);
  std::set<std::int64_t> seen;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Patch changed = run(square, parse(R"({"rotate90": {"probability": 1}})"), seed);
    for (std::int64_t turns = 0; turns < 4; ++turns)
      if (torch::equal(changed.label, square.label.rot90(turns, {1, 2})) &&
          torch::equal(changed.image, square.image.rot90(turns, {2, 3})))
        seen.insert(turns);
  }
  EXPECT_THAT(seen, ElementsAre(1, 2, 3));
}

TEST(AugmentationTest, ProbabilitiesAreKept) {
  const Patch patch = numbered_patch(2, 2, 2);
  const AugmentConfig mirror = parse(R"({"flip": {"probability": 0.1, "axes": ["x"]}})");
  const AugmentConfig han = parse(R"({"preset": "han"})");
  int mirrored = 0, untouched = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    mirrored += !torch::equal(run(patch, mirror, seed).image, patch.image);
    untouched += run(patch, han, seed).image.is_same(patch.image);
  }
  EXPECT_NEAR(mirrored, 40, 24);
  // One draw decides on affine and elastic: 20 % are left alone, not 0.2 * 0.2 = 4 %.
  EXPECT_NEAR(untouched, 80, 32);
}

// centre + linear * (p - centre) + shift, voxel by voxel: a label from outside of the patch is not
// known, wherever it comes from, and neither is one that was not known before.
TEST(AugmentationTest, NoiseHasTheAskedDistribution) {
  const Patch patch{torch::full({1, 20, 50, 50}, 0.5F), torch::zeros({20, 50, 50}, torch::kUInt8)};
  const torch::Tensor even = run(patch, parse(R"({"noise": {"probability": 1}})")).image - 0.5F;
  EXPECT_LE(even.abs().max().item<float>(), 0.2F + 1e-6F);
  EXPECT_NEAR(even.std().item<float>(), 0.2 / std::sqrt(3), 0.002);
  EXPECT_NEAR(even.mean().item<float>(), 0, 0.002);
  const torch::Tensor normal =
      run(patch, parse(R"({"noise": {"probability": 1, "kind": "gaussian", "amplitude": 0.1}})"))
          .image -
      0.5F;
  EXPECT_NEAR(normal.std().item<float>(), 0.1, 0.002);
  EXPECT_GT(normal.abs().max().item<float>(), 0.3F);
}

TEST(AugmentationTest, GammaKeepsTheRangeAndTheOrder) {
  const torch::Tensor ramp = torch::linspace(-2, 3, 11);
  const Patch patch{ramp.view({1, 1, 1, 11}), torch::zeros({1, 1, 11}, torch::kUInt8)};
  const torch::Tensor changed =
      run(patch, parse(R"({"gamma": {"probability": 1, "range": [2, 2]}})")).image.flatten();
  EXPECT_TRUE(torch::allclose(changed, ((ramp + 2) / 5).pow(2) * 5 - 2, 1e-5, 1e-5));
  const Patch flat{torch::full({1, 1, 1, 11}, 7.0F), patch.label};
  EXPECT_TRUE(same(run(flat, parse(R"({"gamma": {"probability": 1}})")), flat))
      << "no range, nothing to do";
}

TEST(AugmentationTest, GammaTakesItsRangeFromTheScanAlone) {
  torch::Tensor image = torch::linspace(-2, 3, 11).view({1, 1, 1, 11}).clone();
  torch::Tensor label = torch::zeros({1, 1, 11}, torch::kInt16);
  label.slice(2, 8, 11).fill_(-1);
  const torch::Tensor shown = image.slice(3, 0, 8).clone();  // -2 ... 1.5
  image.slice(3, 8, 11).copy_(torch::tensor({-100.0F, 1.0F, 100.0F}));
  const Patch changed =
      run({image, label}, parse(R"({"gamma": {"probability": 1, "range": [2, 2]}})"));
  const torch::Tensor expected = ((shown + 2) / 3.5).pow(2) * 3.5 - 2;
  EXPECT_TRUE(torch::allclose(changed.image.slice(3, 0, 8), expected, 1e-5, 1e-5));
  EXPECT_TRUE(changed.image.isfinite().all().item<bool>());
  EXPECT_GE(changed.image.min().item<float>(), -2 - 1e-5);
  EXPECT_LE(changed.image.max().item<float>(), 1.5 + 1e-5);
  const Patch nothing{image, torch::full_like(label, -1)};
  EXPECT_TRUE(same(run(nothing, parse(R"({"gamma": {"probability": 1}})")), nothing));
}

TEST(AugmentationTest, WhatWasNotSeenStaysSoWhenMirroredAndTurned) {
  Patch patch = numbered_patch(3, 6, 6);
  patch.label = patch.label.to(torch::kInt16);
  patch.label.slice(2, 4, 6).fill_(-1);
  const Patch mirrored = run(patch, parse(R"({"flip": {"probability": 1, "axes": ["x"]}})"));
  EXPECT_TRUE(torch::equal(mirrored.label.eq(-1), patch.label.eq(-1).flip({2})));
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const Patch turned = run(patch, parse(R"({"rotate90": {"probability": 1}})"), seed);
    EXPECT_EQ(turned.label.eq(-1).sum().item<int>(), 3 * 6 * 2);
  }
}

TEST(AugmentationTest, IntensityIsOneLineForTheWholePatch) {
  const torch::Tensor ramp = torch::arange(11, torch::kFloat32);
  const Patch patch{ramp.view({1, 1, 1, 11}), torch::zeros({1, 1, 11}, torch::kUInt8)};
  const torch::Tensor changed =
      run(patch, parse(R"({"intensity": {"probability": 1, "shift": 0.5, "scale": 0.25}})"))
          .image.flatten();
  const double shift = changed[0].item<float>(),
               scale = (changed[10] - changed[0]).item<float>() / 10 - 1;
  EXPECT_LE(std::abs(shift), 0.5);
  EXPECT_LE(std::abs(scale), 0.25);
  EXPECT_NE(shift, 0);
  EXPECT_NE(scale, 0);
  EXPECT_TRUE(torch::allclose(changed, ramp * (1 + scale) + shift, 1e-5, 1e-4));
}

}  // namespace
}  // namespace lamp
