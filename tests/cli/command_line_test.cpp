// What the program says to words it does not know, and to an output that cannot be written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "support/ball_dataset.h"
#include "support/run_program.h"

namespace lamp::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void expect_usage_error(const std::string& arguments, const std::string& part) {
  const ProgramResult result = run_lamp(arguments);
  EXPECT_EQ(result.exit_code, 2) << arguments << ": " << result.err;
  EXPECT_THAT(result.err, HasSubstr(part)) << arguments;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
}

TEST(CommandLineTest, AMistypedCommandIsNamedWithTheRightOne) {
  expect_usage_error("trian -d data", "\"trian\" is no command; did you mean \"lamp train\"?");
  expect_usage_error("segmnt", "\"lamp segment\"");
  expect_usage_error("evalute", "\"lamp evaluate\"");
  expect_usage_error("--json --seed 3 chekc x", "\"lamp check\"");
  expect_usage_error("xyzzy", "the commands are ");
}

TEST(CommandLineTest, AnOptionBeforeTheCommandIsExplained) {
  expect_usage_error("--epochs 3",
                     "\"--epochs\" is no option of lamp; did you mean \"lamp train --set "
                     "curriculum.0.epochs=...\"?");
  expect_usage_error("--device cpu train -d data",
                     "behind the command, as in \"lamp train --device\"");
  expect_usage_error("--overlap 0.5", "\"--overlap\" is an option of segment");
  expect_usage_error("-d data train", "behind the command, as in \"lamp train -d\"");
  expect_usage_error("--jsn check data", "\"lamp --json\"");
  expect_usage_error("--wombat 3", "\"--wombat\" is no option of lamp; the commands are ");
  EXPECT_EQ(run_lamp("-qv --threads=1 --seed 3 info --net unet").exit_code, 0);
}

TEST(CommandLineTest, MemoryThatRunsOutIsSaidInTheWordsOfTheCommand) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  const ProgramResult result =
      run_lamp("simulate --schedule gpipe --stages 64 --microbatches 20000", "ulimit -v 600000;");
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_EQ(result.err,
            "lamp: out of memory: the simulation asked for more than there is; use fewer --stages "
            "or --microbatches, or free memory or raise its limit (ulimit -v)\n");
}

