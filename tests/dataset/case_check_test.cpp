// What is wrong with the label map of one case, told as what it is.
#include "lamp/dataset/case_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "dataset/dataset_fixture.h"
#include "lamp/base/errors.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/check_report.h"
#include "lamp/volume/grid_difference.h"
#include "support/fault_of.h"

namespace lamp {
namespace {
using ::testing::HasSubstr;

using CaseCheckTest = testing::DatasetFixture;

TEST_F(CaseCheckTest, SaysWhichAxisOfALabelRunsTheOtherWay) {
  Volume flipped = label();  // 8 voxels along x
  flipped.geometry.direction[0] = -1;
  flipped.geometry.origin_mm[0] = 7;
  add("flipped", image(), flipped);
  Volume exchanged = label();
  exchanged.geometry.direction = {0, 1, 0, 1, 0, 0, 0, 0, 1};
  add("exchanged", image(), exchanged);
  Volume turned = label();  // by 5 degrees about z
  turned.geometry.direction = {
      0.99619469809, -0.08715574275, 0, 0.08715574275, 0.99619469809, 0, 0, 0, 1};
  add("turned", image(), turned);
  Volume coarse = label();
  coarse.geometry.spacing_mm = {1, 1, 3};
  add("coarse", image(), coarse);
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_EQ(report.faults.size(), 4U);
  const auto found = [&](const char* name) {
    return find(report, label_file(name), "place").found;
  };
  EXPECT_THAT(found("flipped"), HasSubstr("a corner 7.000 voxels (7.000 mm) away: its axis x runs "
                                          "the other way (flipped)"));
  EXPECT_THAT(found("flipped"), HasSubstr("7 mm away"));
  EXPECT_THAT(found("exchanged"), HasSubstr("its axes x, y, z run along y, x, z of the other's"));
  EXPECT_THAT(found("turned"), HasSubstr("turned by 5.0 degrees"));
  EXPECT_THAT(found("coarse"), HasSubstr("voxels of 1, 1, 3 mm instead of 1, 1, 2"));
}

// A label map drawn on a copy whose y axis was turned, one with x and z in each other's place, and
// one with both: a copied geometry would mirror them.
TEST_F(CaseCheckTest, TheSamePointsOnOtherAxesAreCalledThat) {
  const Volume drawn = label();  // 8 x 7 x 6 voxels of 1 x 1 x 2 mm
  Volume turned = drawn;
  turned.geometry.direction[4] = -1;
  turned.geometry.origin_mm[1] = 6;
  turned.voxels = turned.voxels.flip(2).contiguous();
  add("turned", image(), turned);
  Volume exchanged = drawn;
  exchanged.geometry = {
      .size = {6, 7, 8}, .spacing_mm = {2, 1, 1}, .direction = {0, 0, 1, 0, 1, 0, 1, 0, 0}};
  exchanged.voxels = exchanged.voxels.transpose(1, 3).contiguous();
  add("exchanged", image(), exchanged);
  Volume both = exchanged;
  both.geometry.direction[4] = -1;
  both.geometry.origin_mm[1] = 6;
  both.voxels = both.voxels.flip(2).contiguous();
  add("both", image(), both);
  Volume moved = turned;  // by one voxel more
  moved.geometry.origin_mm[1] = 7;
  add("moved", image(), moved);
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_EQ(report.faults.size(), 4U) << describe(report);
  for (const char* name : {"exchanged", "both"}) {
    const Fault fault = find(report, label_file(name), "the same place, but another order of axes");
    EXPECT_THAT(fault.fix, HasSubstr("reorder the axes of one of them")) << name;
    EXPECT_THAT(fault.fix, HasSubstr("do not copy the geometry")) << name;
  }
  const Fault flipped =
      find(report, label_file("turned"), "the same place, but axes that run the other way");
  EXPECT_THAT(flipped.found, HasSubstr("its axis y runs the other way (flipped)"));
  EXPECT_THAT(flipped.fix, HasSubstr("flip these axes of one of them"));
  EXPECT_THAT(flipped.fix, HasSubstr("do not copy the geometry"));
  EXPECT_THAT(find(report, label_file("moved"), "another place or orientation").fix,
              HasSubstr("if the voxels match"));
  const std::string fix = testing::fault_of<InputError>([&] {
                            const Dataset dataset = read_dataset(folder_);
                            read_case_label(dataset.training.front(), dataset);
                          }).fix;
  EXPECT_EQ(fix, kFlipAxes);
}

TEST_F(CaseCheckTest, CallsAnExchangedImageAndLabelThat) {
  Volume whole = image();  // as a CT, in whole numbers
  whole.voxels = torch::arange(336, torch::kInt16).view({1, 6, 7, 8}) * 3 - 500;
  for (const bool fractions : {true, false}) {
    entries_.clear();
    add("a", label(), fractions ? image() : whole);
    write_json();
    const CheckReport report = check_dataset(folder_);
    ASSERT_EQ(report.faults.size(), 1U) << describe(report);
    EXPECT_EQ(report.faults[0].what, "a label that looks like an image");
    EXPECT_THAT(report.faults[0].found, HasSubstr("336 distinct values from "));
    EXPECT_THAT(report.faults[0].fix, HasSubstr("exchanged with " + image_file("a").string()));
    EXPECT_THAT(report.faults[0].fix, HasSubstr("holds only label values"));
  }
}

// Two layers of a segmentation are no image: what reading it as a label map found stands.
TEST_F(CaseCheckTest, ALabelMapOfTwoLayersIsCalledThat) {
  add("a", image(), label());
  Volume layers = label();
  layers.voxels = torch::cat({layers.voxels, layers.voxels}).to(torch::kFloat32);
  write_volume(label_file("a"), layers);
  write_json();
  const CheckReport report = check_dataset(folder_);
  ASSERT_EQ(report.faults.size(), 1U) << describe(report);
  EXPECT_EQ(report.faults[0].found, "2 channels in a label map");
}

// 117 values where two labels are listed: an atlas, unless the image of the case holds label
// values only.
TEST_F(CaseCheckTest, AnAtlasOfMoreLabelsThanAreListedIsNoImage) {
  Volume atlas = label();
  atlas.voxels = (torch::arange(336, torch::kInt32) % 117).to(torch::kUInt8).view({1, 6, 7, 8});
  add("atlas", image(), atlas);
  add("exchanged", label(), atlas);
  write_json();
  const CheckReport report = check_dataset(folder_);
  const Fault unlisted = find(report, label_file("atlas"), "unknown label values");
  EXPECT_THAT(unlisted.found, HasSubstr("3 (3 voxels), 4 (3 voxels)"));
  EXPECT_THAT(unlisted.found, HasSubstr(" and 106 other values"));  // 3 to 116 but for 8 of them
  EXPECT_THAT(unlisted.fix, HasSubstr("renumber"));
  EXPECT_EQ(find(report, label_file("atlas"), "looks like an image").what, "");
  EXPECT_THAT(find(report, label_file("exchanged"), "looks like an image").fix,
              HasSubstr("exchanged with " + image_file("exchanged").string()));
}

TEST_F(CaseCheckTest, AnImageInPlaceOfALabelMapBesideAnImageIsNotExchanged) {
  Volume whole = image();
  whole.voxels = torch::arange(336, torch::kInt16).view({1, 6, 7, 8}) * 3 - 500;
  add("a", image(), whole);
  write_json();
  const Fault fault = find(check_dataset(folder_), label_file("a"), "looks like an image");
  EXPECT_EQ(fault.fix, "name the label map of this case");
}

TEST_F(CaseCheckTest, HugeLabelValuesAreNamed) {
  Volume huge = label();
  huge.voxels = huge.voxels.to(torch::kInt32);
  huge.voxels[0][0][0][0] = 2000000000;
  huge.voxels[0][0][0][1] = -7;
  add("a", image(), huge);
  write_json();
  const CheckReport report = check_dataset(folder_);
  EXPECT_EQ(find(report, label_file("a"), "unknown label values").found,
            "-7 (1 voxels), 2000000000 (1 voxels)");
}

}  // namespace
}  // namespace lamp
