// Voxels that no scan showed are absent from every term of the loss: against the formulas written
// out over lists of the other voxels, and against the loss of the volume that was never padded.
#include <gtest/gtest.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>
#include <set>

#include "lamp/base/beyond_scan.h"
#include "lamp/base/size3.h"
#include "lamp/objective/anatomy_loss.h"
#include "lamp/objective/lamp_loss.h"
#include "lamp/objective/losses.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

using testing::relative_error;

constexpr double kExact = 1e-12;

// Every mode of overlap with every choice of further terms.
std::vector<LossConfig> all_losses() {
  std::vector<LossConfig> all;
  for (const char* dice : {"per_sample", "batch", "none"})
    for (const double focal : {0.0, 0.5})
      for (const double cross_entropy : {0.0, 0.7})
        for (const double boundary : {0.0, 0.01})
          if (dice != std::string("none") || focal + cross_entropy + boundary > 0)
            all.push_back({.dice = dice,
                           .focal_weight = focal,
                           .cross_entropy_weight = cross_entropy,
                           .boundary_weight = boundary});
  return all;
}

std::string name_of(const LossConfig& config) { return to_json(config).dump(); }

struct Sample {
  torch::Tensor logits, labels, flags, weights;  // [N, C, D, H, W], [N, D, H, W], [N, C], [C]
  std::int64_t classes() const { return logits.size(1); }
};

// Of random size, classes and annotation.
Sample draw(std::int64_t seed, std::int64_t samples) {
  torch::manual_seed(seed);
  const auto below = [](std::int64_t most) {
    return torch::randint(most, {1}).item<std::int64_t>();
  };
  const std::int64_t classes = 2 + below(4), d = 1 + below(4), h = 1 + below(5), w = 1 + below(6);
  Sample sample;
  sample.logits = torch::randn({samples, classes, d, h, w}, torch::kFloat64) * 3;
  sample.labels = torch::randint(0, classes, {samples, d, h, w}).to(torch::kInt16);
  sample.flags = torch::randint(0, 2, {samples, classes}).to(torch::kFloat32);
  sample.flags[0][0] = 1;
  sample.weights = torch::rand({classes}) + 0.25;
  return sample;
}

// Hides voxels here and there.
void scatter_holes(Sample& sample, double share) {
  sample.labels.masked_fill_(torch::rand(sample.labels.sizes()).lt(share), kNoScan);
}

struct Place {
  std::int64_t z, y, x, label;
};

std::vector<Place> seen_places(const torch::Tensor& labels) {  // [D, H, W]
  std::vector<Place> places;
  for (std::int64_t z = 0; z < labels.size(0); ++z)
    for (std::int64_t y = 0; y < labels.size(1); ++y)
      for (std::int64_t x = 0; x < labels.size(2); ++x)
        if (const auto label = labels[z][y][x].item<std::int64_t>(); label != -1)
          places.push_back({z, y, x, label});
  return places;
}

// [v] double, rounded to float as the maps are: half a voxel less than the distance to the nearest
// voxel of the other kind, negative inside; zeros where a kind is missing.
torch::Tensor boundary_distances(const std::vector<Place>& places, std::int64_t label) {
  const auto square = [](std::int64_t length) { return double(length * length); };
  std::vector<double> distances;
  for (const Place& here : places) {
    double nearest = std::numeric_limits<double>::infinity();
    for (const Place& there : places)
      if ((here.label == label) != (there.label == label))
        nearest = std::min(nearest, square(here.z - there.z) + square(here.y - there.y) +
                                        square(here.x - there.x));
    if (std::isinf(nearest)) return torch::zeros({std::int64_t(places.size())}, torch::kFloat64);
    const double distance = std::sqrt(nearest) - 0.5;
    distances.push_back(double(float(here.label == label ? -distance : distance)));
  }
  return torch::tensor(distances, torch::kFloat64);
}

