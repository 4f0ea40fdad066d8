// A name from a stranger's file never leaves its folder.
#include "lamp/base/safe_path.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "lamp/base/errors.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using lamp::testing::TemporaryFolder;

TEST(SafePathTest, RefusesNamesThatAreMoreThanAName) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../x"), std::string("a/b"),
        std::string("/etc/passwd"), std::string("a\\b"), std::string("..\\x"), std::string("a\nb"),
        std::string("a\0b", 3), std::string("\x1b[2J"), std::string("a\x7f"),
        std::string(201, 'a')}) {
    EXPECT_NE(fault_of_name(name), "") << name;
    EXPECT_THROW(check_name(name, "a bad name", "dataset.json"), InputError);
  }
}

// Unicode's bidirectional controls (UAX 9), zero-width characters and other default ignorables.
TEST(SafePathTest, RefusesCharactersThatNobodySees) {
  for (const std::string unseen :
       {"\u061c", "\u200b", "\u200e",   "\u200f",   "\u2028",     "\u2029",    "\u202a", "\u202b",
        "\u202c", "\u202d", "\u202e",   "\u2060",   "\u2066",     "\u2067",    "\u2068", "\u2069",
        "\ufeff", "\u00ad", "\xc2\x85", "\xc2\x9b", "\U000e0041", "\U000e0001"})
    for (const std::string& name : {"case" + unseen + "_1", unseen + "case", "case" + unseen})
      EXPECT_THAT(fault_of_name(name), ::testing::HasSubstr("U+")) << name;
  EXPECT_THAT(fault_of_name("a\u202eb"), ::testing::HasSubstr("U+202E"));
  try {
    check_name("x\u202egnp", "a bad name", "dataset.json");
    ADD_FAILURE();
  } catch (const InputError& error) {  // which must not turn the line that tells of it
    EXPECT_THAT(error.what(), ::testing::Not(::testing::HasSubstr("\u202e")));
  }
}

TEST(SafePathTest, TakesNamesThatPeopleUse) {
  for (const std::string& name :
       std::vector<std::string>{"case_001", "liver 1", "a.b.c", "...", "..a", "Müller_Å", "日本",
                                "Mu\u0308ller", "\u05d0\u05d1", "\u0645\u0631", "\U0001f600",
                                "a\u2013b", "-x", "~", "$HOME", "a:b", "100%"})
    EXPECT_EQ(fault_of_name(name), "") << name;
  EXPECT_EQ(fault_of_name(std::string(200, 'a')), "");
}

TEST(SafePathTest, FollowsLinksBeforeItSaysInside) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "data/imagesTr");
  fs::create_directories(folder / "data2");
  fs::create_directories(folder / "victim");
  fs::create_directory_symlink(folder / "victim", folder / "data/out");
  fs::create_directory_symlink(folder / "data/imagesTr", folder / "data/in");
  const fs::path data = folder / "data";
  EXPECT_TRUE(lies_inside(data, data));
  EXPECT_TRUE(lies_inside(data, data / "imagesTr/new.nii.gz"));
  EXPECT_TRUE(lies_inside(data, data / "not/there/yet"));
  EXPECT_TRUE(lies_inside(data, data / "in/new.nii.gz"));
  EXPECT_TRUE(lies_inside(data / "", data / "imagesTr/../x"));
  EXPECT_FALSE(lies_inside(data, data / "out/scan.nii.gz"));
  EXPECT_FALSE(lies_inside(data, data / "imagesTr/../../victim/scan.nii.gz"));
  EXPECT_FALSE(lies_inside(data, data / "not/../../x"));
  EXPECT_FALSE(lies_inside(data, folder / "data2"));  // begins with the same letters
  EXPECT_FALSE(lies_inside(data, folder.path()));
  EXPECT_FALSE(lies_inside(data, "/"));
  EXPECT_TRUE(lies_inside("/", data));
  EXPECT_TRUE(lies_inside(folder / "not", folder / "not/there/"));
}

TEST(SafePathTest, ARealPathIsAbsoluteAndFollowsLinksAsFarAsThereAreAny) {
  const TemporaryFolder folder;
  const fs::path base = fs::canonical(folder.path());
  fs::create_directories(folder / "data/imagesTr");
  fs::create_directory_symlink(folder / "data/imagesTr", folder / "link");
  EXPECT_EQ(real_path(folder / "link/new/a.nii.gz"), base / "data/imagesTr/new/a.nii.gz");
  EXPECT_EQ(real_path(folder / "link/../x/./y/"), base / "data/x/y");
  EXPECT_EQ(real_path(folder / "data/"), base / "data");
  EXPECT_EQ(real_path(""), fs::current_path());
  EXPECT_EQ(real_path("not-there/yet/"), fs::current_path() / "not-there/yet");
  EXPECT_EQ(real_path("/"), "/");
}

TEST(SafePathTest, JudgesARelativePathByItsText) {
  for (const char* inside : {"a", "imagesTr/a.nii.gz", "./a", "a/../b", "a//b"})
    EXPECT_TRUE(stays_below(inside)) << inside;
  for (const char* outside : {"", ".", "..", "../a", "a/../../b", "/a", "a/..", "./../a"})
    EXPECT_FALSE(stays_below(outside)) << outside;
}

TEST(SafePathTest, JoinersThatNamesAreSpelledWithAreNoFault) {
  EXPECT_EQ(fault_of_name("\u0645\u06cc\u200c\u062f"), "");
  EXPECT_NE(fault_of_name("pat\u200b1"), "");
}

}  // namespace
}  // namespace lamp
