// A folder that is no run of this program is refused, and stays as it is to the last byte.
#include "lamp/training/run_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/types.h>

#include <fstream>
#include <functional>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/log.h"
#include "lamp/base/safetensors.h"
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

class RunPlaceTest : public ::testing::Test {
 protected:
  RunPlaceTest() {
    set_log_level(LogLevel::kWarning);
    testing::forget_signals();
    testing::write_ball_dataset(folder_ / "data", 5);
  }
  ~RunPlaceTest() override {
    testing::forget_signals();
    close_log_file();
  }

  // The message of a training that must be refused, with and without --resume; what lies in the
  // whole folder must not change.
  std::string refused(const fs::path& run) {
    const auto before = testing::contents_of(folder_.path());
    std::string message;
    for (const bool resume : {false, true}) {
      message = "no error";
      try {
        train({.dataset = folder_ / "data",
               .config = testing::ball_config(),
               .run = run,
               .resume = resume});
      } catch (const Error& error) {
        message = error.what();
      }
      EXPECT_THAT(message, HasSubstr("train: output")) << run;
      EXPECT_EQ(testing::contents_of(folder_.path()), before) << run;
    }
    return message;
  }
  void write(const std::string& file, const std::string& text) {
    fs::create_directories((folder_ / file).parent_path());
    std::ofstream(folder_ / file) << text;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(RunPlaceTest, TheDataSetItselfIsRefusedByEveryNameForIt) {
  fs::create_directory_symlink(folder_ / "data", folder_ / "link");
  for (const char* name :
       {"data", "data/", "data/.", "data/imagesTr/..", "link", "link/", "data/imagesTr",
        "data/labelsTr/", "data/imagesTr/run", "data/labelsTs", "link/imagesTs/deeper/run"})
    EXPECT_THAT(refused(folder_ / name), HasSubstr("data")) << name;
  const fs::path before = fs::current_path();
  fs::current_path(folder_ / "data");
  for (const char* name : {".", "./", "imagesTr", "../data", "labelsTr/run"}) refused(name);
  fs::current_path(before);
  // Where its images are a link to another folder, they lie there.
  fs::create_directories(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", folder_ / "data" / "imagesTs");
  EXPECT_THAT(refused(folder_ / "elsewhere" / "run"), HasSubstr("imagesTs"));
}

TEST_F(RunPlaceTest, ForeignFilesAreNamedAndLeftAlone) {
  const std::vector<std::string> names = {
      "config.json",      "metrics.csv", "dataset.json",
      "scan.nii.gz",      "train.log",   "best.safetensors",
      "state/notes.txt",  ".hidden",     "run.json",
      "plan.json",        "lock",        "split.json",
      "last.safetensors", "notes",       "data_fingerprint.json"};
  for (const std::string& name : names) {
    const fs::path run = folder_ / ("run of " + std::to_string(&name - names.data()));
    fs::create_directories((run / name).parent_path());
    std::ofstream(run / name) << "{\"important\": true}";
    const std::string first = name.substr(0, name.find('/'));
    EXPECT_THAT(refused(run), HasSubstr(first)) << name;
    EXPECT_THAT(refused(run.string() + "/"), HasSubstr(first)) << name;
  }
}

TEST_F(RunPlaceTest, AFolderOfImagesOrADataSetIsCalledThat) {
  write("images/a.nii.gz", "x");
  write("images/b.nrrd", "x");
  EXPECT_THAT(refused(folder_ / "images"), AllOf(HasSubstr("images: "), HasSubstr("a.nii.gz")));
  testing::write_ball_dataset(folder_ / "other", 2);
  EXPECT_THAT(refused(folder_ / "other"), HasSubstr("a data set"));
}

TEST_F(RunPlaceTest, WhatIsNoFolderIsRefused) {
  write("file", "text");
  EXPECT_THAT(refused(folder_ / "file"), HasSubstr("no folder"));
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling");
  EXPECT_THAT(refused(folder_ / "dangling"), HasSubstr("link to nothing"));
  EXPECT_THAT(refused(""), HasSubstr("empty name"));
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refused(folder_ / "pipe"), HasSubstr("no folder"));
  EXPECT_THROW(train({.dataset = folder_ / "data",
                      .config = testing::ball_config(),
                      .run = folder_ / "file" / "run"}),
               Error);
}

// A folder holds config.json and dataset.json like an old run's, but the latter is a data set's.
TEST_F(RunPlaceTest, ADataSetBesideAConfigurationIsNoOldRun) {
  fs::copy(folder_ / "data", folder_ / "project", fs::copy_options::recursive);
  write("project/config.json", testing::ball_config().dump());
  fs::create_directories(folder_ / "project" / "state");
  EXPECT_THAT(refused(folder_ / "project"), HasSubstr("a data set"));
}

TEST_F(RunPlaceTest, EmptyFoldersAndRunsThatWereKilledEarlyAreUsed) {
  const auto trains = [&](const fs::path& run) {
    return train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = run})
        .epochs;
  };
  fs::create_directories(folder_ / "empty");
  EXPECT_EQ(trains(folder_ / "empty/"), 4);
  fs::create_directories(folder_ / "real");
  fs::create_directory_symlink(folder_ / "real", folder_ / "link");
  EXPECT_EQ(trains(folder_ / "link/"), 4);
  EXPECT_TRUE(fs::exists(folder_ / "real" / "best.safetensors"));
  EXPECT_EQ(judge_run_place(folder_ / "link"), RunPlace::kSaved);

