// From files to files: geometry, labels, probabilities, and what the report says.
#include "lamp/inference/segmenter.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "inference/segmenter_fixture.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using namespace lamp::testing;  // NOLINT: the test's own support

TEST_F(SegmenterTest, LabelsLieOnTheInputsOwnGrid) {
  const std::string input = image("a.nii.gz");
  for (const Json& data : {kKeep, kOneMillimetre}) {
    const SegmentReport report = segment(small_model(data), {input});
    ASSERT_EQ(exit_code(report), 0);
    const Volume labels = read_label(out_ / "a.nii.gz");
    EXPECT_LT(corner_distance_voxels(labels.geometry, read_image(input).geometry), 1e-6);
    EXPECT_EQ(labels.voxels.scalar_type(), torch::kUInt8);
    EXPECT_GT(labels.voxels.max().item<int>(), 0) << "the random network should find something";
  }
}

TEST_F(SegmenterTest, EveryFormatCarriesTheGrid) {
  const std::string input = image("a.nrrd");
  for (const char* format : {"nii", "nrrd", "mha"}) {
    segment(small_model(kKeep), {input}, {.patch = kWindows.patch, .format = format});
    const Volume labels = read_label(out_ / (std::string("a.") + format));
    EXPECT_LT(corner_distance_voxels(labels.geometry, oblique_volume().geometry), 1e-4) << format;
  }
}

TEST_F(SegmenterTest, LabelsAreTheNetworksArgmaxAtTheRightPlace) {
  const std::string input = image("a.nii.gz");
  const SegmentModel model =
      small_model({{"spacing_mm", "keep"}, {"window", nullptr}, {"orientation", "keep"}});
  segment(model, {input}, {.patch = {.kind = PatchRequest::kWhole}});
  const torch::NoGradGuard no_gradients;
  const torch::Tensor expected =
      model.model.network.forward(read_image(input).voxels.unsqueeze(0))[0].argmax(0);
  const torch::Tensor labels = read_label(out_ / "a.nii.gz").voxels[0];
  // The layout differs, so sums are rounded otherwise and near ties may fall to the other side.
  EXPECT_GT(labels.eq(expected).to(torch::kFloat64).mean().item<double>(), 0.999);
}

TEST_F(SegmenterTest, ProbabilitiesSumToOneAndAgreeWithTheLabels) {
  const std::string input = image("a.nii.gz");
  segment(small_model(kKeep), {input}, {.save_probabilities = true});
  const Volume probabilities = read_image(out_ / "a_prob.nii.gz");
  EXPECT_LT((probabilities.voxels.sum(0) - 1).abs().max().item<double>(), 1e-5);
  EXPECT_TRUE(probabilities.voxels.argmax(0)
                  .eq(read_label(out_ / "a.nii.gz").voxels[0])
                  .all()
                  .item<bool>());
  EXPECT_LT(corner_distance_voxels(probabilities.geometry, read_image(input).geometry), 1e-6);
}

// Ties, ids that are no class numbers, more than one pass, windows, resampling and cleaning.
TEST_F(SegmenterTest, TheSavedMapIsTheArgmaxOfTheSavedProbabilitiesInEveryMode) {
  const std::string input = image("a.nii.gz");
  SegmentModel tied = small_model(kOneMillimetre);  // classes 1 and 2 score alike everywhere
  for (const auto& item : tied.model.network.chain->named_parameters())
    if (item.key().starts_with("decoder_1_out")) {
      const torch::NoGradGuard no_gradients;
      item.value().data()[2].copy_(item.value()[1]);
      if (item.key().ends_with("bias")) item.value().data()[0].sub_(0.3);
    }
  SegmentModel odd = small_model(kOneMillimetre, 3);
  odd.model.labels = {{0, "background"}, {4, "liver"}, {300, "tumour"}};
  const std::vector<std::vector<SegmentModel>> models = {
      {small_model(kOneMillimetre)},
      {small_model(kKeep)},
      {tied},
      {odd},
      {small_model(kOneMillimetre), small_model(kOneMillimetre, 2)}};
  SegmentOptions whole{.patch = {.kind = PatchRequest::kWhole}, .save_probabilities = true};
  SegmentOptions windows{.patch = parse_patch("12,12,12"), .save_probabilities = true};
  SegmentOptions mirrored = whole, cleaned = whole, large = windows;
  mirrored.mirror.axes = {0, 1};
  cleaned.cleanup.keep_largest = {"all"};
  large.cleanup.min_volume_mm3 = 1e9;
  for (const auto& list : models) {
    std::vector<std::int64_t> ids;
    for (const auto& [id, name] : list.front().model.labels) ids.push_back(id);
    for (const SegmentOptions& options : {whole, windows, mirrored, cleaned, large}) {
      const SegmentReport report =
          segment_all(list, {.inputs = {input}, .output = out_, .options = options});
      ASSERT_EQ(exit_code(report), 0);
      const torch::Tensor probabilities = read_image(out_ / "a_prob.nii.gz").voxels;
      const torch::Tensor found =
          torch::tensor(ids).index({probabilities.argmax(0).flatten()}).view({11, 17, 20});
      const torch::Tensor labels = read_label(out_ / "a.nii.gz").voxels[0];
      EXPECT_EQ(found.ne(labels).sum().item<std::int64_t>(), 0);
      EXPECT_LT((probabilities.sum(0) - 1).abs().max().item<double>(), 1e-5);
      EXPECT_EQ(report.cases[0].cleaned_voxels.has_value(), options.cleanup.wanted());
    }
  }
}

