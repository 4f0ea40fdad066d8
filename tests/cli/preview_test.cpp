// Pictures of cases as `lamp check` and `lamp evaluate` leave them. (program_test.cpp has those of
// `lamp segment`, for which it trains a network.)
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "lamp/preview/png.h"
#include "support/ball_dataset.h"
#include "support/decoded_png.h"
#include "support/folder_contents.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

class PreviewTest : public ::testing::Test {
 protected:
  PreviewTest() {
    write_ball_dataset(data_, 2);
    fs::create_directories(folder_ / "predicted");
    for (const char* name : {"ball_0.nii.gz", "ball_1.nii.gz"}) {
      Volume label = read_label(data_ / "labelsTr" / name);
      label.voxels = torch::roll(label.voxels, {2}, {3}).contiguous();
      write_volume(folder_ / "predicted" / name, label);
    }
  }

  ProgramResult check(const std::string& folder) const {
    return run_lamp("check --preview " + folder + " data", in_folder());
  }
  ProgramResult evaluate(const std::string& more) const {
    return run_lamp("evaluate --preview -p predicted -r data/labelsTr " + more, in_folder());
  }
  std::string in_folder() const { return "cd " + quoted(folder_.path()) + ";"; }

  void expect_unchanged(const std::string& command, const std::string& part) const {
    const auto before = contents_of(folder_.path());
    const ProgramResult result = run_lamp(command, in_folder());
    EXPECT_EQ(result.exit_code, 2) << command << "\n" << result.err;
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    EXPECT_THAT(result.err, HasSubstr(part));
    EXPECT_THAT(result.err, HasSubstr("choose another"));
    EXPECT_EQ(contents_of(folder_.path()), before) << command;
  }

  // Greys that are neither black nor white nor text: an image was drawn.
  static std::size_t greys_of(const DecodedPng& picture) {
    std::set<int> greys;
    for (int y = 0; y < picture.height; ++y)
      for (int x = 0; x < picture.width; ++x) greys.insert(picture.grey(x, y));
    return greys.size();
  }
  DecodedPng picture(const std::string& file) const {
    EXPECT_TRUE(own_png()(folder_ / file)) << file;
    return decoded_png(text_of(folder_ / file));
  }
  static std::set<Colour> colours_of(const DecodedPng& picture) {
    std::set<Colour> colours;
    for (int y = 0; y < picture.height; ++y)
      for (int x = 0; x < picture.width; ++x)
        if (const auto [red, green, blue] = picture.at(x, y); red != green || green != blue)
          colours.insert({red, green, blue});
    return colours;
  }

  TemporaryFolder folder_;
  fs::path data_ = folder_ / "data";
};

TEST_F(PreviewTest, CheckDrawsTheReferenceOfEveryCaseAgainAndAgain) {
  for (int round = 0; round < 2; ++round) {
    const ProgramResult result = check("pictures/new");
    EXPECT_EQ(result.exit_code, 0) << result.err;
    for (const char* file : {"pictures/new/ball_0.png", "pictures/new/ball_1.png"}) {
      EXPECT_GT(greys_of(picture(file)), 20U);
      EXPECT_EQ(colours_of(picture(file)).size(), 1U);
    }
  }
}

TEST_F(PreviewTest, CheckDrawsSingleImagesToo) {
  fs::create_directories(folder_ / "other");
  fs::copy(data_ / "imagesTr" / "ball_1.nii.gz", folder_ / "other" / "ball_0.nii.gz");
  const ProgramResult result = run_lamp("check --preview p data/imagesTr other", in_folder());
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* file : {"p/ball_0.png", "p/ball_1.png", "p/ball_0_2.png"})
    EXPECT_TRUE(colours_of(picture(file)).empty());
}

TEST_F(PreviewTest, CheckTakesNoFolderOfTheUsers) {
  expect_unchanged("check --preview data data", "data: found ");
  expect_unchanged("check --preview data/dataset.json data", "found a file");
  ASSERT_EQ(check("p").exit_code, 0);
  std::ofstream(folder_ / "p" / "ball_1.png", std::ios::app) << "changed";
  expect_unchanged("check --preview p data", "ball_1.png");
  fs::remove(folder_ / "p" / "ball_1.png");
  fs::create_symlink(folder_ / "p" / "ball_0.png", folder_ / "p" / "ball_1.png");
  expect_unchanged("check --preview p data", "ball_1.png");
  for (const char* name : {"''", "-"}) EXPECT_EQ(check(name).exit_code, 2);
}