// The loss as the headers define it, with the voxels that count in lists.
torch::Tensor written_out(const LossConfig& config, const Sample& sample,
                          const torch::Tensor& logits) {
  const std::int64_t count = logits.size(0), classes = logits.size(1);
  const auto zeros = [&] { return torch::zeros({count, classes}, torch::kFloat64); };
  torch::Tensor overlap = zeros(), predicted = zeros(), labelled = zeros(), focal = zeros(),
                clamped_focal = zeros(), boundary = zeros(), cross_entropy = zeros();
  std::vector<double> voxels;
  for (std::int64_t n = 0; n < count; ++n) {
    const auto places = seen_places(sample.labels[n]);
    voxels.push_back(double(places.size()));
    if (places.empty()) continue;
    std::vector<torch::Tensor> columns;
    std::vector<std::int64_t> ids;
    for (const Place& place : places) {
      columns.push_back(logits[n].select(3, place.x).select(2, place.y).select(1, place.z));
      ids.push_back(place.label);
    }
    const torch::Tensor log_p = torch::log_softmax(torch::stack(columns, 1), 0), p = log_p.exp();
    const torch::Tensor id = torch::tensor(ids);
    for (std::int64_t c = 0; c < classes; ++c) {
      const torch::Tensor y = id.eq(c).to(torch::kFloat64);
      overlap[n][c] += (p[c] * y).sum();
      predicted[n][c] += p[c].sum();
      labelled[n][c] += y.sum();
      focal[n][c] += (-(1 - p[c]).pow(2) * y * log_p[c]).sum();
      clamped_focal[n][c] += (-(1 - p[c]).pow(2) * y * p[c].clamp(1e-6, 1).log()).sum();
      cross_entropy[n][c] += -(log_p[c] * y).sum() / voxels.back();
      boundary[n][c] += (p[c] * boundary_distances(places, c)).sum() / voxels.back();
    }
  }
  const torch::Tensor weights =
      sample.flags.to(torch::kFloat64) * sample.weights.to(torch::kFloat64);
  const torch::Tensor size = torch::tensor(voxels, torch::kFloat64).clamp_min(1).unsqueeze(1);
  torch::Tensor sum = torch::zeros({}, torch::kFloat64);
  if (config.dice == "batch") {
    const torch::Tensor least = std::get<0>(weights.min(0));
    const torch::Tensor tp = overlap.sum(0);
    const torch::Tensor others = 0.5 * (predicted.sum(0) - tp) + 0.5 * (labelled.sum(0) - tp);
    sum = sum + (least * (1 - tp / (tp + others + 1e-5))).sum() +
          config.focal_weight * (least * clamped_focal.sum(0)).sum() /
              torch::tensor(voxels).sum().clamp_min(1);
  } else {
    const torch::Tensor dice = 1 - (2 * overlap + 1e-5) / (predicted + labelled + 1e-5);
    if (config.dice == "per_sample") sum = sum + (weights * dice).mean();
    sum = sum + config.focal_weight * (weights * focal / size).mean();
  }
  sum = sum + config.cross_entropy_weight * (weights * cross_entropy).sum() / double(count);
  return sum + config.boundary_weight * (weights * boundary).mean();
}

struct Outcome {
  torch::Tensor value, gradient;
};

Outcome loss_of(const LossConfig& config, const Sample& sample) {
  const torch::Tensor logits = sample.logits.detach().clone().requires_grad_();
  const torch::Tensor value =
      (*make_loss(config, sample.weights))(logits, sample.labels, sample.flags);
  return {value.detach(), torch::autograd::grad({value}, {logits})[0]};
}

Outcome expected_of(const LossConfig& config, const Sample& sample) {
  const torch::Tensor logits = sample.logits.detach().clone().requires_grad_();
  const torch::Tensor value = written_out(config, sample, logits);
  if (!value.requires_grad()) return {value, torch::zeros_like(logits)};
  return {value.detach(), torch::autograd::grad({value}, {logits})[0]};
}

void expect_near(const Outcome& found, const Outcome& expected, const std::string& what) {
  EXPECT_NEAR(found.value.item<double>(), expected.value.item<double>(), kExact) << what;
  EXPECT_LT((found.gradient - expected.gradient).abs().max().item<double>(), kExact) << what;
}

torch::Tensor in_front(const torch::Tensor& grown, at::IntArrayRef sizes) {
  torch::Tensor part = grown;
  for (std::int64_t axis = -3; axis < 0; ++axis)
    part = part.slice(axis, 0, sizes[static_cast<std::size_t>(3 + axis)]);
  return part;
}

// Grown at the high ends; what the network says there is wild.
Sample padded(const Sample& sample, const Shape3& more) {
  const auto& v = sample.logits.sizes();
  const Shape3 size = {v[2] + more[0], v[3] + more[1], v[4] + more[2]};
  Sample grown = sample;
  grown.logits = torch::randn({v[0], v[1], size[0], size[1], size[2]}, torch::kFloat64) * 1e3;
  in_front(grown.logits, {v[2], v[3], v[4]}).copy_(sample.logits);
  std::vector<torch::Tensor> labels;
  for (std::int64_t n = 0; n < v[0]; ++n) labels.push_back(extend_labels(sample.labels[n], size));
  grown.labels = torch::stack(labels);
  return grown;
}