// The map is the same with the probabilities beside it and without.
TEST_F(SegmenterTest, SavingProbabilitiesDoesNotChangeTheMap) {
  const std::string input = image("a.nii.gz");
  SegmentOptions options = kWindows;
  segment(small_model(kOneMillimetre), {input}, options);
  const torch::Tensor without = read_label(out_ / "a.nii.gz").voxels;
  options.save_probabilities = true;
  segment(small_model(kOneMillimetre), {input}, options);
  EXPECT_TRUE(torch::equal(read_label(out_ / "a.nii.gz").voxels, without));
}

TEST_F(SegmenterTest, ReportHoldsWhatWasDone) {
  segment(small_model(kKeep), {image("a.nii.gz")}, {.patch = parse_patch("16,16,8")});
  const Json json = read_json(out_ / "segment.json");
  const Json& found = json["cases"][0];
  EXPECT_EQ(found["case"], "a");
  EXPECT_EQ(found["patch"].dump(), "[16,16,8]");
  EXPECT_EQ(found["size"].dump(), "[20,17,11]");
  for (const char* step : {"load", "preprocess", "network", "export"})
    EXPECT_GE(found["seconds"][step].get<double>(), 0) << step;
  EXPECT_GT(found["peak_bytes"].get<std::int64_t>(), 0);
  const Volume labels = read_label(out_ / "a.nii.gz");
  const double voxels = (labels.voxels == 1).sum().item<double>();
  EXPECT_NEAR(found["volume_mm3"]["liver"].get<double>(), voxels * 0.9 * 1.3 * 2.5, 1e-3);
}

TEST_F(SegmenterTest, AutoKeepsBelowTheMemoryAndSaysSo) {
  const std::string input = image("a.nii.gz");
  const SegmentModel model = small_model(kKeep);
  const SegmentReport whole = segment(model, {input}, SegmentOptions{});
  EXPECT_TRUE(whole.cases.at(0).patch.whole);
  ASSERT_TRUE(whole.cases.at(0).patch.bytes.has_value());
  EXPECT_EQ(exit_code(segment(model, {input}, {.memory_bytes = 1 << 20})), 5);
}

TEST_F(SegmenterTest, OneInputMayNameItsOutputFile) {
  const std::string input = image("a.nii.gz");
  segment_all({small_model(kKeep)},
              {.inputs = {input}, .output = folder_ / "labels" / "mine.nrrd"});
  EXPECT_TRUE(fs::exists(folder_ / "labels" / "mine.nrrd"));
  EXPECT_FALSE(fs::exists(folder_ / "labels" / "segment.json"));
}

TEST_F(SegmenterTest, LabelValuesAreTheModelsIds) {
  SegmentModel model = small_model(kKeep);
  const std::string input = image("a.nii.gz");
  segment(model, {input});
  const torch::Tensor plain = read_label(out_ / "a.nii.gz").voxels;
  model.model.labels = {{0, "background"}, {4, "liver"}, {9, "tumour"}};
  segment(model, {input});
  const torch::Tensor mapped = read_label(out_ / "a.nii.gz").voxels;
  EXPECT_TRUE(mapped.eq(4).eq(plain.eq(1)).all().item<bool>());
  EXPECT_TRUE(mapped.eq(9).eq(plain.eq(2)).all().item<bool>());
}

TEST_F(SegmenterTest, CleaningReachesTheLabelMapAndTheVolumes) {
  const std::string input = image("a.nii.gz");
  const SegmentReport report = segment(
      small_model(kKeep), {input}, {.patch = kWindows.patch, .cleanup = {.min_volume_mm3 = 1e9}});
  EXPECT_EQ(read_label(out_ / "a.nii.gz").voxels.max().item<int>(), 0);
  EXPECT_EQ(report.cases.at(0).volume_mm3.at("liver"), 0);
}

}  // namespace
}  // namespace lamp