  // All that a run killed at its very start may have left.
  write("early/.lock.999999-0.tmp", "{");
  write("early/state/.probe.999999-1.tmp", "");
  EXPECT_EQ(judge_run_place(folder_ / "early"), RunPlace::kBegun);
  EXPECT_EQ(trains(folder_ / "early"), 4);
  for (const auto& [name, bytes] : testing::contents_of(folder_ / "early"))
    EXPECT_EQ(name.find(".tmp"), std::string::npos) << name;  // stale ones are cleared away
  EXPECT_EQ(trains(folder_ / "data" / "run"), 4);  // a folder of its own beside dataset.json
}

TEST_F(RunPlaceTest, ARunIsKnownByItsMarkAndItsDataSetIsNeverTouched) {
  const auto data = testing::contents_of(folder_ / "data");
  train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = folder_ / "run"});
  EXPECT_EQ(testing::contents_of(folder_ / "data"), data);
  for (const char* file : {"run.json", "data_fingerprint.json", "split.json", "config.json"})
    EXPECT_TRUE(fs::is_regular_file(folder_ / "run" / file)) << file;
  EXPECT_FALSE(fs::exists(folder_ / "run" / "dataset.json"));
  EXPECT_FALSE(fs::exists(folder_ / "run" / "lock"));
  write("run/my notes.txt", "kept");
  EXPECT_EQ(judge_run_place(folder_ / "run"), RunPlace::kSaved);
}

TEST_F(RunPlaceTest, ATrainedRunWithoutItsStateIsNeverBegunAnew) {
  train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = folder_ / "run"});
  close_log_file();
  for (const char* lost : {"state", "state/state.safetensors"}) {
    const fs::path copy = folder_ / "copy";
    fs::copy(folder_ / "run", copy, fs::copy_options::recursive);
    fs::remove_all(copy / lost);
    for (const char* trained : {"best.safetensors", "last.safetensors", "metrics.csv"}) {
      EXPECT_THAT(refused(copy), AllOf(HasSubstr(trained), HasSubstr("put state/ back"))) << lost;
      fs::remove(copy / trained);
    }
    EXPECT_EQ(judge_run_place(copy), RunPlace::kBegun) << "nothing is left to lose";
    fs::remove_all(copy);
  }
}

TEST_F(RunPlaceTest, WhatIsNoFileInTheFilesPlaceIsRefusedAndStays) {
  write("run/state/state.safetensors", "x");
  mark_run_folder(folder_ / "run");
  write("theirs", "kept");
  for (const char* name : {"best.safetensors", "last.safetensors", "metrics.csv", "plan.json"}) {
    const fs::path place = folder_ / "run" / name;
    ASSERT_EQ(mkfifo(place.c_str(), 0600), 0);
    EXPECT_THAT(refused(folder_ / "run"), AllOf(HasSubstr(name), HasSubstr("a pipe")));
    EXPECT_TRUE(fs::is_fifo(place));
    fs::remove(place);
    fs::create_symlink(folder_ / "theirs", place);
    EXPECT_THAT(refused(folder_ / "run"), AllOf(HasSubstr(name), HasSubstr("a link")));
    fs::remove(place);
  }
  EXPECT_EQ(judge_run_place(folder_ / "run"), RunPlace::kSaved);
}

