// Preparing into a folder that holds something: the same again, an interrupted run, what is
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <thread>

#include "convert/prepare_fixture.h"
#include "convert/prepare_samples.h"
#include "lamp/convert/prepare.h"
#include "lamp/convert/prepare_report.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/dataset_check.h"
#include "support/signals.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;

using testing::bytes_under;
using ::testing::ElementsAre;
using testing::head_image;
using testing::PrepareTest;
using testing::write_han_case;
using testing::write_npy;

TEST_F(PrepareTest, ACaseThatBecomesFaultyLeavesTheDataSet) {
  write_han_case(folder_ / "han" / "a");
  write_han_case(folder_ / "han" / "b");
  prepare_dataset(han());
  fs::resize_file(folder_ / "han" / "a" / "img_crp_v2.npy", 300);
  EXPECT_EQ(prepare_dataset(han()).faults.size(), 1U);
  EXPECT_THAT(names(read_dataset(folder_ / "out").training), ElementsAre("b"));
  EXPECT_EQ(bytes_under(folder_ / "out").size(), 3U);
}

TEST_F(PrepareTest, ASecondCallRewritesNothing) {
  for (const char* name : {"a", "b", "c"}) write_han_case(folder_ / "han" / name);
  prepare_dataset(han());
  const auto before = times_under(folder_ / "out");
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const PrepareReport again = prepare_dataset(han());
  EXPECT_EQ(again.converted, 0U);
  EXPECT_EQ(again.cases.size(), 3U);
  EXPECT_TRUE(times_under(folder_ / "out") == before);
}

TEST_F(PrepareTest, ChangedAndLostCasesAreConvertedAgain) {
  for (const char* name : {"a", "b", "c"}) write_han_case(folder_ / "han" / name);
  prepare_dataset(han());
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  write_npy(folder_ / "han" / "a" / "img_crp_v2.npy", head_image(99));
  fs::remove(folder_ / "out" / "labelsTr" / "b.nii.gz");
  EXPECT_EQ(prepare_dataset(han()).converted, 2U);
  const Dataset dataset = read_dataset(folder_ / "out");
  EXPECT_TRUE(torch::equal(read_case_image(dataset.training[0]).voxels[0],
                           head_image(99).to(torch::kFloat32)));
  EXPECT_TRUE(check_dataset(folder_ / "out").ok());
}

TEST_F(PrepareTest, AnInterruptedConversionEndsWithTheSameBytes) {
  for (int i = 0; i < 6; ++i)
    write_han_case(folder_ / "han" / ("c" + std::to_string(i)), {1, 2}, i);
  prepare_dataset(han("whole"));
  // Stopped at once, and after three cases have been lost again with what a kill leaves behind.
  testing::send_signal(SIGINT);
  EXPECT_THROW(prepare_dataset(han("stopped")), Interrupted);
  EXPECT_FALSE(fs::exists(folder_ / "stopped" / "dataset.json"));
  testing::forget_signals();
  prepare_dataset(han("stopped"));
  EXPECT_TRUE(bytes_under(folder_ / "stopped") == bytes_under(folder_ / "whole"));
  fs::remove(folder_ / "stopped" / "dataset.json");
  for (const char* name : {"c1", "c3", "c4"})
    fs::remove(folder_ / "stopped" / "imagesTr" / (std::string(name) + ".nii.gz"));
  testing::written(folder_ / "stopped" / "imagesTr" / ".c3.123-4.tmp.nii.gz", "half");
  EXPECT_EQ(prepare_dataset(han("stopped")).converted, 3U);
  EXPECT_TRUE(bytes_under(folder_ / "stopped") == bytes_under(folder_ / "whole"));
}

TEST_F(PrepareTest, OtherOptionsOrSourcesInTheSameFolderAreRefused) {
  write_han_case(folder_ / "han" / "a");
  write_han_case(folder_ / "han" / "b");
  prepare_dataset(han());
  const auto before = bytes_under(folder_ / "out");
  PrepareOptions options = han();
  options.spacing_mm = std::array{1.0, 1.0, 1.0};
  expect_usage_error(options, "begun with spacing [0.98,0.97,2.5], asked for [1.0,1.0,1.0]");
  options = han();
  options.test = 1;
  expect_usage_error(options, "begun with test null, asked for 1");
  options = han();
  options.seed = 3;
  expect_usage_error(options, "begun with seed 0, asked for 3");
  fs::copy(folder_ / "han", folder_ / "copy", fs::copy_options::recursive);
  options = han();
  options.source = folder_ / "copy";
  expect_usage_error(options, "begun with source");
  write_han_case(folder_ / "han" / "new");
  expect_usage_error(han(), "begun with 2 cases, the source now has 3");
  EXPECT_TRUE(bytes_under(folder_ / "out") == before);
}

TEST_F(PrepareTest, ForeignContentIsNeverTouched) {
  write_han_case(folder_ / "han" / "a");
  fs::create_directories(folder_ / "out" / "imagesTr");
  testing::written(folder_ / "out" / "imagesTr" / "a.nii.gz", "mine");
  expect_usage_error(han(), "expected an empty folder or what the same command began");
  EXPECT_EQ(read_file(folder_ / "out" / "imagesTr" / "a.nii.gz"), "mine");
  testing::written(folder_ / "file", "mine");
  expect_usage_error(han("file"), "found a file at");
  prepare_dataset(han("own"));
  testing::written(folder_ / "own" / "notes.txt", "mine");
  expect_usage_error(han("own"), "notes.txt");
  testing::written(folder_ / "broken", "");
  fs::create_directories(folder_ / "damaged");
  testing::written(folder_ / "damaged" / ".prepare.json", "{\"format\": 3}");
  expect_usage_error(han("damaged"), "a record that cannot be read");
}

