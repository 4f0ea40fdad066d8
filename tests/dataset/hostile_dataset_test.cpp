// A data set from a stranger names files that are none of its business: whatever command meets it,
// not one byte outside the folders it was given may change, and nothing outside is read unless the
// user says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "convert/prepare_fixture.h"
#include "convert/prepare_samples.h"
#include "lamp/convert/hidden_annotations.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/dataset/dataset_paths.h"
#include "lamp/phantoms/phantom.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;
using ::testing::HasSubstr;

class HostileDatasetTest : public testing::PrepareTest {
 protected:
  void SetUp() override {
    PrepareTest::SetUp();
    testing::write_liver_task(folder_ / "liver", 3);
    fs::create_directories(folder_ / "victim");
    for (const char* file : {"scan.nii.gz", "label.nii.gz"})
      fs::copy_file(folder_ / "liver" / "imagesTr" / "liver_1.nii.gz", folder_ / "victim" / file);
    for (const char* file : {"id_rsa", "dataset.json", ".bashrc"})
      testing::written(folder_ / "victim" / file, std::string("mine: ") + file);
    before_ = testing::bytes_under(folder_ / "victim");
  }
  void TearDown() override {
    allow_outside_files(false);
    EXPECT_TRUE(testing::bytes_under(folder_ / "victim") == before_);
    PrepareTest::TearDown();
  }

  fs::path json() const { return folder_ / "liver" / "dataset.json"; }
  void write_list(const std::string& entries) const {
    testing::written(
        json(),
        R"({"labels": {"0": "background", "1": "a", "2": "b"}, "training": [)" + entries + "]}");
  }
  // nnU-Net's table of cases, with one of this name.
  void write_table(const std::string& name, const std::string& image = "imagesTr/liver_0.nii.gz",
                   const std::string& label = "labelsTr/liver_0.nii.gz") const {
    const Json table = {
        {name, {{"images", {image}}, {"label", label}}},
        {"sound", {{"images", {"imagesTr/liver_2.nii.gz"}}, {"label", "labelsTr/liver_2.nii.gz"}}}};
    const Json root = {{"channel_names", {{"0", "CT"}}},
                       {"labels", {{"background", 0}, {"a", 1}, {"b", 2}}},
                       {"dataset", table}};
    testing::written(json(), root.dump());
  }
  // Everything that writes for each case of a data set.
  void use_it() const {
    for (const bool allowed : {false, true}) {
      allow_outside_files(allowed);
      const std::string out = allowed ? "allowed" : "refused";
      try {
        prepare_dataset(liver(out));
      } catch (const Error&) {
      }
      try {
        std::vector<Fault> faults;
        const Dataset dataset = read_dataset(folder_ / "liver", &faults);
        hide_annotations(dataset, {.share = 0.5, .folder = folder_ / (out + "-hidden")});
      } catch (const Error&) {
      }
      check_dataset(folder_ / "liver");
    }
    allow_outside_files(false);
  }
  // All that a file manager would show of the output.
  std::vector<std::string> entries_of(const std::string& folder) const {
    std::vector<std::string> names;
    std::error_code none;
    for (fs::recursive_directory_iterator at(folder_ / folder, none), end; at != end; ++at)
      names.push_back(at->path().filename().string());
    return names;
  }

  std::map<std::string, std::string> before_;
};

const std::vector<std::string>& bad_names() {
  static const std::vector<std::string> kNames = {"../../../victim/scan",
                                                  "/etc/scan",
                                                  "..",
                                                  ".",
                                                  "",
                                                  "a/b",
                                                  "a\\b",
                                                  "a/",
                                                  "..\\victim",
                                                  "line\nbreak",
                                                  "bell\x07",
                                                  "\x1b[2Jred",
                                                  "\x7f",
                                                  std::string(201, 'n'),
                                                  "imagesTr/../../../victim/scan"};
  return kNames;
}

TEST_F(HostileDatasetTest, NamesThatNoFileMayHaveAreFaultsAndNothingIsWrittenForThem) {
  for (const std::string& name : bad_names()) {
    write_table(name);
    std::vector<Fault> faults;
    const Dataset dataset = read_dataset(folder_ / "liver", &faults);
    ASSERT_EQ(faults.size(), 1U) << name;
    EXPECT_EQ(faults[0].what, "a case name that no file may have") << name;
    EXPECT_EQ(faults[0].found.find_first_of("\n\x07\x1b\x7f"), std::string::npos) << name;
    EXPECT_THAT(names(dataset.training), ::testing::ElementsAre("sound")) << name;
    EXPECT_THROW(read_dataset(folder_ / "liver"), InputError) << name;
    use_it();
    for (const char* folder : {"refused", "allowed", "refused-hidden", "allowed-hidden"})
      fs::remove_all(folder_ / folder);
  }
}

