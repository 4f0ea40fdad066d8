// Damaged states of training: every field is checked against the run, and each is one line.
#include "lamp/training/run_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>

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

class RunStateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    set_log_level(LogLevel::kWarning);
    testing::forget_signals();
    folder_ = new testing::TemporaryFolder;
    testing::write_ball_dataset(*folder_ / "data", 5);
    train(
        {.dataset = *folder_ / "data", .config = testing::ball_config(), .run = *folder_ / "run"});
    close_log_file();
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  void SetUp() override {
    fs::remove_all(run_);
    fs::copy(*folder_ / "run", run_, fs::copy_options::recursive);
  }

  // A resume must be an InputError that names the file and leaves everything as it is.
  std::string refused(const std::string& file = "state.safetensors") {
    const auto before = testing::contents_of(run_);
    std::string message = "no error";
    try {
      train({.run = run_, .resume = true});
    } catch (const InputError& error) {
      message = error.what();
      EXPECT_THAT(error.file(), HasSubstr(file));
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "no InputError: " << error.what();
    }
    close_log_file();
    EXPECT_EQ(testing::contents_of(run_), before) << message;
    return message;
  }
  // The state with a change, its checksum right again.
  std::string refused_after(const std::function<void(SafeTensors&)>& change) {
    SafeTensors content = read_safetensors(state_file(*folder_ / "run"));
    change(content);
    write_safetensors(state_file(run_), content);
    return refused();
  }
  std::string refused_with_cursor(const std::string& key, const Json& value) {
    return refused_after([&](SafeTensors& content) {
      Json cursor = Json::parse(content.metadata["cursor"]);
      cursor[key] = value;
      content.metadata["cursor"] = cursor.dump();
    });
  }

  static testing::TemporaryFolder* folder_;
  fs::path run_ = *folder_ / "damaged";
};
testing::TemporaryFolder* RunStateTest::folder_ = nullptr;

