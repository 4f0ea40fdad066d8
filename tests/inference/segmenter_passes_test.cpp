// Several passes, several models, several stages: what is averaged, and what must not change.
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>

#include "inference/segmenter_fixture.h"

namespace lamp {
namespace {

using namespace lamp::testing;  // NOLINT: the test's own support

std::int64_t difference_in_voxels(const std::vector<torch::Tensor>& a,
                                  const std::vector<torch::Tensor>& b) {
  std::int64_t differing = a.size() == b.size() ? 0 : -1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    differing += a[i].ne(b[i]).sum().item<std::int64_t>();
  return differing;
}

class SegmenterPassesTest : public SegmenterTest {};

// A network that calls the brighter half by the side it lies on: what it says of a mirrored image
// must be exchanged before it is averaged.
TEST_F(SegmenterPassesTest, TwinsAreExchangedBeforeMirroredPassesAreAveraged) {
  Volume volume;
  volume.geometry.size = {16, 8, 8};
  volume.voxels = torch::ones({1, 8, 8, 16});
  write_volume(folder_ / "a.nii.gz", volume);
  SegmentModel model = small_model(kKeep);
  model.model.labels = {{0, "background"}, {1, "Lung_L"}, {2, "Lung_R"}};
  model.model.mirrored_axes = std::vector<int>{0};
  SegmentRequest request{.inputs = {(folder_ / "a.nii.gz").string()},
                         .output = out_,
                         .options = {.patch = parse_patch("16,8,8"),
                                     .save_probabilities = true,
                                     .mirror = {.as_trained = true}}};
  request.make_predictor = [](const Network&, c10::Device, c10::ScalarType) -> Predictor {
    return [](const torch::Tensor& x) {  // x below 8 is the right lung, above the left one
      torch::Tensor scores = torch::zeros({1, 3, 8, 8, 16});
      scores.slice(4, 0, 8).select(1, 2).fill_(5);
      scores.slice(4, 8, 16).select(1, 1).fill_(5);
      return scores * x;
    };
  };
  const SegmentReport report = segment_all({model}, request);
  ASSERT_EQ(exit_code(report), 0);
  EXPECT_EQ(report.mirroring.axes, (std::vector<int>{0}));
  const torch::Tensor labels = read_label(out_ / "a.nii.gz").voxels[0];
  EXPECT_EQ(labels.slice(2, 0, 8).ne(2).sum().item<int>(), 0);
  EXPECT_EQ(labels.slice(2, 8, 16).ne(1).sum().item<int>(), 0);
  const double sure = std::exp(5.0) / (std::exp(5.0) + 2);  // as in each of the two passes
  EXPECT_NEAR(read_image(out_ / "a_prob.nii.gz").voxels[2][4][4][2].item<double>(), sure, 1e-5);
}

// Over two stages the same bytes come out, whole or in windows, several passes or one.
TEST_F(SegmenterPassesTest, StagesDoNotChangeTheResult) {
  std::vector<std::string> inputs;
  for (int i = 0; i < 4; ++i) inputs.push_back(image("case" + std::to_string(i) + ".nii.gz", i));
  const SegmentModel model = small_model(kOneMillimetre);
  const SegmentOptions settings[] = {
      {.patch = {.kind = PatchRequest::kWhole}},
      {.patch = parse_patch("16,16,16")},
      {.patch = parse_patch("16,16,16"), .mirror = {.axes = {0, 2}}}};
  for (SegmentOptions options : settings) {
    std::vector<torch::Tensor> labels[2];
    for (const bool staged : {false, true}) {
      options.device = staged ? "cpu,cpu" : "cpu";
      const SegmentReport report = segment(model, inputs, options);
      EXPECT_EQ(exit_code(report), 0);
      EXPECT_EQ(report.device, options.device);
      for (const CaseResult& result : report.cases)
        labels[staged].push_back(read_label(result.output).voxels);
    }
    EXPECT_EQ(difference_in_voxels(labels[0], labels[1]), 0);
  }
}

// Two cases of unequal size, whole and in windows, one pass or several: probabilities up to
// rounding, which is all that an order of sums may change.
TEST_F(SegmenterPassesTest, SlabsAndReplicasGiveTheProbabilitiesOfOneDevice) {
  std::vector<std::string> inputs = {image("a.nii.gz", 1)};
  Volume other = oblique_volume(2);
  other.geometry.size = {9, 30, 5};
  other.voxels = torch::randn({1, 5, 30, 9});
  write_volume(folder_ / "b.nii.gz", other);
  inputs.push_back((folder_ / "b.nii.gz").string());
  const SegmentModel model = small_model(kKeep);
  struct Grid {
    const char* devices;
    int replicas, slabs;
  };
  const auto run = [&](SegmentOptions options, const Grid& grid) {
    options.device = grid.devices;
    options.replicas = grid.replicas;
    options.slabs = grid.slabs;
    options.save_probabilities = true;
    const SegmentReport report = segment(model, inputs, options);
    EXPECT_EQ(exit_code(report), 0);
    EXPECT_EQ(report.slabs, grid.slabs);
    std::vector<torch::Tensor> found;
    for (const CaseResult& result : report.cases)
      found.push_back(read_image(result.probabilities).voxels);
    return found;
  };
  const SegmentOptions settings[] = {
      {.patch = {.kind = PatchRequest::kWhole}},
      {.patch = parse_patch("16,16,16")},
      {.patch = parse_patch("16,16,16"), .mirror = {.axes = {0, 2}}}};
  for (const SegmentOptions& options : settings) {
    const auto expected = run(options, {"cpu", 1, 1});
    for (const Grid& grid : {Grid{"cpu,cpu", 1, 2}, {"cpu,cpu,cpu,cpu", 1, 2}, {"cpu,cpu", 2, 1}}) {
      const auto found = run(options, grid);
      ASSERT_EQ(found.size(), 2U);
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i].sizes(), expected[i].sizes());
        EXPECT_LE((found[i] - expected[i]).abs().max().item<double>(), 1e-5)
            << grid.devices << ", case " << i;
      }
    }
  }
}

