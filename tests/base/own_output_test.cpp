// What may be replaced and what may not, asked of every kind of output and every kind of thing that
// can stand in its place.
#include "lamp/base/own_output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/folder_contents.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::contents_of;
using lamp::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

class OwnOutputTest : public ::testing::Test {
 protected:
  OutputList json(const std::string& name) {
    OutputList files;
    files.add({"-o", folder_ / name, own_json("lamp plan")});
    return files;
  }
  // The message of the UsageError that check() throws; empty if it throws none.
  static std::string refusal(OutputList files) {
    try {
      files.check();
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }

  TemporaryFolder folder_;
};

TEST_F(OwnOutputTest, WhatIsNotThereMayBeWrittenAndCheckWritesNothing) {
  const auto before = contents_of(folder_.path());
  EXPECT_EQ(refusal(json("new/deep/plan.json")), "");
  EXPECT_EQ(contents_of(folder_.path()), before);
  json("new/deep/plan.json").make_folders();
  EXPECT_TRUE(fs::is_directory(folder_ / "new" / "deep"));
}

TEST_F(OwnOutputTest, JsonOfTheSameWriterIsReplacedAndNoOther) {
  write_file(folder_ / "own.json", dump_json(written_by("lamp plan", {{"a", 1}})));
  EXPECT_EQ(refusal(json("own.json")), "");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const Json undefined = {{"a", nan}, {"\"NaN\\", {infinity, -infinity, "NaN", "\\\""}}};
  write_file(folder_ / "own.json", dump_json(written_by("lamp plan", undefined)));
  EXPECT_EQ(refusal(json("own.json")), "");
  for (const char* text : {"{}", "", "[\"written_by\", \"lamp plan\"]",
                           "{\"written_by\": \"lamp segment\"}", "{\"written_by\": \"lamp plan\"",
                           "{\"a\": {\"written_by\": \"lamp plan\"}}", "\x5c\x01\x5c"}) {
    write_file(folder_ / "foreign.json", text);
    EXPECT_THAT(refusal(json("foreign.json")), HasSubstr("foreign.json")) << text;
    EXPECT_EQ(read_file(folder_ / "foreign.json"), text);
  }
}

TEST_F(OwnOutputTest, PicturesAndTablesAreKnownByTheirStart) {
  const auto is = [&](const OwnTest& test, const std::string& text) {
    write_file(folder_ / "x", text);
    return test(folder_ / "x");
  };
  const std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><text>a</text></svg>\n";
  EXPECT_FALSE(is(own_svg(), svg));
  EXPECT_TRUE(is(own_svg(), svg_written_by_lamp(svg)));
  EXPECT_FALSE(is(own_svg(), "text " + svg_written_by_lamp(svg)));
  EXPECT_TRUE(is(own_table("case,label"), "case,label\na,1\n"));
  EXPECT_FALSE(is(own_table("case,label"), "case,label,more\na,1,2\n"));
  EXPECT_FALSE(is(own_table("case,label"), "case,label"));
  EXPECT_FALSE(is(own_table("case,label"), ""));
}

TEST_F(OwnOutputTest, TheFirstForeignFileIsNamedAndAllAreCounted) {
  OutputList files;
  for (const char* name : {"a", "b", "c", "d"})
    files.add({"-o", folder_ / name, own_json("lamp plan")});
  for (const char* name : {"b", "c", "d"}) write_file(folder_ / name, "mine");
  EXPECT_THAT(refusal(files), AllOf(HasSubstr((folder_ / "b").string()), HasSubstr("2 more")));
}

TEST_F(OwnOutputTest, NamesThatAreNoFilesAreRefused) {
  EXPECT_THAT(refusal(json(std::string(300, 'x'))), HasSubstr("300 bytes"));
  EXPECT_THAT(refusal(json("folder/")), HasSubstr("no file name"));
  OutputList dash;
  dash.add({"-o", "-", own_json("lamp plan")});
  EXPECT_THAT(refusal(dash), HasSubstr("json prints"));
  OutputList twice = json("a.json");
  twice.add({"--svg", folder_ / "." / "a.json", own_svg()});
  EXPECT_THAT(refusal(twice), HasSubstr("name the same file"));
}

TEST_F(OwnOutputTest, FoldersLinksPipesAndDevicesAreLeftAlone) {
  write_file(folder_ / "own.json", dump_json(written_by("lamp plan", Json::object())));
  fs::create_directory(folder_ / "folder");
  fs::create_symlink(folder_ / "own.json", folder_ / "link");
  fs::create_symlink(folder_ / "nowhere", folder_ / "dangling");
  ASSERT_EQ(mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  const auto before = contents_of(folder_.path());
  EXPECT_THAT(refusal(json("folder")), HasSubstr("found a folder"));
  EXPECT_THAT(refusal(json("link")), HasSubstr("found a symbolic link"));
  EXPECT_THAT(refusal(json("dangling")), HasSubstr("found a symbolic link"));
  EXPECT_THAT(refusal(json("pipe")), HasSubstr("found a pipe"));
  OutputList device;
  device.add({"-o", "/dev/null", own_json("lamp plan")});
  EXPECT_THAT(refusal(device), HasSubstr("found a device"));
  EXPECT_EQ(contents_of(folder_.path()), before);
}

TEST_F(OwnOutputTest, AnInputIsNoOutputUnderWhateverName) {
  write_file(folder_ / "own.json", dump_json(written_by("lamp plan", Json::object())));
  fs::create_hard_link(folder_ / "own.json", folder_ / "hard.json");
  fs::create_directory(folder_ / "sub");
  fs::create_directory_symlink(folder_.path(), folder_ / "sub" / "up");
  for (const char* name : {"own.json", "hard.json", "sub/up/own.json"}) {
    OutputList files = json(name);
    files.protect(folder_ / "own.json");
    EXPECT_THAT(refusal(files), HasSubstr("would replace the input")) << name;
  }
}

TEST_F(OwnOutputTest, AFolderThatCannotBeIsARuntimeError) {
  write_file(folder_ / "file", "x");
  OutputList files = json("file/sub/plan.json");
  try {
    files.check();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), kExitRuntime);
    EXPECT_THAT(error.what(), HasSubstr("no folder"));
  }
}