TEST_F(PreviewTest, WhatAKilledCallLeftIsRemoved) {
  ASSERT_EQ(check("p").exit_code, 0);
  const fs::path left = folder_ / "p" / ".ball_0.999999999-0.tmp.png";
  std::ofstream(left) << "half a picture";
  const ProgramResult result = check("p");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(PreviewTest, AModelThatIsNotThereIsToldBeforeAnythingIsDrawn) {
  for (const char* more : {"-m no_model", "-c no_config"}) {
    const std::string command = std::string("check --preview p data ") + more;
    EXPECT_NE(run_lamp(command, in_folder()).exit_code, 0) << more;
    EXPECT_FALSE(fs::exists(folder_ / "p")) << more;
  }
}

TEST_F(PreviewTest, WhatCannotBeReadHasNoPictureAndNoOlderOneStays) {
  ASSERT_EQ(check("p").exit_code, 0);
  fs::resize_file(data_ / "labelsTr" / "ball_0.nii.gz", 100);
  fs::resize_file(data_ / "imagesTr" / "ball_1.nii.gz", 100);
  EXPECT_EQ(check("p").exit_code, 3);
  EXPECT_TRUE(colours_of(picture("p/ball_0.png")).empty());  // the image alone
  EXPECT_LT(greys_of(picture("p/ball_1.png")), 20U);         // the label map alone
  fs::resize_file(data_ / "imagesTr" / "ball_0.nii.gz", 100);
  EXPECT_EQ(check("p").exit_code, 3);
  EXPECT_FALSE(fs::exists(folder_ / "p" / "ball_0.png"));
}

TEST_F(PreviewTest, NoFolderIsMadeWhereNothingCanBeDrawn) {
  for (const char* part : {"imagesTr", "labelsTr"})
    for (const char* name : {"ball_0.nii.gz", "ball_1.nii.gz"})
      fs::resize_file(data_ / part / name, 100);
  EXPECT_EQ(check("deep/p").exit_code, 3);
  EXPECT_FALSE(fs::exists(folder_ / "deep"));
  for (const char* list : {R"({"labels": {"0": "b", "1": "c"}, "training": []})", "no JSON"}) {
    std::ofstream(data_ / "dataset.json") << list;
    check("deep/p");
    EXPECT_FALSE(fs::exists(folder_ / "deep")) << list;
  }
  EXPECT_EQ(run_lamp("check --preview deep/p no_image.nii.gz", in_folder()).exit_code, 3);
  EXPECT_FALSE(fs::exists(folder_ / "deep"));
}

TEST_F(PreviewTest, AFolderHoldsThePicturesOfItsLastCheckAlone) {
  write_ball_dataset(folder_ / "other", 3);
  const auto names = [&] {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_ / "p"))
      names.insert(entry.path().filename().string());
    return names;
  };
  ASSERT_EQ(run_lamp("check --preview p other", in_folder()).exit_code, 0);
  EXPECT_EQ(names(), (std::set<std::string>{"ball_0.png", "ball_1.png", "ball_2.png"}));
  // Its temporary files, too, whatever case they were of.
  std::ofstream(folder_ / "p" / ".ball_2.999999999-0.tmp.png") << "half a picture";
  ASSERT_EQ(check("p").exit_code, 0);
  EXPECT_EQ(names(), (std::set<std::string>{"ball_0.png", "ball_1.png"}));
  ASSERT_EQ(run_lamp("check --preview p data/imagesTr/ball_1.nii.gz", in_folder()).exit_code, 0);
  EXPECT_EQ(names(), (std::set<std::string>{"ball_1.png"}));
  // Nothing is drawn of a list that cannot be read. The folder was there before, and stays.
  std::ofstream(data_ / "dataset.json") << "no JSON";
  EXPECT_EQ(check("p").exit_code, 3);
  EXPECT_EQ(names(), (std::set<std::string>{}));
}

TEST_F(PreviewTest, ACheckThatIsRefusedKeepsTheOlderPictures) {
  ASSERT_EQ(check("p").exit_code, 0);
  std::ofstream(folder_ / "p" / "notes.txt") << "a user's";
  expect_unchanged("check --preview p data/imagesTr", "notes.txt");
  fs::remove(folder_ / "p" / "notes.txt");
  const auto before = contents_of(folder_ / "p");
  EXPECT_EQ(run_lamp("check --preview p data data", in_folder()).exit_code, 2);
  EXPECT_NE(run_lamp("check --preview p -c no_config data", in_folder()).exit_code, 0);
  EXPECT_EQ(contents_of(folder_ / "p"), before);
}