TEST_F(RunStateTest, TheCursorMustLieInsideTheRun) {
  const std::int64_t large = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::pair<std::string, std::vector<Json>>> cases = {
      {"stage", {-1'000'000'000'000'000, -1, 2, 99, large, 1.5, 1e18, "0", nullptr, Json::array()}},
      {"epoch", {-5, 3, 1'000'000'000'000'000'000, large, 1.0, "x", nullptr, true}},
      {"step", {-1, 1, 1'000'000, large, 0.5, Json::object()}},
      {"epochs_done", {-1, 0, 3, 5, 1'000'000'000'000'000'000, "4", 4.0}},
      {"loss_sum", {"NaN", nullptr, true, 1e300, -1e300, 1e-9, -1}},  // a finished epoch has none
      {"epoch_seconds", {-1, "x", nullptr, 1e300}},
      {"best_dice", {-2, -0.5, 1.5, "0.9", nullptr, Json::array({1})}}};
  for (const auto& [key, values] : cases)
    for (const Json& value : values)
      EXPECT_THAT(refused_with_cursor(key, value),
                  AllOf(HasSubstr("cannot resume"), HasSubstr(key)))
          << key << " " << value;
}

TEST_F(RunStateTest, AnUnfinishedEpochOfTheLastStageIsBoundedByItsSteps) {
  // Four training cases in batches of one: steps 0 to 3.
  SafeTensors content = read_safetensors(state_file(*folder_ / "run"));
  Json cursor = Json::parse(content.metadata["cursor"]);
  cursor["epoch"] = 1;
  cursor["epochs_done"] = 3;
  // 2 epochs of 2 steps, 1 of 4, and 3 steps.
  for (auto& [name, tensor] : content.tensors)
    if (name.ends_with(":step")) tensor.fill_(11);
  for (const int step : {3, 4}) {
    cursor["step"] = step;
    content.metadata["cursor"] = cursor.dump();
    write_safetensors(state_file(run_), content);
    if (step == 3) {
      EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
    } else {
      EXPECT_THAT(refused(), HasSubstr("\"step\": 4, expected 0 to 3"));
    }
  }
  close_log_file();
}

TEST_F(RunStateTest, TheSumOfLossesMustBeOneThatItsStepsCanLeadTo) {
  const Cursor cursor{.step = 2};
  TrainConfig config;
  const auto accepts = [&](double sum) {
    Cursor changed = cursor;
    changed.loss_sum = sum;
    try {
      check_loss_sum(changed, config, "state");
      return true;
    } catch (const InputError&) {
      return false;
    }
  };
  const double largest = std::numeric_limits<float>::max();
  for (const double sum : {0.0, 1.5, 2 * largest, -1e-6}) EXPECT_TRUE(accepts(sum)) << sum;
  for (const double sum : {2.01 * largest, 1e300, -1.0, -1e300, double(INFINITY), double(NAN)})
    EXPECT_FALSE(accepts(sum)) << sum;
  config.loss.boundary_weight = 0.01;  // a signed distance
  EXPECT_TRUE(accepts(-1.0));
  EXPECT_FALSE(accepts(-1e300));
}

// The same must hold without the words that newer files carry.
TEST_F(RunStateTest, WhatTheOptimizerRemembersMustBeThereAfterTheFirstStep) {
  const auto forget = [](SafeTensors& content, const char* ending) {
    std::erase_if(content.tensors, [&](const auto& item) {
      return item.first.starts_with("optimizer.") && item.first.ends_with(ending);
    });
  };
  for (const char* ending : {"", ":step", ":square_avg", "weight:square_avg"})
    for (const bool newer : {true, false})
      EXPECT_THAT(refused_after([&](SafeTensors& content) {
                    forget(content, ending);
                    if (!newer) content.metadata.erase("optimizer_tensors");
                  }),
                  AllOf(HasSubstr("cannot resume"), HasSubstr("is missing")))
          << ending;
  EXPECT_THAT(
      refused_after([&](SafeTensors& content) { content.metadata["optimizer_tensors"] = "1"; }),
      HasSubstr("tensors of an optimizer"));
}

TEST_F(RunStateTest, WhatTheOptimizerRemembersMustBeValuesThatStepsLeadTo) {
  // 2 epochs of 2 steps and 2 of 4 are 12 steps.
  const auto filled = [&](const char* ending, double value) {
    return refused_after([&](SafeTensors& content) {
      for (auto& [name, tensor] : content.tensors)
        if (name.ends_with(ending)) tensor.fill_(value);
    });
  };
  for (const double steps : {0., -1., 13., 1e15})
    EXPECT_THAT(filled(":step", steps), HasSubstr("expected 1 to 12"));
  EXPECT_THAT(filled(":square_avg", -1e-3), HasSubstr("below zero"));
}

TEST_F(RunStateTest, AStateFromBeforeChecksumsIsStillRead) {
  SafeTensors content = read_safetensors(state_file(*folder_ / "run"));
  content.metadata.erase("optimizer_tensors");
  write_safetensors(state_file(run_), content);
  std::string bytes = read_file(state_file(run_));
  const std::size_t key = bytes.find("\"checksum\"");
  ASSERT_NE(key, std::string::npos);
  bytes[key + 1] = 'C';  // another word of the metadata
  std::ofstream(state_file(run_), std::ios::binary) << bytes;
  EXPECT_FALSE(SavedState(run_).has_checksum());
  EXPECT_TRUE(SavedState(*folder_ / "run").has_checksum());
  EXPECT_EQ(train({.run = run_, .resume = true}).epochs, 4);
  close_log_file();
}

TEST_F(RunStateTest, MissingAndWrongMetadataIsNamed) {
  for (const char* key : {"format", "cursor", "version"})
    EXPECT_THAT(refused_after([&](SafeTensors& content) { content.metadata.erase(key); }),
                HasSubstr("cannot resume"))
        << key;
  for (const char* text : {"", "{", "[]", "null", "{}", "3", "{\"stage\": 0}"})
    refused_after([&](SafeTensors& content) { content.metadata["cursor"] = text; });
  refused_after([&](SafeTensors& content) { content.metadata["format"] = "lamp-model"; });
  refused_after([&](SafeTensors& content) { content.metadata["version"] = "2"; });
  for (const char* key : {"stage", "epoch", "step", "epochs_done", "loss_sum", "best_dice"})
    EXPECT_THAT(refused_after([&](SafeTensors& content) {
                  Json cursor = Json::parse(content.metadata["cursor"]);
                  cursor.erase(key);
                  content.metadata["cursor"] = cursor.dump();
                }),
                HasSubstr(key));
}

TEST_F(RunStateTest, EveryTensorMustBeThereWithItsShapeTypeAndFiniteNumbers) {
  const SafeTensors sound = read_safetensors(state_file(*folder_ / "run"));
  for (const auto& [name, tensor] : sound.tensors) {
    const std::string key = name;
    const torch::Tensor value = tensor;
    EXPECT_NE(refused_after([&](SafeTensors& content) { content.tensors.erase(key); }), "no error")
        << name << " missing";
    EXPECT_NE(refused_after([&](SafeTensors& content) {
                content.tensors[key] = torch::zeros({3, 5, 7}, value.options());
              }),
              "no error")
        << name << " of another shape";
    EXPECT_NE(refused_after([&](SafeTensors& content) {
                content.tensors[key] =
                    value.to(value.is_floating_point() ? torch::kFloat64 : torch::kFloat32);
              }),
              "no error")
        << name << " of another type";
    if (!value.is_floating_point()) continue;
    EXPECT_NE(refused_after([&](SafeTensors& content) {
                content.tensors[key] = torch::full_like(value, NAN);
              }),
              "no error")
        << name << " not finite";
  }
  for (const char* name : {"model.none", "optimizer.none:step", "optimizer.x"})
    EXPECT_NE(
        refused_after([&](SafeTensors& content) { content.tensors[name] = torch::zeros({1}); }),
        "no error")
        << name;
}

TEST_F(RunStateTest, ARandomStateOfNoGeneratorIsRefused) {
  EXPECT_THAT(refused_after([](SafeTensors& content) {
                content.tensors["random.cpu"] = torch::zeros({8}, torch::kUInt8);
              }),
              HasSubstr("random state"));
  EXPECT_THAT(refused_after([](SafeTensors& content) { content.tensors["random.cpu"].fill_(255); }),
              HasSubstr("random state"));
}

TEST_F(RunStateTest, BytesThatChangedOrWentMissingAreNoticed) {
  const std::string sound = read_file(state_file(run_));
  for (const std::size_t place : {sound.size() / 3, sound.size() / 2, sound.size() - 9}) {
    std::string bytes = sound;
    bytes[place] = static_cast<char>(bytes[place] ^ 0x40);
    std::ofstream(state_file(run_), std::ios::binary) << bytes;
    refused();
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{5}, sound.size() / 2, sound.size() - 1}) {
    std::ofstream(state_file(run_), std::ios::binary) << sound.substr(0, size);
    refused();
  }
}

TEST_F(RunStateTest, TheOtherFilesOfARunAreCheckedToo) {
  const auto with = [&](const char* file, const std::string& text) {
    SetUp();
    std::ofstream(run_ / file) << text;
    return refused(file);
  };
  EXPECT_THAT(with("metrics.csv", "case,Dice\n1,0.5\n"), HasSubstr("another table"));
  EXPECT_THAT(with("metrics.csv", "epoch,stage,loss\n1,1,1\n3,1,1\n3,1,1\n4,1,1\n"),
              HasSubstr("row 2"));
  for (const char* text : {"", "[]", "{\"net\": 3}", "{\"curriculum\": []}", "no json"})
    with("config.json", text);
  for (const char* text : {"", "[]", "{}", "{\"format\": \"lamp-data-fingerprint\"}"})
    with("data_fingerprint.json", text);
}

}  // namespace
}  // namespace lamp