// The second case is 5 voxels along its longest axis, padded to 8: 2 planes at the coarsest level.
TEST_F(SegmenterPassesTest, ACaseWithTooFewPlanesIsNamedBeforeAnythingIsWritten) {
  const std::string large = image("a.nii.gz");
  Volume small = oblique_volume();
  small.geometry.size = {5, 5, 4};
  small.voxels = torch::randn({1, 4, 5, 5});
  write_volume(folder_ / "small.nii.gz", small);
  SegmentOptions options{.patch = {.kind = PatchRequest::kWhole}, .device = "cpu,cpu,cpu,cpu"};
  options.slabs = 4;
  try {
    segment(small_model(kKeep), {large, (folder_ / "small.nii.gz").string()}, options);
    FAIL() << "four slabs of two planes";
  } catch (const UsageError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("small.nii.gz"), std::string::npos) << message;
    EXPECT_NE(message.find("2 slabs or fewer"), std::string::npos) << message;
  }
  EXPECT_FALSE(std::filesystem::exists(out_));
}

// Windows of 8 voxels have 2 planes at the coarsest level, however large the volume is.
TEST_F(SegmenterPassesTest, WindowsWithTooFewPlanesAreRefused) {
  SegmentOptions options{.patch = parse_patch("8,8,8"), .device = "cpu,cpu,cpu,cpu"};
  options.slabs = 4;
  EXPECT_THROW(segment(small_model(kKeep), {image("a.nii.gz")}, options), UsageError);
  EXPECT_FALSE(std::filesystem::exists(out_));
}

TEST_F(SegmenterPassesTest, AnEnsembleOfEqualModelsChangesNothing) {
  const std::string input = image("a.nii.gz");
  const SegmentOptions options{.patch = kWindows.patch, .save_probabilities = true};
  segment(small_model(kKeep), {input}, options);
  const torch::Tensor one = read_image(out_ / "a_prob.nii.gz").voxels;
  segment_all({small_model(kKeep), small_model(kKeep)},
              {.inputs = {input}, .output = out_, .options = options});
  EXPECT_LT((read_image(out_ / "a_prob.nii.gz").voxels - one).abs().max().item<double>(), 1e-5);
  segment_all({small_model(kKeep, 2)}, {.inputs = {input}, .output = out_, .options = options});
  const torch::Tensor other = read_image(out_ / "a_prob.nii.gz").voxels;
  segment_all({small_model(kKeep), small_model(kKeep, 2)},
              {.inputs = {input}, .output = out_, .options = options});
  const torch::Tensor mean = read_image(out_ / "a_prob.nii.gz").voxels;
  EXPECT_LT((mean - (one + other) / 2).abs().max().item<double>(), 1e-5);
}

TEST_F(SegmenterPassesTest, ModelsThatDifferInLabelsOrPreprocessingAreNotAveraged) {
  SegmentModel other = small_model(kKeep);
  other.model.labels[2] = "cyst";
  const SegmentRequest request{.inputs = {image("a.nii.gz")}, .output = out_};
  EXPECT_THROW(segment_all({small_model(kKeep), other}, request), UsageError);
  EXPECT_THROW(segment_all({small_model(kKeep), small_model(kOneMillimetre)}, request), UsageError);
}

TEST_F(SegmenterPassesTest, MirroringMakesTheResultOfAMirroredImageTheMirroredResult) {
  Volume volume = oblique_volume();
  const Json data = {{"spacing_mm", "keep"}, {"window", nullptr}, {"orientation", "keep"}};
  const SegmentOptions options{
      .patch = {.kind = PatchRequest::kWhole}, .save_probabilities = true, .mirror = {.axes = {1}}};
  volume.geometry.size = {20, 16, 12};  // multiples of the stride: nothing is padded on one side
  volume.voxels = torch::randn({1, 12, 16, 20});
  write_volume(folder_ / "a.nii.gz", volume);
  volume.voxels = volume.voxels.flip({2}).contiguous();
  write_volume(folder_ / "b.nii.gz", volume);
  segment(small_model(data), {(folder_ / "a.nii.gz").string(), (folder_ / "b.nii.gz").string()},
          options);
  const torch::Tensor a = read_image(out_ / "a_prob.nii.gz").voxels,
                      b = read_image(out_ / "b_prob.nii.gz").voxels;
  EXPECT_LT((a - b.flip({2})).abs().max().item<double>(), 1e-5);
  EXPECT_LT((a.sum(0) - 1).abs().max().item<double>(), 1e-5);
}

}  // namespace
}  // namespace lamp