// 512^3 voxels of 7 bytes are more than all of these leave.
TEST(CommandLineTest, APhantomThatCannotFitIsRefusedBeforeItIsDrawn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  const TemporaryFolder folder;
  for (const int megabytes : {600, 700, 900, 1100}) {
    const ProgramResult result =
        run_lamp("synth --kind liver --size 512,512,512 --train 1 --test 0 -o " +
                     quoted(folder / std::to_string(megabytes)),
                 "ulimit -v " + std::to_string(megabytes) + "000;");
    EXPECT_EQ(result.exit_code, 5) << result.err;
    EXPECT_FALSE(std::filesystem::exists(folder / std::to_string(megabytes)));
    EXPECT_THAT(result.err, HasSubstr("--size"));
    EXPECT_THAT(result.err, Not(HasSubstr("enforce")));
    EXPECT_THAT(result.err, Not(HasSubstr("--patch")));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
}

TEST(CommandLineTest, AFarWordHasNoNearestOne) {
  for (const char* word : {"xyzzy", "plum", "chunk", "tree"})
    expect_usage_error(word, "the commands are ");
  const ProgramResult option = run_lamp("train -o run --wombat 3");
  EXPECT_EQ(option.exit_code, 2);
  EXPECT_THAT(option.err, Not(HasSubstr("did you mean")));
}

TEST(CommandLineTest, CommandsOfOtherProgramsAreUnderstood) {
  expect_usage_error("predict -i x", "\"lamp segment\"");
  expect_usage_error("fit", "\"lamp train\"");
  expect_usage_error("eval", "\"lamp evaluate\"");
  expect_usage_error("preprocess", "\"lamp prepare\"");
}

TEST(CommandLineTest, AnOptionOfOtherProgramsIsNamedWithOurs) {
  expect_usage_error("train -o run --epochs 3", "--set curriculum.0.epochs=");
  expect_usage_error("train -o run --lr 1e-3", "--set optimizer.lr=");
  for (const char* command :
       {"train -o run", "bench input -d data -c demo", "experiment -o x --preset y"})
    expect_usage_error(std::string(command) + " --set seed=1 --set seed=2", "seed=1 and seed=2");
  expect_usage_error("train -o run --learning_rate=1e-3", "--set optimizer.lr=");
  expect_usage_error("train --batch-size 3", "--set curriculum.0.batch=");  // and -o is missing
  expect_usage_error("train -o run --resum", "\"--resume\"");
  expect_usage_error("train -o run --gpus 2", "--device cuda:0");
  expect_usage_error("segment -m a -i b -o c --roi-size 3", "\"--patch\"");
  expect_usage_error("segment -m a -i b -o c --save_probabilites", "\"--save-probabilities\"");
  expect_usage_error("evaluate -p a -r b --ground-truth c", "\"--reference\"");
  expect_usage_error("evaluate --pred x", "did you mean \"--prediction\"?");
}

TEST(CommandLineTest, AValueOfTheWrongTypeIsNamedWithWhatIsExpected) {
  expect_usage_error("plan --batch x", "--batch: found \"x\", expected a whole number\n");
  expect_usage_error("train --fold x", "--fold: found \"x\", expected a whole number\n");
  expect_usage_error("synth --train 1.5", "--train: found \"1.5\", expected a whole number\n");
  expect_usage_error("segment --overlap half", "--overlap: found \"half\", expected a number\n");
  expect_usage_error("check --seed x", "--seed: found \"x\", expected a whole number\n");
  expect_usage_error("--seed x check", "--seed: found \"x\", expected a whole number\n");
  expect_usage_error("synth --train 99999999999999999999", "expected a smaller whole number\n");
  expect_usage_error("simulate --forward 1,x", "--forward: found \"1,x\", expected numbers");
  expect_usage_error("plan --measure=maybe", "--measure: found \"maybe\", expected true or false");
  expect_usage_error("bench step --width x", "--width: found \"x\", expected a whole number\n");
}

TEST(CommandLineTest, AValueOutOfRangeMissingOrGivenTwiceIsNamedTheSameWay) {
  expect_usage_error("plan --rounds 0",
                     "--rounds: found \"0\", expected a whole number, 1 to 1000\n");
  expect_usage_error("synth --threads x", "--threads: found \"x\", expected a whole number, 1 to");
  expect_usage_error("bench input --step-seconds 0",
                     "--step-seconds: found \"0\", expected a number above zero\n");
  expect_usage_error("plan --batch", "--batch: found no value, expected a whole number\n");
  expect_usage_error("plan --config", "--config: found no value, expected one behind it\n");
  expect_usage_error("plan --batch 1 --batch 2", "--batch: found 2 values, expected one\n");
  for (const std::string option : {"--format", "--device", "--precision", "--series"})
    expect_usage_error("segment -m a -i b -o c " + option + " ''",
                       option + ": found no value, expected one behind it\n");
}

TEST(CommandLineTest, ALongWordIsNotQuotedInFull) {
  const std::string word(20000, '[');
  const std::string plan = "plan --net unet --width 4 --input 32,32,32 --batch 1 --";
  for (const char* option : {"recompute", "schedule", "precision", "partition", "split", "device",
                             "device-memory", "flops", "bandwidth", "devices"}) {
    for (const std::string& text : {word, word + "]"}) {
      const ProgramResult result = run_lamp(plan + option + " '" + text + "'");
      EXPECT_EQ(result.exit_code, 2) << option;
      EXPECT_LT(result.err.size(), 500U) << option;
    }
  }
}

TEST(CommandLineTest, AFinishedRunIsNotTrainedOnAnUnknownDevice) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 3);
  std::ofstream(folder / "config.json") << ball_config().dump();
  const std::string command = "train --resume -d '" + (folder / "data").string() + "' -c '" +
                              (folder / "config.json").string() + "' -o '" +
                              (folder / "run").string() + "'";
  EXPECT_THAT(run_lamp(command).err, HasSubstr("training on cpu: "));
  const ProgramResult again = run_lamp(command);
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_THAT(again.err, HasSubstr("nothing is left to train"));
  EXPECT_THAT(again.err, Not(HasSubstr("training on")));
}

