// From files to files: geometry, probabilities, failures, protection of what is there.
#include "lamp/inference/segmenter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/nets/net_factory.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::TemporaryFolder;
using ::testing::HasSubstr;

SegmentModel small_model(const Json& data, std::uint64_t seed = 1, std::int64_t channels = 1) {
  SegmentModel model{.file = "small.safetensors",
                     .model = {.network = make_network(
                                   {.width = 4, .depth = 1, .in_channels = channels, .classes = 3}),
                               .labels = {{0, "background"}, {1, "liver"}, {2, "tumour"}},
                               .data = data}};
  model.model.network.initialise(seed);
  model.model.network.chain->eval();
  return model;
}

const Json kKeep = {{"spacing_mm", "keep"}, {"window", nullptr}};
const Json kOneMillimetre = {{"spacing_mm", {1, 1, 1}}, {"window", {-1, 1}}};

// Axes turned by 20 degrees, with an axis order and signs that are not LPS.
Volume oblique_volume(int seed = 0) {
  torch::manual_seed(seed);
  Volume volume;
  volume.geometry.size = {20, 17, 11};
  volume.geometry.spacing_mm = {0.9, 1.3, 2.5};
  volume.geometry.origin_mm = {-31.5, 12.25, 700.125};
  const double c = std::cos(0.35), s = std::sin(0.35);
  volume.geometry.direction = {0, -c, s, 0, -s, -c, 1, 0, 0};
  const torch::Tensor coarse = torch::randn({1, 1, 4, 5, 6});
  volume.voxels = torch::upsample_trilinear3d(coarse, {11, 17, 20}, false)[0].contiguous();
  return volume;
}

std::int64_t difference_in_voxels(const std::vector<torch::Tensor>& a,
                                  const std::vector<torch::Tensor>& b) {
  std::int64_t differing = a.size() == b.size() ? 0 : -1;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    differing += a[i].ne(b[i]).sum().item<std::int64_t>();
  return differing;
}

// Nothing has to be estimated for a window that is given, which saves the tests time.
const SegmentOptions kWindows{.patch = {.kind = PatchRequest::kFixed, .size = {24, 24, 16}}};

class SegmenterTest : public ::testing::Test {
 protected:
  SegmentReport segment(const SegmentModel& model, const std::vector<std::string>& inputs,
                        const SegmentOptions& options = kWindows) {
    return segment_all({model}, {.inputs = inputs, .output = out_, .options = options});
  }
  std::string image(const std::string& name, int seed = 0) {
    write_volume(folder_ / name, oblique_volume(seed));
    return (folder_ / name).string();
  }
  int exit_code(const SegmentReport& report) {
    try {
      report.throw_if_failed();
    } catch (const Error& error) {
      return error.exit_code();
    }
    return 0;
  }

  TemporaryFolder folder_;
  fs::path out_ = folder_ / "out";
};

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