TEST(UnseenVoxelsTest, TheFormulasHoldOverTheVoxelsThatWereSeen) {
  for (const LossConfig& config : all_losses()) {
    for (std::int64_t seed = 0; seed < 6; ++seed) {
      Sample sample = draw(seed, 1 + seed % 3);
      scatter_holes(sample, seed == 0 ? 0 : 0.1 * double(1 + seed));
      expect_near(loss_of(config, sample), expected_of(config, sample),
                  name_of(config) + " seed " + std::to_string(seed));
    }
  }
}

TEST(UnseenVoxelsTest, APaddedVolumeHasTheLossOfTheVolume) {
  for (const LossConfig& config : all_losses()) {
    for (std::int64_t seed = 10; seed < 16; ++seed) {
      const Sample sample = draw(seed, 1 + seed % 2);
      for (const auto& more : {Shape3{0, 0, 3}, {2, 0, 0}, {1, 7, 2}}) {
        const Outcome expected = loss_of(config, sample),
                      found = loss_of(config, padded(sample, more));
        const auto v = sample.logits.sizes();
        const std::string what = name_of(config) + " seed " + std::to_string(seed);
        const torch::Tensor inside = in_front(found.gradient, {v[2], v[3], v[4]});
        expect_near({found.value, inside}, expected, what);
        EXPECT_EQ(found.gradient.ne(0).sum().item<std::int64_t>(),
                  inside.ne(0).sum().item<std::int64_t>())
            << "a gradient outside of the volume: " << what;
      }
    }
  }
}

TEST(UnseenVoxelsTest, VolumesOfUnequalSizesInABatchCountAlike) {
  for (const LossConfig& config : all_losses()) {
    if (config.dice == "batch") continue;  // not a mean over samples
    Sample large = draw(21, 1);
    Sample small = large;
    small.logits = in_front(large.logits * -0.5, {1, 2, 2}).contiguous();
    small.labels = in_front(large.labels, {1, 2, 2}).contiguous();
    const auto v = large.logits.sizes();
    const Sample grown = padded(small, {v[2] - 1, v[3] - 2, v[4] - 2});
    const Sample both{torch::cat({large.logits, grown.logits}),
                      torch::cat({large.labels, grown.labels}),
                      torch::cat({large.flags, small.flags}), large.weights};
    const double expected = (loss_of(config, large).value.item<double>() +
                             loss_of(config, small).value.item<double>()) /
                            2;
    EXPECT_NEAR(loss_of(config, both).value.item<double>(), expected, kExact) << name_of(config);
  }
}

TEST(UnseenVoxelsTest, WhateverTheNetworkSaysThereIsNotLookedAt) {
  for (const LossConfig& config : all_losses()) {
    Sample sample = draw(31, 2);
    scatter_holes(sample, 0.4);
    const Outcome expected = loss_of(config, sample);
    const torch::Tensor holes = sample.labels.eq(kNoScan).unsqueeze(1);
    for (const double value : {1e300, std::nan(""), double(INFINITY)}) {
      sample.logits.masked_fill_(holes, value);
      const Outcome found = loss_of(config, sample);
      EXPECT_TRUE(torch::equal(found.value, expected.value)) << name_of(config);
      EXPECT_TRUE(torch::equal(found.gradient, expected.gradient)) << name_of(config);
    }
  }
}

TEST(UnseenVoxelsTest, ASampleThatShowsNothingAddsNoGradientAndNoNan) {
  for (const LossConfig& config : all_losses()) {
    Sample sample = draw(41, 3);
    sample.labels[1].fill_(kNoScan);
    const Outcome found = loss_of(config, sample);
    expect_near(found, expected_of(config, sample), name_of(config));
    EXPECT_EQ(found.gradient[1].abs().max().item<double>(), 0) << name_of(config);
    sample.labels.fill_(kNoScan);
    const Outcome nothing = loss_of(config, sample);
    EXPECT_TRUE(std::isfinite(nothing.value.item<double>())) << name_of(config);
    EXPECT_EQ(nothing.gradient.abs().max().item<double>(), 0) << name_of(config);
  }
}