TEST_F(HostileDatasetTest, WhatTheReportsExampleWroteAndDeletedStaysAsItIs) {
  // With a sound image the name would have been written to, with a missing one it was deleted.
  for (const char* image : {"imagesTr/liver_0.nii.gz", "imagesTr/nowhere.nii.gz"}) {
    for (const char* name : {"../../../victim/scan", "../../victim/id_rsa", "../victim/.bashrc"}) {
      write_table(name, image);
      use_it();
      write_list(
          R"({"image": "imagesTr/../../../victim/scan.nii.gz", "label": "labelsTr/liver_0.nii.gz"})");
      use_it();
    }
  }
}

TEST_F(HostileDatasetTest, FilesOutsideTheFolderAreReadOnlyIfAllowed) {
  const std::string victim = (folder_ / "victim" / "scan.nii.gz").string();
  for (const std::string& image :
       {victim, std::string("../victim/scan.nii.gz"),
        std::string("imagesTr/../../victim/scan.nii.gz"),
        std::string("..\\\\victim\\\\scan.nii.gz"), std::string("./../victim//scan.nii.gz"),
        std::string("../liver2/../victim/scan.nii.gz")}) {
    for (const bool as_label : {false, true}) {
      const std::string inside = as_label ? "imagesTr/liver_1.nii.gz" : "labelsTr/liver_1.nii.gz";
      write_list(R"({"image": ")" + (as_label ? inside : image) + R"(", "label": ")" +
                 (as_label ? image : inside) + "\"}");
      std::vector<Fault> faults;
      EXPECT_TRUE(read_dataset(folder_ / "liver", &faults).training.empty()) << image;
      ASSERT_EQ(faults.size(), 1U) << image;
      EXPECT_EQ(faults[0].what, "a file outside the data set's folder");
      EXPECT_THAT(faults[0].fix, HasSubstr("allow_outside"));
      allow_outside_files(true);
      EXPECT_EQ(read_dataset(folder_ / "liver").training.size(), 1U) << image;
      allow_outside_files(false);
    }
  }
}

TEST_F(HostileDatasetTest, ABaseDirOrATestListLeadsNowhereElseEither) {
  testing::written(json(), R"({"labels": {"0": "b", "1": "a"}, "base_dir": "../victim",
    "training": [{"image": "scan.nii.gz", "label": "label.nii.gz"}]})");
  EXPECT_THROW(read_dataset(folder_ / "liver"), InputError);
  testing::written(json(), R"({"labels": {"0": "b", "1": "a"}, "test": ["../victim/scan.nii.gz"],
    "training": [{"image": "imagesTr/liver_0.nii.gz", "label": "labelsTr/liver_0.nii.gz"}]})");
  EXPECT_THROW(read_dataset(folder_ / "liver"), InputError);
  testing::written(json(), R"({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1},
    "file_ending": "/../../victim/scan.nii.gz"})");
  EXPECT_THROW(read_dataset(folder_ / "liver"), InputError);
}

TEST_F(HostileDatasetTest, PathsInsideTheFolderAreReadHoweverTheyAreWritten) {
  const std::string absolute = (folder_ / "liver" / "imagesTr" / "liver_0.nii.gz").string();
  for (const std::string& image : {absolute, std::string("./imagesTr/liver_0.nii.gz"),
                                   std::string("imagesTr/../imagesTr/liver_0.nii.gz"),
                                   std::string("../liver/imagesTr/liver_0.nii.gz")}) {
    write_list(R"({"image": ")" + image + R"(", "label": "labelsTr/liver_0.nii.gz"})");
    EXPECT_TRUE(check_dataset(folder_ / "liver").ok()) << image;
  }
}

// Links are made by whoever puts the data on the disk, often since one disk is too small.
TEST_F(HostileDatasetTest, LinksToFilesOnAnotherDiskAreFollowed) {
  fs::create_directories(folder_ / "disk");
  fs::rename(folder_ / "liver" / "imagesTr", folder_ / "disk" / "images");
  fs::create_directory_symlink(folder_ / "disk" / "images", folder_ / "liver" / "imagesTr");
  const fs::path label = folder_ / "liver" / "labelsTr" / "liver_0.nii.gz";
  fs::rename(label, folder_ / "disk" / "label.nii.gz");
  fs::create_symlink(folder_ / "disk" / "label.nii.gz", label);
  EXPECT_EQ(read_dataset(folder_ / "liver").training.size(), 3U);
  EXPECT_TRUE(check_dataset(folder_ / "liver").faults.size() == 1U);  // the test image is a copy
  EXPECT_EQ(prepare_dataset(liver()).cases.size(), 3U);
}

