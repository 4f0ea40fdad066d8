// Counting against definitions written out here, and which images are called unlike the training's:
// phantoms drawn anew, cut and padded are not; scaled, inverted and foreign ones are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "lamp/cases/intensity_check.h"
#include "lamp/cases/intensity_stats.h"
#include "lamp/cases/preprocess.h"
#include "lamp/phantoms/phantom.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

// The smallest value that at least `share` of the sorted values do not exceed.
double quantile_of(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  const auto rank =
      static_cast<std::int64_t>(std::ceil(share * static_cast<double>(values.size()) - 1e-9));
  return values[static_cast<std::size_t>(std::max<std::int64_t>(rank, 1) - 1)];
}

std::vector<double> values_of(const torch::Tensor& tensor) {
  const torch::Tensor flat = tensor.to(torch::kFloat64).flatten().contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

TEST(IntensityTest, PercentilesMeanAndDeviationAreThoseOfTheVoxels) {
  torch::manual_seed(5);
  const torch::Tensor whole = torch::randint(-1024, 3072, {1, 20, 30, 40}).to(torch::kFloat32);
  const torch::Tensor fine = torch::randn({1, 20, 30, 40}) * 300 - 40;
  for (const torch::Tensor& image : {whole, fine}) {
    const Json json = to_json(count_intensities(image, {})[0].all());
    const std::vector<double> values = values_of(image);
    EXPECT_EQ(json["voxels"], 24000);
    for (const auto& [percent, value] : json["percentiles"].items()) {
      const double expected = quantile_of(values, std::stod(percent) / 100);
      // Whole numbers have a bin each; the others' bins are 1/256 of their value wide at most.
      const double tolerance = torch::equal(image, whole) ? 0 : 0.01 + std::abs(expected) / 256;
      EXPECT_NEAR(value.get<double>(), expected, tolerance) << percent;
    }
    const torch::Tensor exact = image.to(torch::kFloat64);
    EXPECT_NEAR(json["mean"].get<double>(), exact.mean().item<double>(), 1e-6);
    EXPECT_NEAR(json["sd"].get<double>(), exact.std(/*unbiased=*/false).item<double>(), 1e-6);
  }
}

TEST(IntensityTest, SmallWholeNumbersAreCountedExactly) {
  const torch::Tensor image =
      torch::tensor({-1000., -1000., -3., -0., 0., 7., 7., 2047.}).to(torch::kFloat32);
  const ValueCounts counts = count_intensities(image.reshape({1, 2, 2, 2}), {})[0].all();
  EXPECT_EQ(counts.values, (std::vector<float>{-1000, -3, 0, 7, 2047}));
  EXPECT_EQ(counts.counts, (std::vector<std::int64_t>{2, 1, 2, 2, 1}));
  EXPECT_EQ(counts.share_at_most(-3), 3 / 8.);
  EXPECT_EQ(counts.share_at_least(7), 3 / 8.);
}

TEST(IntensityTest, InsideAndOutsideAreTheLabelsAndUnseenVoxelsAreNeither) {
  torch::manual_seed(6);
  const torch::Tensor image = torch::randint(0, 100, {2, 6, 7, 8}).to(torch::kFloat32);
  const torch::Tensor label = torch::randint(-1, 3, {6, 7, 8}).to(torch::kInt16);
  const Intensities found = count_intensities(image, label);
  ASSERT_EQ(found.size(), 2U);
  for (std::int64_t c = 0; c < 2; ++c) {
    const auto& channel = found[static_cast<std::size_t>(c)];
    EXPECT_EQ(channel.inside.total, (label > 0).sum().item<std::int64_t>());
    EXPECT_EQ(channel.outside.total, (label == 0).sum().item<std::int64_t>());
    EXPECT_NEAR(channel.inside.mean,
                image[c].masked_select(label > 0).to(torch::kFloat64).mean().item<double>(), 1e-9);
  }
  const torch::Tensor broken = torch::full({1, 1, 1, 2}, std::nanf(""));
  EXPECT_EQ(count_intensities(broken, {})[0].all().total, 0);
}

TEST(IntensityTest, TheEdgeIsEveryOutermostVoxelOnce) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{1, 4, 5, 6}, {1, 1, 5, 6}, {1, 2, 3, 3}, {1, 3, 3, 3}}) {
    const torch::Tensor image = torch::arange(shape[1] * shape[2] * shape[3], torch::kFloat32);
    torch::Tensor inner = torch::zeros({shape[1], shape[2], shape[3]});
    if (shape[1] > 2) inner.slice(0, 1, -1).slice(1, 1, -1).slice(2, 1, -1).fill_(1);
    const ValueCounts edge = count_intensities(image.reshape(shape), {})[0].edge;
    EXPECT_EQ(edge.total, (inner == 0).sum().item<std::int64_t>()) << shape;
    EXPECT_EQ(static_cast<std::int64_t>(edge.values.size()), edge.total) << "each once";
  }
}