TEST(UnseenVoxelsTest, EverySplitIntoMicroBatchesHasTheSameTotal) {
  for (const LossConfig& config : all_losses()) {
    Sample sample = draw(51, 5);
    scatter_holes(sample, 0.5);
    sample.labels[3].fill_(kNoScan);
    const auto loss = make_loss(config, sample.weights);
    if (!loss->sum_over_samples()) continue;
    const torch::Tensor logits = sample.logits.clone().requires_grad_();
    const auto total = [&](const std::vector<std::int64_t>& sizes) {
      torch::Tensor sum = torch::zeros({}, torch::kFloat64);
      std::int64_t first = 0;
      for (const std::int64_t size : sizes) {
        sum = sum + (*loss)(logits.narrow(0, first, size), sample.labels.narrow(0, first, size),
                            sample.flags.narrow(0, first, size)) *
                        (double(size) / 5);
        first += size;
      }
      return Outcome{sum.detach(), torch::autograd::grad({sum}, {logits})[0]};
    };
    const Outcome whole = total({5});
    for (const auto& sizes : std::vector<std::vector<std::int64_t>>{
             {3, 2}, {2, 3}, {2, 2, 1}, {2, 1, 1, 1}, {1, 1, 1, 1, 1}, {4, 1}})
      expect_near(total(sizes), whole, name_of(config));
  }
}

TEST(UnseenVoxelsTest, LabelTypeLayoutAndPrecisionDoNotMatter) {
  for (const LossConfig& config : all_losses()) {
    Sample sample = draw(61, 2);
    scatter_holes(sample, 0.3);
    const Outcome expected = loss_of(config, sample);
    for (const auto type : {torch::kInt32, torch::kInt64}) {
      Sample other = sample;
      other.labels = sample.labels.to(type);
      EXPECT_TRUE(torch::equal(loss_of(config, other).gradient, expected.gradient));
    }
    Sample turned = sample;
    turned.logits = sample.logits.contiguous(torch::MemoryFormat::ChannelsLast3d);
    expect_near(loss_of(config, turned), expected, name_of(config));
    for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kFloat16}) {
      Sample rounded = sample;
      rounded.logits = sample.logits.to(type);
      Sample exact = sample;
      exact.logits = rounded.logits.to(torch::kFloat64);
      const Outcome found = loss_of(config, rounded), wanted = loss_of(config, exact);
      EXPECT_NEAR(found.value.item<double>(), wanted.value.item<double>(), 1e-5) << name_of(config);
      EXPECT_EQ(found.gradient.scalar_type(), type);
      EXPECT_EQ(found.gradient.masked_select(sample.labels.eq(kNoScan).unsqueeze(1))
                    .abs()
                    .sum()
                    .item<double>(),
                0);
    }
  }
}

// More than one slab of the loss's own gradient, of which one shows nothing at all.
TEST(UnseenVoxelsTest, LargePaddedVolumesHaveTheLossOfTheVolume) {
  torch::manual_seed(71);
  Sample sample;
  sample.logits = torch::randn({1, 2, 9, 200, 300}, torch::kFloat64);
  sample.labels = torch::randint(0, 2, {1, 9, 200, 300}).to(torch::kUInt8);
  sample.flags = torch::ones({1, 2});
  sample.weights = torch::ones({2});
  const LossConfig config;
  const Outcome expected = loss_of(config, sample),
                found = loss_of(config, padded(sample, {30, 5, 0}));
  EXPECT_NEAR(found.value.item<double>(), expected.value.item<double>(), kExact);
  const torch::Tensor inside = in_front(found.gradient, {9, 200, 300});
  EXPECT_LT(relative_error(inside, expected.gradient), 1e-9);
  EXPECT_EQ(found.gradient.abs().sum().item<double>(), inside.abs().sum().item<double>());
}

TEST(UnseenVoxelsTest, TheTermsAloneLeaveThemOutToo) {
  const Sample sample = draw(81, 2), grown = padded(sample, {1, 2, 3});
  const LampTerms terms = lamp_terms(sample.logits, sample.labels);
  const LampTerms found = lamp_terms(grown.logits, grown.labels);
  EXPECT_LT((found.dice - terms.dice).abs().max().item<double>(), kExact);
  EXPECT_LT((found.focal - terms.focal).abs().max().item<double>(), kExact);
  const torch::Tensor weights = sample.flags.to(torch::kFloat64);
  const AnatomyTerms anatomy = anatomy_terms({sample.logits, sample.labels, weights});
  const AnatomyTerms padded_anatomy = anatomy_terms({grown.logits, grown.labels, weights});
  EXPECT_NEAR(padded_anatomy.tversky.item<double>(), anatomy.tversky.item<double>(), kExact);
  EXPECT_NEAR(padded_anatomy.focal.item<double>(), anatomy.focal.item<double>(), kExact);
}

}  // namespace
}  // namespace lamp
