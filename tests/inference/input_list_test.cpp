// Whatever people point at becomes the right list of cases, or a message that helps.
#include "lamp/inference/input_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/inference/intensity_survey.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class InputListTest : public ::testing::Test {
 protected:
  void touch(const std::string& name) {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << "x";
  }
  void write(const std::string& name, std::int64_t channels = 1, double origin = 0) {
    Volume volume{.voxels = torch::full({channels, 2, 3, 4}, 7.0F)};
    volume.geometry.size = {4, 3, 2};
    volume.geometry.origin_mm = {origin, 0, 0};
    write_volume(folder_ / name, volume);
  }
  std::vector<std::string> names(const std::vector<std::string>& inputs,
                                 std::int64_t channels = 1) {
    std::vector<std::string> found;
    for (const InputCase& input : expand_inputs(inputs, channels)) found.push_back(input.name);
    return found;
  }
  std::string path(const std::string& name = "") { return (folder_ / name).string(); }
  template <typename ErrorType, typename Act>
  static std::string refusal(const Act& act) {
    try {
      act();
    } catch (const ErrorType& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_F(InputListTest, AFolderGivesItsVolumesSortedWithoutHiddenAndOtherFiles) {
  for (const char* name : {"b.nii.gz", "a.nrrd", "._b.nii.gz", ".hidden.nii", "notes.txt", "c.mha"})
    touch(name);
  EXPECT_THAT(names({path()}), ElementsAre("a", "b", "c"));
}

TEST_F(InputListTest, FilesKeepTheirOrderAndCountOnce) {
  for (const char* name : {"b.nii.gz", "a.nii"}) touch(name);
  EXPECT_THAT(names({path("b.nii.gz"), path("a.nii"), path()}), ElementsAre("b", "a"));
}

TEST_F(InputListTest, ALinkIsACaseOfItsOwn) {
  touch("in/a.nii.gz");
  fs::create_symlink("a.nii.gz", folder_ / "in/b.nii.gz");
  fs::create_directory_symlink(folder_ / "in", folder_ / "again");
  EXPECT_THAT(names({path("in")}), ElementsAre("a", "b"));
  EXPECT_THAT(names({path("in/"), path("in/../in/b.nii.gz"), path("again")}),
              ElementsAre("a", "b"));
}

TEST_F(InputListTest, OneChannelDropsTheChannelFromTheName) {
  for (const char* name : {"p_0000.nii.gz", "q_0001.nii.gz", "r_12.nii.gz"}) touch(name);
  EXPECT_THAT(names({path()}), ElementsAre("p", "q_0001", "r_12"));
}

TEST_F(InputListTest, SeveralChannelsOfACaseComeTogetherInOrder) {
  for (const char* name :
       {"p_0001.nii.gz", "p_0000.nii.gz", "q_0000.nii.gz", "q_0001.nii.gz", "r.nii.gz"})
    touch(name);
  const auto cases = expand_inputs({path()}, 2);
  ASSERT_EQ(cases.size(), 3U);
  EXPECT_EQ(cases[0].name, "p");
  ASSERT_EQ(cases[0].files.size(), 2U);
  EXPECT_EQ(cases[0].files[1].file.filename(), "p_0001.nii.gz");
  EXPECT_EQ(cases[2].files.size(), 1U);
}

TEST_F(InputListTest, NumbersOfCasesAreNoChannels) {
  for (const char* name :
       {"img_0000.nii.gz", "img_0001.nii.gz", "img_0002.nii.gz", "p_0000.nii.gz"})
    touch(name);
  EXPECT_THAT(names({path()}), ElementsAre("img_0000", "img_0001", "img_0002", "p"));
}

TEST_F(InputListTest, ChannelsMustBeNumberedFromZeroWithoutAGap) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> wrong = {
      {{"q_0000.nii.gz", "q_0002.nii.gz"}, "channel 1 is missing"},
      {{"q_0001.nii.gz", "q_0002.nii.gz"}, "channel 0 is missing"},
      {{"q_0001.nii.gz"}, "channel 0 is missing"},
      {{"q_0000.nii.gz", "q_0000.nii", "q_0001.nii.gz"}, "channel 0 is there twice"},
      {{"q_0000.nii.gz", "q_0000.nii"}, "channel 0 is there twice"},
      {{"q_0000.nii.gz", "q_0001.nii.gz", "q_0003.nii.gz"}, "channel 3 is one too many"}};
  for (const auto& [files, said] : wrong) {
    for (const auto& entry : fs::directory_iterator(folder_.path())) fs::remove(entry);
    for (const std::string& file : files) write(file);
    const auto cases = expand_inputs({path()}, 2);
    ASSERT_EQ(cases.size(), 1U);
    EXPECT_THAT(refusal<InputError>([&] { read_case(cases[0], 2, {}); }), HasSubstr(said));
  }
}

// The files are sound, but not what the model takes.
TEST_F(InputListTest, ACheckForAModelSeesWrongChannels) {
  for (const char* file : {"p_0000.nii.gz", "p_0001.nii.gz", "q_0000.nii.gz", "q_0002.nii.gz"})
    write(file);
  write("both.nii.gz", 2);
  CheckReport report = check_images({folder_.path()});
  EXPECT_TRUE(report.ok());
  EXPECT_THAT(report.notes,
              ::testing::Contains(HasSubstr("q: if its files are channels of one case, "
                                            "channel 1 is missing (there is 0 and 2)")));
  survey_beside(report, {path()}, {.channels = 2});
  ASSERT_EQ(report.faults.size(), 1U);
  EXPECT_EQ(report.faults[0].file, path("q_0000.nii.gz"));
  EXPECT_THAT(report.faults[0].found, HasSubstr("channel 1 is missing"));
  write("q_0001.nii.gz");
  CheckReport one_too_many = check_images({folder_.path()});
  EXPECT_THAT(one_too_many.notes, ::testing::Not(::testing::Contains(HasSubstr("one case"))));
  survey_beside(one_too_many, {path()}, {.channels = 2});
  EXPECT_EQ(one_too_many.faults.size(), 1U);
}

TEST_F(InputListTest, OneFileWithAllChannelsMayHaveAnyNumber) {
  write("brats_0007.nii.gz", 2);
  const auto cases = expand_inputs({path()}, 2);
  EXPECT_EQ(read_case(cases[0], 2, {}).voxels.size(0), 2);
}

TEST_F(InputListTest, WhatElseAFolderHoldsIsReturned) {
  for (const char* name : {"a.nii.gz", "b.mgz", "notes.txt", "deep/c.nii.gz"}) touch(name);
  std::vector<LeftOut> left_out;
  const auto cases = expand_inputs({path(), path("deep")}, 1, &left_out);
  EXPECT_EQ(cases.size(), 2U);
  std::vector<std::string> files;
  for (const LeftOut& file : left_out) files.push_back(file.file.filename());
  EXPECT_THAT(files, ElementsAre("b.mgz", "notes.txt"));
}

TEST_F(InputListTest, AFolderWithoutVolumesSaysWhatItHolds) {
  touch("notes.txt");
  touch("imagesTs/a.nii.gz");
  const auto expand = [&] { expand_inputs({path()}, 1); };
  const std::string text = refusal<InputError>(expand);
  EXPECT_THAT(text, HasSubstr("such as imagesTs"));
  EXPECT_THAT(text, HasSubstr("did you mean"));
  fs::create_directories(folder_ / "empty");
  EXPECT_THAT(refusal<InputError>([&] { expand_inputs({path("empty")}, 1); }),
              HasSubstr("empty folder"));
}

TEST_F(InputListTest, MissingAndUnknownFilesAreNamed) {
  touch("a.txt");
  EXPECT_THAT(refusal<InputError>([&] { expand_inputs({path("none.nii.gz")}, 1); }),
              HasSubstr("none.nii.gz"));
  EXPECT_THAT(refusal<InputError>([&] { expand_inputs({path("a.txt")}, 1); }),
              HasSubstr(".nii.gz"));
}

TEST_F(InputListTest, ADicomFileSaysToNameItsFolder) {
  fs::create_directories(folder_ / "series");
  std::ofstream(folder_ / "series/IM1.dcm") << std::string(128, '\0') << "DICM";
  EXPECT_THAT(refusal<InputError>([&] { expand_inputs({path("series/IM1.dcm")}, 1); }),
              HasSubstr("found a single DICOM file"));
  EXPECT_THAT(refusal<InputError>([&] { expand_inputs({path("series/IM1.dcm")}, 1); }),
              HasSubstr("; name its folder, " + path("series")));
}

TEST_F(InputListTest, TwoCasesOfOneNameAreRefused) {
  touch("one/a.nii.gz");
  touch("two/a.nrrd");
  EXPECT_THAT(refusal<UsageError>([&] {
                expand_inputs({path("one"), path("two")}, 1);
              }),
              HasSubstr("two/a.nrrd"));
}

TEST_F(InputListTest, ReadsChannelsFromOneFileOrSeveral) {
  write("p_0000.nii.gz");
  write("p_0001.nii.gz");
  write("both.nii.gz", 2);
  for (const InputCase& input : expand_inputs({path()}, 2))
    EXPECT_EQ(read_case(input, 2, {}).voxels.size(0), 2) << input.name;
}

TEST_F(InputListTest, ChannelsMustMatchTheNetworkAndShareAGrid) {
  write("p_0000.nii.gz");
  const auto one = expand_inputs({path()}, 2);
  EXPECT_THAT(refusal<InputError>([&] { read_case(one[0], 2, {}); }),
              HasSubstr("found 1, expected 2"));
  write("p_0001.nii.gz", 1, 5);
  const auto moved = expand_inputs({path()}, 2);
  EXPECT_THAT(refusal<InputError>([&] { read_case(moved[0], 2, {}); }),
              HasSubstr("a corner 5.000 voxels"));
}

}  // namespace
}  // namespace lamp