TEST(IntensityTest, BoundedInMemoryAndUnchangedByPacking) {
  torch::manual_seed(7);
  const torch::Tensor image = torch::randn({1, 60, 60, 60}) * 1e4;
  const Intensities found = count_intensities(image, {});
  EXPECT_LE(found[0].outside.values.size(), kMostBins);
  const torch::Tensor packed = pack_intensities(found);
  EXPECT_TRUE(torch::equal(pack_intensities(unpack_intensities(packed)), packed));
  EXPECT_TRUE(torch::equal(pack_intensities(count_intensities(image, {})), packed));
  EXPECT_TRUE(unpack_intensities(torch::empty({0}, torch::kInt64)).empty());
  EXPECT_THROW(unpack_intensities(packed.slice(0, 0, packed.numel() - 1)), c10::Error);
  EXPECT_THROW(unpack_intensities(torch::full({9}, -7, torch::kInt64)), c10::Error);
}

TEST(IntensityTest, PartsAddUpToTheWhole) {
  torch::manual_seed(8);
  const torch::Tensor image = torch::randint(-50, 900, {1, 9, 9, 9}).to(torch::kFloat32);
  const auto count = [](const torch::Tensor& part) { return count_intensities(part, {})[0].all(); };
  const ValueCounts whole = count(image);
  const ValueCounts sum = count(image.slice(1, 0, 4)) + count(image.slice(1, 4, 9));
  EXPECT_EQ(sum.values, whole.values);
  EXPECT_EQ(sum.counts, whole.counts);
  EXPECT_NEAR(sum.mean, whole.mean, 1e-9);
  EXPECT_NEAR(sum.squares / whole.squares, 1, 1e-12);
  const ValueCounts part = above(whole, 100);
  EXPECT_EQ(part.total, (image > 100).sum().item<std::int64_t>());
}

// --- images against a training set

struct TrainingSet {
  std::string name;
  std::vector<torch::Tensor> images, labels;
  Window window;
  Json described;

  void add(const torch::Tensor& image, const torch::Tensor& label) {
    images.push_back(image);
    labels.push_back(label);
  }
  TrainingSet& describe() {
    std::vector<Intensities> cases;
    for (std::size_t i = 0; i < images.size(); ++i)
      cases.push_back(count_intensities(images[i], labels[i]));
    described = describe_intensities(cases, window);
    return *this;
  }
  std::vector<std::string> warnings(const torch::Tensor& image) const {
    return compare_intensities(count_intensities(image.contiguous(), {}), described, window)
        .warnings;
  }
};

torch::Tensor image_of(const std::string& kind, std::uint64_t seed, int index = 0) {
  return draw_phantom({.kind = kind, .size = {64, 64, 48}, .seed = seed}, true, index)
      .image.voxels.to(torch::kFloat32);
}