TEST_F(PrepareTest, WhatTheUserChangedOrAddedInTheOutputIsNeverReplaced) {
  for (const char* name : {"a", "b"}) write_han_case(folder_ / "han" / name);
  testing::written(folder_ / "han" / "b" / "structures" / "Chiasm_crp_v2.npy", "no array");
  prepare_dataset(han());  // b is faulty
  const fs::path corrected = folder_ / "out" / "labelsTr" / "a.nii.gz";
  const std::string ours = read_file(corrected);
  testing::written(corrected, "corrected by hand");
  write_npy(folder_ / "han" / "a" / "img_crp_v2.npy", head_image(5));
  expect_usage_error(han(), "changed since it was written");
  EXPECT_EQ(read_file(corrected), "corrected by hand");
  testing::written(corrected, ours);
  const fs::path added = folder_ / "out" / "labelsTr" / "b.nii.gz";
  testing::written(added, "drawn by hand");
  expect_usage_error(han(), "b.nii.gz");
  EXPECT_EQ(read_file(added), "drawn by hand");
  fs::remove(added);
  EXPECT_EQ(prepare_dataset(han()).converted, 1U);
}

// A corrected voxel often leaves a file its size.
TEST_F(PrepareTest, ACorrectionOfTheSameSizeIsNeverReplaced) {
  for (const char* name : {"a", "b"}) write_han_case(folder_ / "han" / name);
  prepare_dataset(han());
  const fs::path map = folder_ / "out" / "labelsTr" / "a.nii.gz";
  const std::string ours = read_file(map);
  std::string corrected = ours;
  corrected[4] = static_cast<char>(corrected[4] + 1);  // gzip's time stamp
  testing::written(map, corrected);
  EXPECT_EQ(prepare_dataset(han()).converted, 0U) << "its source is the same, so it stays";
  write_npy(folder_ / "han" / "a" / "img_crp_v2.npy", head_image(5));
  expect_usage_error(han(), "a.nii.gz changed since it was written");
  EXPECT_EQ(read_file(map), corrected);
  testing::written(map, ours);
  EXPECT_EQ(prepare_dataset(han()).converted, 1U);
}

TEST_F(PrepareTest, AListThatSomebodyChangedIsNeverReplaced) {
  for (const char* name : {"a", "b"}) write_han_case(folder_ / "han" / name);
  prepare_dataset(han());
  const fs::path file = folder_ / "out" / "dataset.json", record = folder_ / "out/.prepare.json";
  const std::string ours = read_file(file);
  Json list = Json::parse(ours);
  list["labels"]["1"] = "Stem";
  testing::written(file, list.dump());
  const std::string changed = read_file(file);
  expect_usage_error(han(), "dataset.json changed since it was written");
  EXPECT_EQ(read_file(file), changed);
  // A call that was killed has noted no digest of the list: what it would write is ours, no more.
  Json killed = read_json(record);
  killed["dataset_sha256"] = "";
  testing::written(record, killed.dump());
  expect_usage_error(han(), "dataset.json changed since it was written");
  testing::written(file, ours);
  EXPECT_EQ(prepare_dataset(han()).converted, 0U);
  fs::remove(file);  // "move it away"
  prepare_dataset(han());
  EXPECT_EQ(read_file(file), ours);
}

TEST_F(PrepareTest, SourceAndOutputMustLieApart) {
  write_han_case(folder_ / "han" / "a");
  expect_usage_error(han("han"), "none holds the other");
  expect_usage_error(han("han/../han/"), "none holds the other");
  expect_usage_error(han("han/out"), "none holds the other");
  expect_usage_error(han("."), "none holds the other");
  fs::create_directory_symlink(folder_ / "han", folder_ / "link");
  expect_usage_error(han("link"), "none holds the other");
  EXPECT_NO_THROW(prepare_dataset(han("han-out")));  // a longer name is no subfolder
}

TEST_F(PrepareTest, OptionsOutOfRangeAreRefused) {
  write_han_case(folder_ / "han" / "a");
  PrepareOptions options = han();
  options.from = "nifti";
  options.spacing_mm.reset();
  expect_usage_error(options, "expected han-npy, pddca or decathlon");
  options = han();
  options.test = -1;
  expect_usage_error(options, "expected 0 or more");
  options.test = 1;
  options.test_cases = {"a"};
  expect_usage_error(options, "expected one of them");
  options = han();
  options.from = "pddca";
  expect_usage_error(options, "with han-npy only");
  for (const char* text :
       {"", "1,1", "1,1,1,1", "1,1,0", "1,1,-2", "1,1,nan", "1,1,inf", "a", "1;1;1"})
    EXPECT_THROW(parse_spacing(text), UsageError) << text;
  EXPECT_EQ(parse_spacing("0.98,1,2.5"), (std::array{0.98, 1.0, 2.5}));
}

}  // namespace
}  // namespace lamp