// As a kill between the first network and the first state leaves it.
TEST_F(RunPlaceTest, ARunThatWasKilledBeforeItsFirstSaveBeginsAnew) {
  fs::create_directories(folder_ / "run" / "state");
  mark_run_folder(folder_ / "run");
  for (const char* name : {"run/best.safetensors", "run/last.safetensors"})
    write_safetensors(folder_ / name, {.tensors = {}, .metadata = {{"format", "lamp-model"}}});
  write("run/metrics.csv", "epoch,stage,loss,learning_rate,seconds,dice_mean,dice_ball\n1,1,2\n");
  EXPECT_EQ(judge_run_place(folder_ / "run"), RunPlace::kBegun);
  EXPECT_EQ(
      train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = folder_ / "run"})
          .epochs,
      4);
}

TEST_F(RunPlaceTest, WhatOthersHavePutIntoARunIsNotReplaced) {
  testing::send_signal(SIGTERM);
  EXPECT_THROW(train({.dataset = folder_ / "data",
                      .config = testing::ball_config(),
                      .run = folder_ / "saved"}),
               Interrupted);
  testing::forget_signals();
  close_log_file();
  fs::create_directories(folder_ / "begun" / "state");
  mark_run_folder(folder_ / "begun");
  write_safetensors(folder_ / "other.safetensors", {.tensors = {{"w", torch::zeros({2})}}});
  for (const char* run : {"saved", "begun"})
    for (const char* name :
         {"best.safetensors", "last.safetensors", "intensities.json", "metrics.csv"})
      for (const std::string& text :
           {read_file(folder_ / "other.safetensors"), std::string("{\"mine\": 1}")}) {
        const fs::path file = folder_ / run / name;
        const std::string own = fs::exists(file) ? read_file(file) : "";
        write(file.lexically_relative(folder_.path()).string(), text);
        const auto before = testing::contents_of(folder_.path());
        try {
          train({.dataset = folder_ / "data",
                 .config = testing::ball_config(),
                 .run = folder_ / run,
                 .resume = true});
          ADD_FAILURE() << run << ": " << name << " was replaced";
        } catch (const UsageError& error) {
          EXPECT_THAT(error.what(), AllOf(HasSubstr(name), HasSubstr("did not write")));
        }
        close_log_file();
        EXPECT_EQ(testing::contents_of(folder_.path()), before) << name;
        fs::remove(file);
        if (!own.empty()) write(file.lexically_relative(folder_.path()).string(), own);
      }
  for (const char* run : {"saved", "begun"})
    EXPECT_EQ(train({.dataset = folder_ / "data",
                     .config = testing::ball_config(),
                     .run = folder_ / run,
                     .resume = true})
                  .epochs,
              4);
}

// It may be damaged, too: the format in its header says whose it is.
TEST_F(RunPlaceTest, AnotherNetworkOfOurOwnMayBeReplaced) {
  train({.dataset = folder_ / "data", .config = testing::ball_config(), .run = folder_ / "run"});
  close_log_file();
  const std::string bytes = read_file(folder_ / "run" / "last.safetensors");
  std::string cut = bytes;
  cut.back() = static_cast<char>(cut.back() ^ 1);
  write("run/last.safetensors", cut);
  train({.dataset = folder_ / "data",
         .settings = {"curriculum.1.epochs=3"},
         .run = folder_ / "run",
         .resume = true});
  const std::string now = read_file(folder_ / "run" / "last.safetensors");
  EXPECT_NE(now, cut);
  EXPECT_NO_THROW(read_safetensors(folder_ / "run" / "last.safetensors"));
}

TEST_F(RunPlaceTest, OnlyNamesOfTemporaryFilesPassForThem) {
  write("run/.my-notes.tmp", "kept");
  EXPECT_THAT(refused(folder_ / "run"), HasSubstr(".my-notes.tmp"));
}

