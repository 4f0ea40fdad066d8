// All faults of a data set before the first step, and the fingerprint that tells one from another.
#include "lamp/training/data_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <functional>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/formats/volume_io.h"
#include "lamp/training/data_fingerprint.h"
#include "lamp/training/trainer.h"
#include "support/ball_dataset.h"
#include "support/folder_contents.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

int times(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class DataCheckTest : public ::testing::Test {
 protected:
  DataCheckTest() {
    set_log_level(LogLevel::kError);
    testing::forget_signals();
    testing::write_ball_dataset(data_, 5);
  }
  ~DataCheckTest() override { close_log_file(); }

  // Of a training that must be refused as a fault of the data, without a trace in the run folder;
  // all that was said goes into it, the warnings, too.
  std::string refused() {
    ::testing::internal::CaptureStderr();
    set_log_level(LogLevel::kWarning);
    std::string message = "no error";
    try {
      train({.dataset = data_, .config = testing::ball_config(), .run = folder_ / "run"});
    } catch (const InputError& error) {
      message = error.what();
      file_ = error.file();
    }
    set_log_level(LogLevel::kError);
    close_log_file();
    EXPECT_FALSE(fs::exists(folder_ / "run")) << message;
    return ::testing::internal::GetCapturedStderr() + message;
  }
  void change_dataset(const std::function<void(Json&)>& change) {
    Json json = read_json(data_ / "dataset.json");
    change(json);
    std::ofstream(data_ / "dataset.json") << json.dump();
  }

  testing::TemporaryFolder folder_;
  fs::path data_ = folder_ / "data";
  std::string file_;
};

TEST_F(DataCheckTest, EveryFaultIsNamedAtOnce) {
  fs::resize_file(data_ / "imagesTr" / "ball_0.nii.gz", 100);
  fs::remove(data_ / "labelsTr" / "ball_2.nii.gz");
  fs::copy_file(data_ / "labelsTr" / "ball_0.nii.gz", data_ / "labelsTr" / "ball_4.nii.gz",
                fs::copy_options::overwrite_existing);  // of another grid
  EXPECT_THAT(refused(), AllOf(HasSubstr("ball_0.nii.gz"), HasSubstr("labelsTr/ball_2.nii.gz"),
                               HasSubstr("labelsTr/ball_4.nii.gz"), HasSubstr("2 more faults")));
}

TEST_F(DataCheckTest, EveryFaultIsNamedOnce) {
  fs::remove(data_ / "labelsTr" / "ball_2.nii.gz");
  fs::resize_file(data_ / "imagesTr" / "ball_0.nii.gz", 100);
  const std::string said = refused();
  for (const char* file : {"imagesTr/ball_0.nii.gz: ", "labelsTr/ball_2.nii.gz: "})
    EXPECT_EQ(times(said, file), 1) << said;
}

TEST_F(DataCheckTest, ALabelThatIsNotAnnotatedIsNamedOnce) {
  change_dataset([](Json& json) {
    json["labels"]["2"] = "nothing";
    for (int i : {1, 3}) json["training"][i]["annotated"] = {2};
  });
  const std::string said = refused();
  for (const char* file : {"labelsTr/ball_1.nii.gz: ", "labelsTr/ball_3.nii.gz: "})
    EXPECT_EQ(times(said, file), 1) << said;
}

TEST_F(DataCheckTest, AMissingFirstImageIsNoReasonToStopLooking) {
  fs::remove(data_ / "imagesTr" / "ball_0.nii.gz");
  fs::remove(data_ / "imagesTr" / "ball_3.nii.gz");
  EXPECT_THAT(refused(), AllOf(HasSubstr("ball_0"), HasSubstr("ball_3")));
}

TEST_F(DataCheckTest, AnotherNumberOfChannelsNamesTheFile) {
  const fs::path file = data_ / "imagesTr" / "ball_3.nii.gz";
  Volume image = read_image(file);
  image.voxels = torch::cat({image.voxels, image.voxels}).to(torch::kInt16);
  write_volume(file, image);
  EXPECT_THAT(refused(), AllOf(HasSubstr("channels"), HasSubstr("found 2")));
  EXPECT_EQ(file_, file.string());
}

TEST_F(DataCheckTest, AWrongNumTrainingIsRefusedAsCheckDoes) {
  change_dataset([](Json& json) { json["numTraining"] = 7; });
  EXPECT_THAT(refused(), AllOf(HasSubstr("found 5"), HasSubstr("7 as numTraining says")));
  change_dataset([](Json& json) { json["numTraining"] = 5; });
  EXPECT_EQ(
      train({.dataset = data_, .config = testing::ball_config(), .run = folder_ / "run"}).epochs,
      4);
}

TEST_F(DataCheckTest, NoForegroundAtAllIsNothingToLearn) {
  for (int i = 0; i < 5; ++i) {
    const fs::path file = data_ / "labelsTr" / ("ball_" + std::to_string(i) + ".nii.gz");
    Volume label = read_label(file);
    label.voxels = torch::zeros_like(label.voxels).to(torch::kUInt8);
    write_volume(file, label);
  }
  EXPECT_NE(refused().find("background"), std::string::npos);
}

TEST_F(DataCheckTest, TestCasesAreNotTrainingsBusiness) {
  change_dataset([](Json& json) {
    json["test"] = {"./imagesTs/not_downloaded.nii.gz"};
    json["numTest"] = 9;
  });
  EXPECT_EQ(
      train({.dataset = data_, .config = testing::ball_config(), .run = folder_ / "run"}).epochs,
      4);
}

// With a cache, the same bytes are read through once; other bytes are looked at again.
TEST_F(DataCheckTest, WhatWasFoundSoundIsRememberedByItsBytes) {
  const fs::path cache = folder_ / "cache";
  fs::create_directories(cache);
  const auto check = [&] {
    const Json fingerprint = data_fingerprint(read_dataset(data_), Json(), cache);
    check_training_data(
        {.dataset = data_, .content = content_digest(fingerprint), .stamps = cache});
  };
  check();
  const auto stamps = testing::contents_of(cache);
  EXPECT_GE(stamps.size(), 1U);
  check();
  EXPECT_EQ(testing::contents_of(cache).size(), stamps.size());
  const fs::path file = data_ / "labelsTr" / "ball_1.nii.gz";
  Volume label = read_label(file);
  label.voxels = torch::full_like(label.voxels, 9).to(torch::kUInt8);
  write_volume(file, label);
  EXPECT_THROW(check(), InputError);
}

// Independent of the program: coreutils' sha256sum.
TEST_F(DataCheckTest, TheFingerprintHoldsTheDigestOfEveryFile) {
  const Json json = data_fingerprint(read_dataset(data_), Json(), std::nullopt);
  ASSERT_EQ(json["training"].size(), 5U);
  for (const Json& row : json["training"]) {
    ASSERT_EQ(row["files"].size(), 2U);
    for (const Json& file : row["files"]) {
      const std::string command = "sha256sum '" + file["path"].get<std::string>() + "'";
      FILE* pipe = popen(command.c_str(), "r");
      char digest[65] = {};
      ASSERT_EQ(fscanf(pipe, "%64s", digest), 1);
      pclose(pipe);
      EXPECT_EQ(file["sha256"], digest);
      EXPECT_EQ(file["bytes"], fs::file_size(file["path"].get<std::string>()));
    }
  }
}

TEST_F(DataCheckTest, RememberedFilesAreNotReadAgainAndChangedOnesAre) {
  const fs::path file = data_ / "imagesTr" / "ball_1.nii.gz";
  const Dataset dataset = read_dataset(data_);
  Json known = data_fingerprint(dataset, Json(), std::nullopt);
  // Written this moment: their times are not to be trusted, so they are not remembered.
  EXPECT_EQ(known["training"][1]["files"][0]["mtime_ns"], 0);
  usleep(2'200'000);
  known = data_fingerprint(dataset, Json(), std::nullopt);
  EXPECT_NE(known["training"][1]["files"][0]["mtime_ns"], 0);
  const std::string right = known["training"][1]["files"][0]["sha256"];
  known["training"][1]["files"][0]["sha256"] = std::string(64, 'a');  // taken at its word
  EXPECT_EQ(data_fingerprint(dataset, known, std::nullopt)["training"][1]["files"][0]["sha256"],
            std::string(64, 'a'));
  const std::string bytes = read_file(file);
  std::ofstream(file, std::ios::binary) << bytes;  // the same bytes, another time
  EXPECT_EQ(data_fingerprint(dataset, known, std::nullopt)["training"][1]["files"][0]["sha256"],
            right);
}

}  // namespace
}  // namespace lamp