// A network that calls the brighter half by the side it lies on: what it says of a mirrored image
// must be exchanged before it is averaged.
TEST_F(SegmenterTest, TwinsAreExchangedBeforeMirroredPassesAreAveraged) {
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

TEST_F(SegmenterTest, AModelWhosePreprocessingMakesNoSenseIsRefusedByName) {
  const std::string input = image("a.nii.gz");
  const double inf = std::numeric_limits<double>::infinity();
  for (const Json& data : {Json{{"spacing_mm", {1, 0, 1}}}, Json{{"spacing_mm", {1e300, 1, 1}}},
                           Json{{"spacing_mm", {1, 1e-300, 1}}}, Json{{"spacing_mm", {inf, 1, 1}}},
                           Json{{"spacing_mm", {std::nan(""), 1, 1}}}, Json{{"window", {0, inf}}},
                           Json{{"window", {std::nan(""), 1}}}, Json{{"window", {1, 1}}},
                           Json{{"window", {-1e308, 1e308}}}, Json{{"window", {1, 1 + 1e-12}}}}) {
    try {
      segment(small_model(data), {input});
      ADD_FAILURE() << data;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr("small.safetensors")) << data;
    }
  }
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

TEST_F(SegmenterTest, OneBrokenFileAmongThreeLeavesTheOthers) {
  const std::vector<std::string> inputs = {image("a.nii.gz", 1), image("b.nii.gz", 2),
                                           image("c.nii.gz", 3)};
  fs::resize_file(inputs[1], fs::file_size(inputs[1]) / 2);
  const SegmentReport report = segment(small_model(kKeep), inputs);
  EXPECT_EQ(exit_code(report), 4);
  EXPECT_TRUE(fs::exists(out_ / "a.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "b.nii.gz"));
  EXPECT_TRUE(fs::exists(out_ / "c.nii.gz"));
  EXPECT_THAT(report.failures.at(0).message, HasSubstr("b.nii.gz"));
  EXPECT_EQ(read_json(out_ / "segment.json")["failed"][0]["exit_code"], 3);
}

TEST_F(SegmenterTest, ASingleBrokenFileHasItsOwnExitCode) {
  std::ofstream(folder_ / "a.nii.gz") << "not an image";
  EXPECT_EQ(exit_code(segment(small_model(kKeep), {(folder_ / "a.nii.gz").string()})), 3);
  EXPECT_FALSE(fs::exists(out_ / "a.nii.gz"));
}

TEST_F(SegmenterTest, AFailureInTheNetworkDoesNotStopTheOthers) {
  const std::vector<std::string> inputs = {image("a.nii.gz", 1), image("b.nii.gz", 2),
                                           image("c.nii.gz", 3)};
  int calls = 0;
  SegmentRequest request{
      .inputs = inputs, .output = out_, .options = {.patch = parse_patch("64,64,64")}};
  request.make_predictor = [&](const Network& network, c10::Device device,
                               c10::ScalarType dtype) -> Predictor {
    return [&calls, plain = make_predictor(network, device, dtype)](const torch::Tensor& x) {
      TORCH_CHECK(++calls != 2, "the second case fails");
      return plain(x);
    };
  };
  const SegmentReport report = segment_all({small_model(kKeep)}, request);
  EXPECT_EQ(exit_code(report), 4);
  EXPECT_EQ(report.cases.size(), 2U);
  EXPECT_THAT(report.failures.at(0).message, HasSubstr("the second case fails"));
}

// Over two stages the same bytes come out, whole or in windows, several passes or one.
TEST_F(SegmenterTest, StagesDoNotChangeTheResult) {
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

TEST_F(SegmenterTest, ABrokenCaseLeavesTheOthersThatStreamBesideIt) {
  std::vector<std::string> inputs;
  for (int i = 0; i < 5; ++i) inputs.push_back(image("case" + std::to_string(i) + ".nii.gz", i));
  fs::resize_file(inputs[2], fs::file_size(inputs[2]) / 2);
  const SegmentReport report = segment(
      small_model(kKeep), inputs, {.patch = {.kind = PatchRequest::kWhole}, .device = "cpu,cpu"});
  EXPECT_EQ(exit_code(report), 4);
  ASSERT_EQ(report.cases.size(), 4U);
  EXPECT_EQ(report.cases[2].name, "case3") << "in the order of the inputs";
  EXPECT_THAT(report.failures.at(0).message, HasSubstr("case2.nii.gz"));
}

TEST_F(SegmenterTest, AutoKeepsBelowTheMemoryAndSaysSo) {
  const std::string input = image("a.nii.gz");
  const SegmentModel model = small_model(kKeep);
  const SegmentReport whole = segment(model, {input}, SegmentOptions{});
  EXPECT_TRUE(whole.cases.at(0).patch.whole);
  ASSERT_TRUE(whole.cases.at(0).patch.bytes.has_value());
  EXPECT_EQ(exit_code(segment(model, {input}, {.memory_bytes = 1 << 20})), 5);
}

TEST_F(SegmenterTest, AModelForOtherChannelsIsTheWrongOne) {
  EXPECT_EQ(exit_code(segment(small_model(kKeep, 1, 2), {image("a.nii.gz")})), 2);
}

TEST_F(SegmenterTest, AnInputIsNeverReplaced) {
  const std::string input = image("a.nii.gz");
  EXPECT_THROW(segment_all({small_model(kKeep)}, {.inputs = {input}, .output = folder_.path()}),
               UsageError);
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

TEST_F(SegmenterTest, AnEnsembleOfEqualModelsChangesNothing) {
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

TEST_F(SegmenterTest, ModelsThatDifferInLabelsOrPreprocessingAreNotAveraged) {
  SegmentModel other = small_model(kKeep);
  other.model.labels[2] = "cyst";
  const SegmentRequest request{.inputs = {image("a.nii.gz")}, .output = out_};
  EXPECT_THROW(segment_all({small_model(kKeep), other}, request), UsageError);
  EXPECT_THROW(segment_all({small_model(kKeep), small_model(kOneMillimetre)}, request), UsageError);
}

TEST_F(SegmenterTest, MirroringMakesTheResultOfAMirroredImageTheMirroredResult) {
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

TEST_F(SegmenterTest, CleaningReachesTheLabelMapAndTheVolumes) {
  const std::string input = image("a.nii.gz");
  const SegmentReport report = segment(
      small_model(kKeep), {input}, {.patch = kWindows.patch, .cleanup = {.min_volume_mm3 = 1e9}});
  EXPECT_EQ(read_label(out_ / "a.nii.gz").voxels.max().item<int>(), 0);
  EXPECT_EQ(report.cases.at(0).volume_mm3.at("liver"), 0);
}

TEST_F(SegmenterTest, ASignalStopsAndFinishedCasesStay) {
  const std::vector<std::string> inputs = {image("a.nii.gz", 1), image("b.nii.gz", 2)};
  SegmentRequest request{
      .inputs = inputs, .output = out_, .options = {.patch = parse_patch("64,64,64")}};
  int calls = 0;
  request.make_predictor = [&](const Network& network, c10::Device device,
                               c10::ScalarType dtype) -> Predictor {
    return [&calls, plain = make_predictor(network, device, dtype)](const torch::Tensor& x) {
      if (++calls == 2) testing::send_signal(SIGINT);
      return plain(x);
    };
  };
  EXPECT_THROW(segment_all({small_model(kKeep)}, request), Interrupted);
  testing::forget_signals();
  EXPECT_TRUE(fs::exists(out_ / "a.nii.gz"));
  EXPECT_FALSE(fs::exists(out_ / "b.nii.gz"));
}

TEST_F(SegmenterTest, OptionsThatMakeNoSenseAreUsageErrors) {
  const std::string input = image("a.nii.gz");
  EXPECT_THROW(segment(small_model(kKeep), {input}, {.overlap = 1}), UsageError);
  EXPECT_THROW(segment(small_model(kKeep), {input}, {.format = "png"}), UsageError);
  EXPECT_THROW(segment(small_model(kKeep), {input}, {.device = "cpu,gpu"}), UsageError);
  EXPECT_THROW(segment(small_model(kKeep), {input}, {.patch = parse_patch("16,16,2")}), UsageError);
  EXPECT_THROW(segment(small_model(kKeep), {input}, {.device = "cpu", .precision = "fp16"}),
               UsageError);
}

}  // namespace
}  // namespace lamp