TrainingSet phantoms(const std::string& kind, const Window& window, int cases = 4) {
  TrainingSet set{.name = kind + (window ? " windowed" : ""), .window = window};
  for (int i = 0; i < cases; ++i) {
    const PhantomCase drawn =
        draw_phantom({.kind = kind, .size = {64, 64, 48}, .seed = 1}, true, i);
    set.add(drawn.image.voxels.to(torch::kFloat32), drawn.label.voxels[0]);
  }
  return set.describe();
}

std::vector<TrainingSet> ct_sets() {
  return {phantoms("han", Window{{-200, 300}}),
          phantoms("han", Window{{-200, 400}}),
          phantoms("liver", Window{{-21, 89}}),
          phantoms("liver", Window{{-1024, 1024}}),
          phantoms("han", {}),
          phantoms("twins", Window{{-200, 300}})};
}

// Brain-like: dark surroundings with noise, or none at all, and tissue of two kinds in a ball.
torch::Tensor brain(int seed, double radius = 0.4, bool stripped = true) {
  torch::manual_seed(seed);
  const torch::Tensor grid =
      torch::stack(torch::meshgrid({torch::linspace(-0.5, 0.5, 40), torch::linspace(-0.5, 0.5, 44),
                                    torch::linspace(-0.5, 0.5, 36)},
                                   "ij"));
  const torch::Tensor distance = grid.square().sum(0).sqrt();
  const torch::Tensor tissue =
      300 + 120 * (distance < radius * 0.7).to(torch::kFloat32) + torch::randn({40, 44, 36}) * 25;
  const torch::Tensor around =
      stripped ? torch::zeros({40, 44, 36}) : (torch::randn({40, 44, 36}) * 8).abs();
  return torch::where(distance < radius, tissue, around).clamp_min(0).unsqueeze(0);
}

TrainingSet brains(bool stripped, const Window& window = {}) {
  TrainingSet set{.name = stripped ? "stripped brain" : "head", .window = window};
  for (int seed = 0; seed < 4; ++seed) {
    const torch::Tensor image = brain(seed, 0.36 + 0.02 * seed, stripped);
    set.add(image, (image[0] > 200).to(torch::kUInt8));
  }
  return set.describe();
}

TEST(IntensityCheckTest, OtherScansOfTheKindAreNotWarnedOf) {
  for (const TrainingSet& set : ct_sets()) {
    const std::string kind = set.name.substr(0, set.name.find(' '));
    for (std::uint64_t seed = 10; seed < 16; ++seed)
      EXPECT_THAT(set.warnings(image_of(kind, seed, static_cast<int>(seed % 3))),
                  ::testing::IsEmpty())
          << set.name << " " << seed;
  }
  for (const bool stripped : {true, false}) {
    const TrainingSet set = brains(stripped);
    for (int seed = 10; seed < 14; ++seed)
      EXPECT_THAT(set.warnings(brain(seed, 0.3 + 0.02 * (seed - 10), stripped)),
                  ::testing::IsEmpty())
          << stripped << seed;
  }
}

TEST(IntensityCheckTest, CutAndPaddedScansAreNotWarnedOf) {
  for (const TrainingSet& set : ct_sets()) {
    const torch::Tensor image = image_of(set.name.substr(0, set.name.find(' ')), 20);
    const auto size = image.sizes();
    for (const double share : {0.3, 0.5, 0.7}) {
      for (std::int64_t axis = 1; axis < 4; ++axis) {
        const auto length = static_cast<std::int64_t>(share * static_cast<double>(size[axis]));
        for (const std::int64_t start :
             {std::int64_t{0}, (size[axis] - length) / 2, size[axis] - length}) {
          const torch::Tensor part = image.narrow(axis, start, length);
          if ((part > -300).to(torch::kFloat32).mean().item<float>() < 0.05) continue;  // air
          EXPECT_THAT(set.warnings(part), ::testing::IsEmpty())
              << set.name << ": " << length << " from " << start << " of axis " << axis;
        }
      }
      torch::Tensor middle = image;
      for (std::int64_t axis = 1; axis < 4; ++axis) {
        const auto length = static_cast<std::int64_t>(share * static_cast<double>(size[axis]));
        middle = middle.narrow(axis, (size[axis] - length) / 2, length);
      }
      EXPECT_THAT(set.warnings(middle), ::testing::IsEmpty()) << set.name << " middle " << share;
    }
    for (const double padding : {-1024., -2000., -3024.}) {
      for (const std::int64_t width : {4, 20, 50}) {
        const torch::Tensor padded =
            torch::constant_pad_nd(image, {width, width, width, width}, padding);
        EXPECT_THAT(set.warnings(padded), ::testing::IsEmpty())
            << set.name << " padded by " << width << " of " << padding;
      }
    }
  }
}

