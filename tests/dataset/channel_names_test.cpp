// nnU-Net's rule for the names of channels.
#include "lamp/dataset/channel_names.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

std::string fault(const std::vector<int>& numbers, std::size_t expected) {
  std::vector<ChannelFile> files;
  for (const int number : numbers) files.push_back({number, "q_" + std::to_string(number)});
  return channel_fault(files, expected);
}

TEST(ChannelNamesTest, ANumberHasFourDigitsAndAStem) {
  EXPECT_EQ(split_channel("liver_0001").stem, "liver");
  EXPECT_EQ(split_channel("liver_0001").number, 1);
  EXPECT_EQ(split_channel("a_1234_0000").stem, "a_1234");
  for (const char* name : {"liver", "_0001", "0001", "liver_001", "liver_00001", "liver_000a",
                           "liver-0001", "liver_0001_", ""}) {
    EXPECT_EQ(split_channel(name).number, -1) << name;
    EXPECT_EQ(split_channel(name).stem, name);
  }
}

TEST(ChannelNamesTest, NumbersMustCountFromZero) {
  EXPECT_EQ(fault({0}, 1), "");
  EXPECT_EQ(fault({0, 1, 2}, 3), "");
  EXPECT_EQ(fault({2, 0, 1}, 3), "");
  EXPECT_EQ(fault({0, 2}, 2), "channel 1 is missing (there is 0 and 2)");
  EXPECT_EQ(fault({1, 2}, 2), "channel 0 is missing (there is 1 and 2)");
  EXPECT_EQ(fault({1}, 1), "channel 0 is missing (there is 1)");
  EXPECT_EQ(fault({1}, 2), "channel 0 is missing (there is 1)");
  EXPECT_EQ(fault({0, 1, 3}, 4), "channel 2 is missing (there is 0, 1 and 3)");
  EXPECT_EQ(fault({0, 1, 2}, 2), "channel 2 is one too many (there is 0, 1 and 2)");
  EXPECT_EQ(fault({0, 0}, 2), "channel 0 is there twice (q_0 and q_0)");
  EXPECT_EQ(fault({}, 1), "channel 0 is missing");
  EXPECT_EQ(fault({-1}, 1), "q_-1 has no channel in its name");
}

TEST(ChannelNamesTest, FilesOfOneFolderAndStemAreOneCaseInOrderOfTheirNumbers) {
  const auto groups = group_channels({"in/b_0001.nii.gz", "in/a.nrrd", "in/b_0000.nii.gz",
                                      "other/b_0002.nii.gz", "in/b_0001.mha"});
  ASSERT_EQ(groups.size(), 3U);
  EXPECT_EQ(groups[0].stem, "b");
  ASSERT_EQ(groups[0].files.size(), 3U);
  EXPECT_EQ(groups[0].files[0].file, "in/b_0000.nii.gz");
  EXPECT_EQ(groups[0].files[1].file, "in/b_0001.nii.gz");
  EXPECT_EQ(groups[0].files[2].file, "in/b_0001.mha");  // twice: channel_fault's business
  EXPECT_EQ(groups[1].stem, "a");
  EXPECT_EQ(groups[1].files[0].number, -1);
  EXPECT_EQ(groups[2].files[0].number, 2);
}

TEST(ChannelNamesTest, AGivenEndingIsWhatFollowsTheNumber) {
  const auto groups = group_channels({"p_0000.x.nii.gz", "p_0001.x.nii.gz"}, ".x.nii.gz");
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].stem, "p");
  EXPECT_EQ(group_channels({"p_0000.x.nii.gz"})[0].files[0].number, -1);
}

}  // namespace
}  // namespace lamp