// A configuration, an experiment and a plan say what to do: what is wrong with their text is usage.
TEST(CommandLineTest, ADamagedConfigurationIsAUsageErrorOfEveryCommand) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 2);
  const std::string data = "'" + (folder / "data").string() + "'";
  const std::string run = "'" + (folder / "run").string() + "'";
  for (const std::string text : {"{\"net\": ", "{\"net\": 1, \"net\": 2}", "", "[]", "3"}) {
    std::ofstream(folder / "bad.json") << text;
    const std::string bad = "'" + (folder / "bad.json").string() + "'";
    for (const std::string& command :
         {"train -d " + data + " -o " + run + " -c " + bad,
          "train -d " + data + " -o " + run + " -c demo --plan " + bad, "plan -c " + bad,
          "check " + data + " -c " + bad, "bench input -d " + data + " -c " + bad,
          "bench step --plan " + bad, "experiment --preset " + bad + " -o " + run})
      expect_usage_error(command, "lamp: ");
  }
}

TEST(CommandLineTest, AnImageInAConfigurationsOrADataSetsPlaceIsNamedAsOne) {
  const TemporaryFolder folder;
  std::ofstream(folder / "scan.nii.gz", std::ios::binary) << "\x1f\x8b\x08 and so on";
  const std::string scan = "'" + (folder / "scan.nii.gz").string() + "'";
  expect_usage_error("plan -c " + scan, "found a compressed file (an image?), expected a config");
  const std::string run = "'" + (folder / "run").string() + "'";
  const ProgramResult result = run_lamp("train -c demo -d " + scan + " -o " + run);
  EXPECT_EQ(result.exit_code, 3) << result.err;
  EXPECT_THAT(result.err, HasSubstr("found a compressed file (an image?), expected a folder with "
                                    "dataset.json or that file"));
}

TEST(CommandLineTest, AFullOutputIsAnError) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 2);
  const std::string data = "'" + (folder / "data").string() + "'";
  for (const std::string& arguments :
       {std::string("--version"), std::string("--help"), "check " + data, "check --json " + data,
        std::string("info --net unet"), std::string("info --net unet --json"),
        std::string("simulate --stages 2 --microbatches 2")}) {
    const std::string command =
        "'" LAMP_PROGRAM "' " + arguments + " >/dev/full 2>'" + (folder / "err").string() + "'";
    const int status = std::system(command.c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << arguments;
    EXPECT_THAT(text_of(folder / "err"), HasSubstr("cannot write the standard output"))
        << arguments;
  }
}

TEST(CommandLineTest, AReaderOfMessagesThatLeavesDoesNotEndATraining) {
  const TemporaryFolder folder;
  write_ball_dataset(folder / "data", 3);
  std::ofstream(folder / "config.json") << ball_config().dump();
  const std::string command = "{ '" LAMP_PROGRAM "' train -v -d '" + (folder / "data").string() +
                              "' -c '" + (folder / "config.json").string() + "' -o '" +
                              (folder / "run").string() + "'; echo $? >'" +
                              (folder / "code").string() + "'; } 2>&1 | true";
  ASSERT_EQ(std::system(("bash -c \"" + command + "\"").c_str()), 0);
  // The pipe's reader is gone at once, so the shell comes back before the training does.
  for (int i = 0; i < 600 && text_of(folder / "code").empty(); ++i) usleep(100'000);
  EXPECT_EQ(text_of(folder / "code"), "0\n");
  EXPECT_TRUE(std::filesystem::exists(folder / "run" / "last.safetensors"));
}

TEST(CommandLineTest, AFileNameCannotCommandTheTerminal) {
  const TemporaryFolder folder;
  const std::string name = "evil\n\x1b[2Jname.nii.gz";
  std::ofstream(folder / name) << "no image";
  const ProgramResult result = run_lamp("check \"" + (folder / name).string() + "\"");
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("evil\\n\\x1b[2Jname.nii.gz"));
  EXPECT_THAT(result.err, Not(HasSubstr("\x1b")));
}

}  // namespace
}  // namespace lamp::testing