TEST(IntensityCheckTest, ScaledInvertedAndConstantImagesAreWarnedOf) {
  std::vector<TrainingSet> sets = ct_sets();
  sets.push_back(brains(true));
  sets.push_back(brains(false));
  sets.push_back(brains(true, Window{{0, 600}}));
  for (const TrainingSet& set : sets) {
    const torch::Tensor image = set.images[1];
    const bool is_ct = image.min().item<float>() < -500;
    EXPECT_EQ(set.warnings(image).size(), 0U) << set.name;
    if (!is_ct) {
      for (const double factor : {0.1, 0.5, 2., 10.})
        EXPECT_EQ(set.warnings(image * factor).size(), 1U) << set.name << " x " << factor;
    }
    EXPECT_EQ(set.warnings(-image).size(), 1U) << set.name << " negative";
    EXPECT_EQ(set.warnings(image.max() + image.min() - image).size(), 1U)
        << set.name << " inverted";
    for (const double value : {-1000., 0., 40., 300., 5000.})
      EXPECT_EQ(set.warnings(torch::full_like(image, value)).size(), 1U)
          << set.name << " constant " << value;
  }
}

// Their bodies lie around 0, where a factor moves little.
TEST(IntensityCheckTest, AScaledCtIsWarnedOf) {
  std::vector<std::string> halved;
  for (const TrainingSet& set : ct_sets()) {
    const std::string kind = set.name.substr(0, set.name.find(' '));
    if (kind == "twins") continue;  // a block with hardly any air
    for (std::uint64_t seed = 10; seed < 13; ++seed) {
      const torch::Tensor image = image_of(kind, seed);
      for (const double factor : {0.1, 0.2, 0.3, 0.4, 0.5, 0.6})
        EXPECT_EQ(set.warnings(image * factor).size(), 1U) << set.name << " x " << factor;
    }
    for (const std::string& warning : set.warnings(image_of(kind, 10) * 0.5))
      halved.push_back(warning);
  }
  EXPECT_THAT(halved, ::testing::Contains(HasSubstr("multiplied by 0.5")));
}

TEST(IntensityCheckTest, AModelThatDoesNotKnowItsDarkEndStillCompares) {
  TrainingSet set = phantoms("han", Window{{-200, 300}});
  EXPECT_TRUE(set.described["channels"][0]["body"].contains("dark_end"));
  set.described["channels"][0]["body"].erase("dark_end");
  EXPECT_TRUE(usable_intensities(set.described, 1));
  EXPECT_THAT(set.warnings(set.images[0]), ::testing::IsEmpty());
  EXPECT_EQ(set.warnings(-set.images[0]).size(), 1U);
  set.described["channels"][0]["body"]["dark_end"] = {{"level", "x"}};
  EXPECT_FALSE(usable_intensities(set.described, 1));
}

