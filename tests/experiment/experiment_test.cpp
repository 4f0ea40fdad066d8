#include "lamp/experiment/experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <thread>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/folder_contents.h"
#include "support/signals.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Two conditions of a few steps on tiny phantoms; the second goes on with the first's run.
constexpr const char* kTiny = R"({
  "title": "tiny", "phantoms": {"kind": "twins", "size": [40, 40, 40], "train": 3, "test": 2, "seed": 1},
  "seeds": [0, 1],
  "train": {"net": {"width": 4, "depth": 2},
            "data": {"spacing_mm": "keep", "window": [-100, 200], "orientation": "keep"},
            "optimizer": {"name": "adamw", "lr": 1e-3}, "validation": {"fraction": 0},
            "curriculum": [{"patch": [16, 16, 16], "batch": 2, "epochs": 2}]},
  "conditions": [
    {"name": "patches", "segment": {"patch": [16, 16, 16]}, "hide": 0.5},
    {"name": "whole", "starts_from": "patches", "hide": 0.5,
     "train": {"curriculum": [{"patch": [16, 16, 16], "batch": 2, "epochs": 2},
                              {"patch": "whole", "batch": 1, "epochs": 1}]}}],
  "timings": {"input": [32, 32, 32], "classes": 3, "rounds": 2,
              "rows": [{"name": "timed", "net": {"width": 4, "depth": 2}, "patch": [16, 16, 16]}]},
  "claims": [{"claim": "c", "better": "whole", "than": "patches"}]})";

class ExperimentTest : public ::testing::Test {
 protected:
  ExperimentTest() { write_file(folder_ / "tiny.json", kTiny); }
  ~ExperimentTest() override { testing::forget_signals(); }

  ExperimentRequest request(const std::string& out) const {
    return {.preset = (folder_ / "tiny.json").string(), .folder = folder_ / out, .device = "cpu"};
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ExperimentTest, EveryCellIsRunAndTheTablesAreWritten) {
  const Json results = run_experiment(request("out"));
  ASSERT_EQ(results["dice"]["patches"].size(), 2U);
  ASSERT_EQ(results["dice"]["whole"].size(), 2U);
  EXPECT_TRUE(results["dice"]["whole"][1]["average"].is_number());
  EXPECT_EQ(results["seconds"]["timed"]["seconds"].size(), 2U);
  EXPECT_TRUE(results["claims"][0]["holds"].is_boolean());
  const std::string text = read_file(folder_ / "out" / "results.md");
  EXPECT_THAT(text, HasSubstr("| patches |"));
  EXPECT_THAT(text, HasSubstr("reproduced"));
  EXPECT_THAT(read_file(folder_ / "out" / "dice.svg"), HasSubstr("whole"));
}

TEST_F(ExperimentTest, FinishedCellsAreKept) {
  run_experiment(request("out"));
  std::map<fs::path, fs::file_time_type> written;
  for (const auto& file : fs::directory_iterator(folder_ / "out" / "cells"))
    written[file.path()] = file.last_write_time();
  ASSERT_EQ(written.size(), 5U);
  run_experiment(request("out"));
  for (const auto& file : fs::directory_iterator(folder_ / "out" / "cells"))
    EXPECT_EQ(file.last_write_time(), written[file.path()]) << file.path();
}

TEST_F(ExperimentTest, AChangedSettingRepeatsOnlyWhatDependsOnIt) {
  run_experiment(request("out"));
  ExperimentRequest changed = request("out");
  changed.settings = {"timings.rounds=3"};
  const Json results = run_experiment(changed);
  EXPECT_EQ(results["seconds"]["timed"]["seconds"].size(), 3U);
  changed.settings = {"train.optimizer.lr=5e-3"};
  EXPECT_NE(run_experiment(changed)["dice"], results["dice"]);
}

TEST_F(ExperimentTest, ALaterConditionFollowsAChangeOfTheOneItStartsFrom) {
  const Json before = run_experiment(request("out"));
  ExperimentRequest changed = request("out");
  changed.settings = {"conditions.0.train.optimizer.lr=5e-2"};
  const Json after = run_experiment(changed);
  changed.folder = folder_ / "new";
  EXPECT_EQ(after["dice"]["whole"][0]["dice"], run_experiment(changed)["dice"]["whole"][0]["dice"]);
  int aside = 0;
  for (const auto& run : fs::directory_iterator(folder_ / "out" / "runs"))
    aside += run.path().string().find(".before-1") != std::string::npos ? 1 : 0;
  EXPECT_EQ(aside, 4) << "no run is thrown away";
}

TEST_F(ExperimentTest, OtherPhantomsInTheSameFolderAreAnotherExperiment) {
  run_experiment(request("out"));
  ExperimentRequest changed = request("out");
  changed.settings = {"phantoms.seed=2"};
  const Json after = run_experiment(changed);
  changed.folder = folder_ / "new";
  EXPECT_EQ(after["dice"]["patches"][1]["dice"],
            run_experiment(changed)["dice"]["patches"][1]["dice"]);
}

TEST_F(ExperimentTest, AnotherPrecisionIsRunAgainAndOtherLoadersAreNot) {
  const auto times = [&] {
    std::map<fs::path, fs::file_time_type> written;
    for (const auto& file : fs::directory_iterator(folder_ / "out" / "cells"))
      if (file.path().string().find("timed") == std::string::npos)
        written[file.path()] = file.last_write_time();
    return written;
  };
  run_experiment(request("out"));
  const auto first = times();
  ASSERT_EQ(first.size(), 4U);
  ExperimentRequest changed = request("out");
  changed.settings = {"train.execution.precision=bf16"};
  run_experiment(changed);
  const auto second = times();
  for (const auto& [file, time] : second) EXPECT_NE(time, first.at(file)) << file;
  changed.settings.emplace_back("train.loader.threads=1");
  run_experiment(changed);
  EXPECT_EQ(times(), second);
}

TEST_F(ExperimentTest, AFolderOfTheUsersIsLeftAlone) {
  const fs::path theirs = folder_ / "out" / "data" / "phantoms" / "dataset.json";
  fs::create_directories(theirs.parent_path());
  write_file(theirs, "{}");
  const auto before = testing::contents_of(folder_ / "out");
  EXPECT_THROW(run_experiment(request("out")), UsageError);
  EXPECT_EQ(testing::contents_of(folder_ / "out"), before);
  fs::remove_all(folder_ / "out" / "data");
  run_experiment(request("out"));  // an empty one is taken
  write_file(folder_ / "out" / "data" / "han.txt", "mine");
  run_experiment(request("out"));
  EXPECT_EQ(read_file(folder_ / "out" / "data" / "han.txt"), "mine");
}

TEST_F(ExperimentTest, AForeignFileOfTheMarksNameIsLeftAlone) {
  fs::create_directories(folder_ / "mark");
  write_file(folder_ / "mark" / ".lamp-experiment", "mine");
  EXPECT_THROW(run_experiment(request("mark")), UsageError);
  EXPECT_EQ(read_file(folder_ / "mark" / ".lamp-experiment"), "mine");
}

TEST_F(ExperimentTest, AFolderThatCannotBeLookedAtIsNamed) {
  fs::create_directory_symlink("loop", folder_ / "loop");
  for (const std::string& out :
       {std::string("loop"), std::string("loop/below"), std::string(5000, 'x')}) {
    try {
      run_experiment(request(out));
      ADD_FAILURE() << "went on with " << out.substr(0, 20);
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr((folder_ / out).string() + ": "));
      EXPECT_THAT(error.what(), HasSubstr("choose another folder"));
    }
  }
  EXPECT_TRUE(fs::is_symlink(folder_ / "loop"));
}

