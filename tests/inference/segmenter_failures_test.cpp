// What one bad input, model or option does to the others, and what a signal leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <limits>

#include "inference/segmenter_fixture.h"
#include "support/signals.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using namespace lamp::testing;  // NOLINT: the test's own support
using ::testing::HasSubstr;

class SegmenterFailuresTest : public SegmenterTest {};

TEST_F(SegmenterFailuresTest, AModelWhosePreprocessingMakesNoSenseIsRefusedByName) {
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

TEST_F(SegmenterFailuresTest, OneBrokenFileAmongThreeLeavesTheOthers) {
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

TEST_F(SegmenterFailuresTest, ASingleBrokenFileHasItsOwnExitCode) {
  std::ofstream(folder_ / "a.nii.gz") << "not an image";
  EXPECT_EQ(exit_code(segment(small_model(kKeep), {(folder_ / "a.nii.gz").string()})), 3);
  EXPECT_FALSE(fs::exists(out_ / "a.nii.gz"));
}

TEST_F(SegmenterFailuresTest, AFailureInTheNetworkDoesNotStopTheOthers) {
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

TEST_F(SegmenterFailuresTest, ABrokenCaseLeavesTheOthersThatStreamBesideIt) {
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

TEST_F(SegmenterFailuresTest, AnImageOfOtherChannelsIsTheWrongOne) {
  EXPECT_EQ(exit_code(segment(small_model(kKeep, 1, 2), {image("a.nii.gz")})), 3);
}

TEST_F(SegmenterFailuresTest, AnInputIsNeverReplaced) {
  const std::string input = image("a.nii.gz");
  EXPECT_THROW(segment_all({small_model(kKeep)}, {.inputs = {input}, .output = folder_.path()}),
               UsageError);
}

TEST_F(SegmenterFailuresTest, NoLabelMapsAmongTheFilesOfARunOrADataSet) {
  const std::string input = image("a.nii.gz");
  fs::create_directories(folder_ / "run" / "state");
  std::ofstream(folder_ / "run" / "run.json") << R"({"format": "lamp-run"})";
  fs::create_directories(folder_ / "data" / "labelsTs");
  std::ofstream(folder_ / "data" / "dataset.json") << "{}";
  for (const char* place : {"run", "run/state", "data", "data/labelsTs", "data/labelsTs/a.nii.gz"})
    EXPECT_THROW(segment_all({small_model(kKeep)}, {.inputs = {input}, .output = folder_ / place}),
                 UsageError)
        << place;
  EXPECT_TRUE(fs::is_empty(folder_ / "data" / "labelsTs"));
  for (const char* place : {"run/predictions", "data/predictions"})
    EXPECT_EQ(exit_code(segment_all({small_model(kKeep)},
                                    {.inputs = {input}, .output = folder_ / place})),
              0)
        << place;
}

TEST_F(SegmenterFailuresTest, ASignalStopsAndFinishedCasesStay) {
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

TEST_F(SegmenterFailuresTest, OptionsThatMakeNoSenseAreUsageErrors) {
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