TEST(IntensityCheckTest, AnotherModalityIsWarnedOf) {
  const TrainingSet stripped_brains = brains(true);
  for (const TrainingSet& set : ct_sets()) {
    for (const bool stripped : {true, false}) {
      for (const double factor : {0.5, 1., 3.}) {
        EXPECT_EQ(set.warnings(brain(3, 0.4, stripped) * factor).size(), 1U)
            << set.name << " on MR x " << factor << (stripped ? " stripped" : "");
      }
    }
    EXPECT_EQ(stripped_brains.warnings(set.images[0]).size(), 1U) << "MR model on " << set.name;
    const torch::Tensor shifted = set.images[0] + 1024;  // a forgotten intercept
    EXPECT_EQ(set.warnings(shifted).size(), 1U) << set.name << " shifted";
  }
}

TEST(IntensityCheckTest, EveryChannelIsComparedWithItsOwn) {
  std::vector<Intensities> cases;
  for (int seed = 0; seed < 3; ++seed)
    cases.push_back(count_intensities(torch::cat({brain(seed), brain(seed) * 4}), {}));
  const Json trained = describe_intensities(cases, {});
  const auto warnings = [&](const torch::Tensor& image) {
    return compare_intensities(count_intensities(image, {}), trained, {}).warnings;
  };
  EXPECT_THAT(warnings(torch::cat({brain(7), brain(7) * 4})), ::testing::IsEmpty());
  ASSERT_EQ(warnings(torch::cat({brain(7), brain(7)})).size(), 1U);
  EXPECT_THAT(warnings(torch::cat({brain(7), brain(7)}))[0], HasSubstr("channel 1"));
  EXPECT_EQ(warnings(torch::cat({brain(7) * 4, brain(7)})).size(), 2U) << "exchanged";
  EXPECT_THAT(warnings(brain(7)), ::testing::IsEmpty()) << "another number: nothing to compare";
}

TEST(IntensityCheckTest, WhatCannotBeReadIsNoReasonToWarn) {
  const Intensities image = count_intensities(brain(1), {});
  for (const Json& trained : {Json(), Json(7), Json::object(), Json{{"channels", {1}}},
                              Json{{"channels", {{{"body", {{"threshold", "x"}}}}}}}}) {
    EXPECT_FALSE(usable_intensities(trained, 1)) << trained;
    EXPECT_TRUE(compare_intensities(image, trained, {}).numbers.is_null()) << trained;
  }
}

TEST(IntensityCheckTest, AWindowThatShowsNothingIsWarnedOf) {
  const auto warnings = [](const TrainingSet& set, const Window& window) {
    std::vector<Intensities> cases;
    for (std::size_t i = 0; i < set.images.size(); ++i)
      cases.push_back(count_intensities(set.images[i], set.labels[i]));
    return window_warnings(cases, window);
  };
  for (const TrainingSet& set : ct_sets())
    EXPECT_THAT(warnings(set, set.window), ::testing::IsEmpty()) << set.name;
  EXPECT_THAT(warnings(brains(true), Window{{0, 600}}), ::testing::IsEmpty());
  TrainingSet scaled = phantoms("han", {});  // AnatomyNet's arrays
  for (torch::Tensor& image : scaled.images) image = (image.clamp(-200, 400) + 200) / 600;
  EXPECT_THAT(warnings(scaled, {}), ::testing::IsEmpty());
  ASSERT_EQ(warnings(scaled, Window{{-200, 400}}).size(), 1U);
  EXPECT_THAT(warnings(scaled, Window{{-200, 400}})[0], HasSubstr("take 0.2 % of the window"));
  TrainingSet bright = brains(true);
  for (torch::Tensor& image : bright.images) image = image * 5;
  EXPECT_THAT(warnings(bright, Window{{-200, 400}}).at(0),
              HasSubstr("100 % of the labelled voxels are clipped to the upper end"));
  EXPECT_EQ(warnings(brains(true), Window{{-200, 400}}).size(), 1U) << "an MR set, a CT preset";
  EXPECT_EQ(warnings(brains(true), Window{{-21, 89}}).size(), 1U);
}

}  // namespace
}  // namespace lamp