TEST_F(HostileDatasetTest, ALinkInTheOutputFolderLeadsNoWriteOut) {
  for (const char* part : {"imagesTr", "labelsTr", "imagesTs", "labelsTs"}) {
    const std::string out = std::string("out-") + part;
    fs::create_directories(folder_ / out);
    fs::create_directory_symlink(folder_ / "victim", folder_ / out / part);
    expect_usage_error(liver(out), "link");
    const PhantomOptions phantoms{
        .folder = folder_ / out, .train = 1, .test = 1, .size = {32, 32, 32}};
    EXPECT_THROW(write_phantoms(phantoms), UsageError);
  }
  fs::create_directories(folder_ / "hidden");
  fs::create_directory_symlink(folder_ / "victim", folder_ / "hidden" / "labelsTr");
  EXPECT_THROW(hide_annotations(read_dataset(folder_ / "liver"),
                                {.share = 0.5, .folder = folder_ / "hidden"}),
               UsageError);
}

TEST_F(HostileDatasetTest, ALinkThatAppearsInABegunFolderIsRefusedToo) {
  prepare_dataset(liver());
  fs::rename(folder_ / "out" / "labelsTr", folder_ / "away");
  fs::create_directory_symlink(folder_ / "victim", folder_ / "out" / "labelsTr");
  testing::written(folder_ / "victim" / ".x.999999999-1.tmp.nii.gz", "mine");
  before_ = testing::bytes_under(folder_ / "victim");
  fs::remove(folder_ / "liver" / "imagesTr" / "liver_0.nii.gz");  // its case would be taken out
  expect_usage_error(liver(), "link");
}

TEST_F(HostileDatasetTest, ARecordFromAStrangerNamesNothingOutside) {
  write_list(R"({"image": "imagesTr/liver_0.nii.gz", "label": "labelsTr/liver_0.nii.gz"})");
  prepare_dataset(liver());
  const fs::path record = folder_ / "out" / ".prepare.json";
  const Json sound = read_json(record);
  const auto refused = [&](auto change) {
    Json bad = sound;
    change(bad);
    testing::written(record, bad.dump());
    EXPECT_THROW(prepare_dataset(liver()), UsageError) << bad.dump();
  };
  refused([](Json& json) { json["cases"] = {"../../victim/scan"}; });
  refused([](Json& json) { json["test"] = {"../../victim/scan"}; });
  refused([](Json& json) { json["finished"]["../../victim/scan"] = json["finished"]["liver_0"]; });
  refused([](Json& json) { json["finished"]["liver_0"]["annotated"] = {99}; });
  refused([](Json& json) { json["finished"]["liver_0"]["overlaps"] = {{5, 99, 3}}; });
  refused([](Json& json) { json["finished"]["liver_0"]["bytes"] = "many"; });
  testing::written(record, sound.dump());
  EXPECT_EQ(prepare_dataset(liver()).converted, 0U);
}

TEST_F(HostileDatasetTest, AFolderWithANameThatNoCaseMayHaveIsLeftOut) {
  testing::write_han_case(folder_ / "han" / "good");
  for (const std::string& name : {std::string("line\nbreak"), std::string("a\\b"),
                                  std::string("\x1b[2J"), std::string(230, 'n')})
    testing::write_han_case(folder_ / "han" / name);
  fs::create_directory_symlink(folder_ / "han", folder_ / "han" / "loop");
  const PrepareReport report = prepare_dataset(han());
  EXPECT_EQ(report.faults.size(), 4U);
  ASSERT_EQ(report.cases.size(), 1U);
  EXPECT_EQ(report.cases[0].name, "good");
}

TEST_F(HostileDatasetTest, LabelsWhoseNamesCannotBeShownAreRefused) {
  for (const std::string& name :
       {std::string("a\\nb"), std::string("a\\tb"), std::string("\\u001b[2J"), std::string(),
        std::string(257, 'n')}) {
    testing::written(json(),
                     R"({"labels": {"0": "background", "1": ")" + name + R"("}, "training": []})");
    EXPECT_THROW(read_dataset(folder_ / "liver"), InputError) << name;
  }
}

TEST_F(HostileDatasetTest, PathsThatNoFileHasAreRefused) {
  for (const std::string& path :
       {std::string("a\\u0000b.nii.gz"), std::string("a\\nb.nii.gz"), std::string(300, 'x'),
        std::string(5000, '/') + "x.nii.gz", std::string("C:\\\\data\\\\x.nii.gz")}) {
    write_list(R"({"image": ")" + path + R"(", "label": "labelsTr/liver_0.nii.gz"})");
    std::vector<Fault> faults;
    read_dataset(folder_ / "liver", &faults);
    EXPECT_EQ(faults.size(), 1U) << path;
  }
}

}  // namespace
}  // namespace lamp