// Of an experiment that is run again what LAMP wrote is replaced; what a person changed there is
// moved aside whole.
TEST_F(ExperimentTest, WhatAPersonChangedInItsFolderIsKept) {
  run_experiment(request("out"));
  const fs::path predictions = folder_ / "out" / "predictions";
  const fs::path corrected = fs::directory_iterator(predictions)->path() / "twins_004.nii.gz";
  const std::string theirs = read_file(corrected).substr(1);
  write_file(corrected, theirs);
  ExperimentRequest changed = request("out");
  changed.settings = {"train.optimizer.lr=5e-3"};
  run_experiment(changed);
  const fs::path aside = corrected.parent_path().string() + ".before-1";
  EXPECT_EQ(read_file(aside / "twins_004.nii.gz"), theirs);
  EXPECT_NE(read_file(corrected), theirs);
  EXPECT_EQ(std::distance(fs::directory_iterator(predictions), fs::directory_iterator()), 5);
}

TEST_F(ExperimentTest, StoppedAnywhereItEndsWithTheSameDice) {
  const Json expected = run_experiment(request("whole"));
  bool finished = false;
  for (int stops = 0; !finished && stops < 300; ++stops) {
    std::thread stopper([stops] {
      std::this_thread::sleep_for(std::chrono::milliseconds(60 * (stops + 1)));
      testing::send_signal(SIGTERM);
    });
    try {
      const Json results = run_experiment(request("stopped"));
      finished = true;
      for (const char* row : {"patches", "whole"})
        for (std::size_t seed = 0; seed < 2; ++seed)
          EXPECT_EQ(results["dice"][row][seed]["dice"], expected["dice"][row][seed]["dice"]) << row;
    } catch (const Interrupted&) {
    }
    stopper.join();
    testing::forget_signals();
  }
  EXPECT_TRUE(finished);
}

TEST_F(ExperimentTest, RefusesWhatIsNotThere) {
  ExperimentRequest unknown = request("out");
  unknown.preset = "contexts";
  EXPECT_THROW(run_experiment(unknown), UsageError);
  unknown.preset = "context";
  unknown.scale = "medium";
  EXPECT_THROW(run_experiment(unknown), UsageError);
  unknown.scale = "full";  // needs real data
  EXPECT_THROW(run_experiment(unknown), UsageError);
  unknown.dataset = folder_ / "nothing";
  EXPECT_THROW(run_experiment(unknown), InputError);
  EXPECT_FALSE(fs::exists(folder_ / "out")) << "nothing is written before all is known";
}

}  // namespace
}  // namespace lamp