TEST_F(OwnOutputTest, WhatAppearsMeanwhileIsNotReplaced) {
  OutputList files = json("plan.json");
  files.check();
  EXPECT_NO_THROW(files.confirm(folder_ / "plan.json"));
  write_file(folder_ / "plan.json", "mine");
  EXPECT_THROW(files.confirm(folder_ / "plan.json"), UsageError);
  EXPECT_FALSE(files.remove_older(folder_ / "plan.json"));
  EXPECT_EQ(read_file(folder_ / "plan.json"), "mine");
}

TEST_F(OwnOutputTest, AnOlderOutputOfOnesOwnCanBeRemoved) {
  write_file(folder_ / "plan.json", dump_json(written_by("lamp plan", Json::object())));
  OutputList files = json("plan.json");
  files.check();
  EXPECT_TRUE(files.remove_older(folder_ / "plan.json"));
  EXPECT_FALSE(fs::exists(folder_ / "plan.json"));
  EXPECT_FALSE(files.remove_older(folder_ / "plan.json"));
}

// Of a process that was killed; of these outputs only, for others may write to the folder.
TEST_F(OwnOutputTest, LeftoversOfTheseOutputsGo) {
  const pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  const std::string number = std::to_string(gone);
  write_file(folder_ / (".plan." + number + "-0.tmp.json"), "half");
  write_file(folder_ / (".other." + number + "-0.tmp.json"), "half");
  json("plan.json").make_folders();
  EXPECT_FALSE(fs::exists(folder_ / (".plan." + number + "-0.tmp.json")));
  EXPECT_TRUE(fs::exists(folder_ / (".other." + number + "-0.tmp.json")));
}

}  // namespace
}  // namespace lamp