TEST_F(RunPlaceTest, FoldsOfSomebodyElseAreNotReplaced) {
  const fs::path run = folder_ / "run", file = run / "splits_final.json";
  fs::create_directory(run);
  const Json ours = Json::parse(R"([{"train": ["a"], "val": ["b"]}])");
  const auto refused = [&](const Json& folds) {
    try {
      refuse_other_folds(run, folds);
      return std::string();
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(refused(ours), "") << "no such file";
  for (const char* text : {"", "my notes", R"([{"train": ["b"], "val": ["a"]}])"}) {
    std::ofstream(file) << text;
    EXPECT_THAT(refused(ours), AllOf(HasSubstr("splits_final.json"), HasSubstr("move it away")));
    EXPECT_EQ(refused(Json()), "") << "nothing is written without folds";
  }
  std::ofstream(file) << R"([ {"train":["a"], "val":["b"]} ])";
  EXPECT_EQ(refused(ours), "");
  fs::rename(file, folder_ / "mine.json");
  fs::create_symlink(folder_ / "mine.json", file);
  EXPECT_THAT(refused(ours), HasSubstr("move it away"));
}

// In a folder that a killed process has begun: the run's five folds against a file of the user's.
TEST_F(RunPlaceTest, ATrainingWithAFoldLeavesForeignFoldsAlone) {
  fs::create_directories(folder_ / "run" / "state");
  mark_run_folder(folder_ / "run");
  const std::string foreign = R"([{"train": ["ball_0"], "val": ["ball_1"]}])";
  write("run/splits_final.json", foreign);
  Json config = testing::ball_config();
  config["validation"] = {{"fold", 0}};
  const auto before = testing::contents_of(folder_.path());
  try {
    train({.dataset = folder_ / "data", .config = config, .run = folder_ / "run"});
    FAIL() << "replaced";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("splits_final.json"));
  }
  EXPECT_EQ(testing::contents_of(folder_.path()), before);
}

TEST_F(RunPlaceTest, ALinkInThePlaceOfTheLogIsNotFollowed) {
  write("foreign.txt", "kept");
  fs::create_symlink(folder_ / "foreign.txt", folder_ / "train.log");
  EXPECT_THROW(open_log_file((folder_ / "train.log").string()), Error);
  EXPECT_EQ(read_file(folder_ / "foreign.txt"), "kept");
}

// The layout before run.json: the fingerprint lay in dataset.json.
TEST_F(RunPlaceTest, ARunOfTheOldLayoutGoesOn) {
  const Json config = testing::ball_config();
  testing::send_signal(SIGTERM);
  EXPECT_THROW(train({.dataset = folder_ / "data", .config = config, .run = folder_ / "run"}),
               Interrupted);
  testing::forget_signals();
  Json old = {{"path", fs::absolute(folder_ / "data").string()},
              {"labels", {{"0", "background"}, {"1", "ball"}}},
              {"training", Json::array()}};
  for (int i = 0; i < 5; ++i) {
    const std::string name = "ball_" + std::to_string(i);
    const auto bytes = fs::file_size(folder_ / "data" / "imagesTr" / (name + ".nii.gz")) +
                       fs::file_size(folder_ / "data" / "labelsTr" / (name + ".nii.gz"));
    old["training"].push_back({{"name", name}, {"bytes", bytes}});
  }
  write("run/dataset.json", old.dump());
  for (const char* file : {"run.json", "data_fingerprint.json", "split.json"})
    fs::remove(folder_ / "run" / file);
  Json saved = read_json(folder_ / "run" / "config.json");
  saved.erase("optimizer");  // was not recorded either
  write("run/config.json", saved.dump());
  ASSERT_EQ(judge_run_place(folder_ / "run"), RunPlace::kSaved);
  EXPECT_EQ(train({.run = folder_ / "run", .resume = true}).epochs, 4);
  EXPECT_TRUE(fs::exists(folder_ / "run" / "data_fingerprint.json"));
  EXPECT_EQ(read_json(folder_ / "run" / "config.json")["optimizer"]["lr"], 0.005);

  old["training"][2]["bytes"] = 7;
  for (const char* file : {"run.json", "data_fingerprint.json"}) fs::remove(folder_ / "run" / file);
  write("run/dataset.json", old.dump());
  EXPECT_THROW(train({.run = folder_ / "run", .resume = true}), UsageError);
}

}  // namespace
}  // namespace lamp
