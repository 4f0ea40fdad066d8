// Names: settled before anything is written, and never two for one file.
#include "lamp/inference/segment_outputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<InputCase> kOne = {{"a", {{-1, "in/a.nii.gz"}}}};
const std::vector<InputCase> kTwo = {{"a", {{-1, "in/a.nii.gz"}}}, {"b", {{-1, "in/b.mha"}}}};

std::string output_refusal(const fs::path& output, const SegmentOptions& options,
                           const std::vector<InputCase>& cases) {
  try {
    plan_outputs(output, options, cases);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(SegmentOutputsTest, AFolderTakesEveryCaseInTheFormatAskedFor) {
  const SegmentOutputs outputs = plan_outputs("out", {}, kTwo);
  EXPECT_THAT(outputs.labels, ElementsAre("out/a.nii.gz", "out/b.nii.gz"));
  EXPECT_EQ(outputs.report, "out/segment.json");
  EXPECT_EQ(outputs.probabilities.size(), outputs.labels.size());  // to know older ones by
  for (const char* format : {"mha", "MHA", ".mha"})
    EXPECT_THAT(plan_outputs("out.d", {.format = format}, kTwo).labels,
                ElementsAre("out.d/a.mha", "out.d/b.mha"));
}

TEST(SegmentOutputsTest, ANameInAFormatIsTheLabelMapInCapitalsToo) {
  for (const char* name : {"one.nii.gz", "one.NII.GZ", "one.Nii.gz", "one.nii", "one.nrrd",
                           "one.NRRD", "one.mha", "one.1.MHA"}) {
    const SegmentOutputs outputs = plan_outputs(fs::path("out") / name, {}, kOne);
    EXPECT_THAT(outputs.labels, ElementsAre(fs::path("out") / name));
    EXPECT_EQ(outputs.report, "");
  }
  EXPECT_THAT(plan_outputs("x.NII.GZ", {.save_probabilities = true}, kOne).probabilities,
              ElementsAre("x_prob.NII.GZ"));
}

TEST(SegmentOutputsTest, AFormatThatCannotBeWrittenIsNoFolder) {
  for (const char* name :
       {"one.nhdr", "one.mhd", "one.hdr", "one.img", "one.mgz", "one.dcm", "one.HDR", "one.npy",
        "one.png", "one.json", "one.nii.bz2", ".nii.gz", "one.mha.gz", "one.safetensors"})
    EXPECT_THAT(output_refusal(name, {}, kOne), HasSubstr("expected a folder, or a label map"))
        << name;
  const testing::TemporaryFolder folder;
  fs::create_directory(folder / "old.mgz");  // unless it is one
  EXPECT_EQ(output_refusal(folder / "old.mgz", {}, kOne), "");
}

TEST(SegmentOutputsTest, OneFileIsNotForSeveralCases) {
  EXPECT_THAT(output_refusal("two.nii.gz", {}, kTwo), HasSubstr("found 2 cases"));
  EXPECT_EQ(output_refusal("two.nii.gz/", {}, kTwo), "");
}

TEST(SegmentOutputsTest, ANameAndAFormatMustAgree) {
  EXPECT_THAT(output_refusal("one.nrrd", {.format = "mha"}, kOne), HasSubstr("contradicts"));
  EXPECT_THAT(output_refusal("one.nii", {.format = "nii.gz"}, kOne), HasSubstr("contradicts"));
  EXPECT_EQ(output_refusal("one.NRRD", {.format = "nrrd"}, kOne), "");
  EXPECT_THAT(output_refusal("out", {.format = "png"}, kOne), HasSubstr("format: found"));
}

TEST(SegmentOutputsTest, CasesThatWouldShareAFileAreRefused) {
  const std::vector<InputCase> twins = {{"a", {{-1, "in/a.nii.gz"}}},
                                        {"a_prob", {{-1, "in/a_prob.nii.gz"}}}};
  EXPECT_EQ(output_refusal("out", {}, twins), "");
  EXPECT_THAT(output_refusal("out", {.save_probabilities = true}, twins),
              HasSubstr("out/a_prob.nii.gz would be the label map of in/a_prob.nii.gz and the "
                        "probabilities of in/a.nii.gz"));
  EXPECT_THAT(output_refusal("out", {}, {{"a", {{-1, "x/a.nii.gz"}}}, {"a", {{-1, "y/a.mha"}}}}),
              HasSubstr("out/a.nii.gz"));
}

TEST(SegmentOutputsTest, ANameThatIsNoneIsRefused) {
  EXPECT_THAT(output_refusal("", {}, kOne), HasSubstr("empty name"));
  EXPECT_THAT(output_refusal("-", {}, kOne), HasSubstr("standard output"));
  EXPECT_THAT(output_refusal("/dev/null", {}, kOne), HasSubstr("found a file"));
}

}  // namespace
}  // namespace lamp