TEST_F(PreviewTest, CheckShowsALabelMapThatLiesElsewhere) {
  Volume label = read_label(data_ / "labelsTr" / "ball_0.nii.gz");
  label.geometry.origin_mm[0] += 30;
  write_volume(data_ / "labelsTr" / "ball_0.nii.gz", label);
  EXPECT_EQ(check("p").exit_code, 3);
  EXPECT_EQ(colours_of(picture("p/ball_0.png")).size(), 1U);
}

TEST_F(PreviewTest, EvaluateDrawsBothMapsOverTheImage) {
  for (const char* more : {"-d data -o listed", "-o beside"}) {
    for (int round = 0; round < 2; ++round) {
      const ProgramResult result = evaluate(more);
      EXPECT_EQ(result.exit_code, 0) << result.err;
      EXPECT_THAT(result.err, Not(HasSubstr("without an image")));
    }
    const std::string out = std::string(more).substr(std::string(more).rfind(' ') + 1);
    for (const char* file : {"/ball_0.png", "/ball_1.png"}) {
      EXPECT_GT(greys_of(picture(out + file)), 20U);
      EXPECT_EQ(colours_of(picture(out + file)).size(), 2U);  // the label's, full and pale
    }
  }
}

TEST_F(PreviewTest, EvaluateWithoutImagesDrawsOnBlackAndSaysSoOnce) {
  fs::remove_all(data_ / "imagesTr");
  const ProgramResult result = evaluate("-o out");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto first = result.err.find("without an image");
  ASSERT_NE(first, std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("without an image", first + 1), std::string::npos);
  EXPECT_THAT(result.err, HasSubstr("name the data set with -d"));
  EXPECT_LT(greys_of(picture("out/ball_0.png")), 20U);
}

TEST_F(PreviewTest, EvaluateNamesTheCaseThatTheDataSetDoesNotHold) {
  fs::copy(data_ / "labelsTr", folder_ / "refs");
  fs::copy(data_, folder_ / "mr", fs::copy_options::recursive);
  std::ofstream(folder_ / "mr" / "dataset.json")
      << R"({"labels": {"0": "background", "1": "ball"}, "training": [)"
      << R"({"image": "imagesTr/ball_0.nii.gz", "label": "labelsTr/ball_0.nii.gz"}]})";
  const ProgramResult result =
      run_lamp("evaluate --preview -p predicted -r refs -d mr -o out", in_folder());
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("without an image: ball_1: "));
  EXPECT_THAT(result.err, HasSubstr("mr/dataset.json, which has no case of that name"));
  EXPECT_THAT(result.err, Not(HasSubstr("name the data set")));
}

TEST_F(PreviewTest, AnImageOfAnotherGridOrNoneIsNoFailure) {
  Volume image = read_image(data_ / "imagesTr" / "ball_0.nii.gz");
  image.geometry.origin_mm[2] += 5;
  write_volume(data_ / "imagesTr" / "ball_0.nii.gz", image);
  fs::resize_file(data_ / "imagesTr" / "ball_1.nii.gz", 100);
  const ProgramResult result = evaluate("-o out");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("another grid"));
  EXPECT_THAT(result.err, HasSubstr("drawn on black"));
  EXPECT_LT(greys_of(picture("out/ball_0.png")), 20U);
  EXPECT_LT(greys_of(picture("out/ball_1.png")), 20U);
}

TEST_F(PreviewTest, EvaluateReplacesNoPictureOfTheUsers) {
  fs::create_directories(folder_ / "out");
  std::ofstream(folder_ / "out" / "ball_1.png") << "a photo";
  expect_unchanged("evaluate --preview -q -p predicted -r data/labelsTr -o out", "ball_1.png");
  EXPECT_EQ(run_lamp("evaluate -q -p predicted -r data/labelsTr -o out", in_folder()).exit_code, 0);
}

TEST_F(PreviewTest, ACaseThatFailsKeepsNoOlderPicture) {
  ASSERT_EQ(evaluate("-o out").exit_code, 0);
  fs::remove(folder_ / "predicted" / "ball_0.nii.gz");
  EXPECT_EQ(evaluate("-o out").exit_code, 4);
  EXPECT_FALSE(fs::exists(folder_ / "out" / "ball_0.png"));
  EXPECT_TRUE(fs::exists(folder_ / "out" / "ball_1.png"));
}

TEST_F(PreviewTest, ADiskThatRefusesIsAnError) {
  EXPECT_EQ(run_lamp("check --preview data/dataset.json/p data", in_folder()).exit_code, 1);
  EXPECT_NE(run_lamp("check --preview p data", in_folder() + "ulimit -f 1;").exit_code, 0);
}

}  // namespace
}  // namespace lamp::testing
