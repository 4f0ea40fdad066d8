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

TEST(SafePathTest, TakesNamesThatPeopleUse) {
  for (const std::string& name :
       std::vector<std::string>{"case_001", "liver 1", "a.b.c", "...", "..a", "Müller_Å", "日本",
                                "-x", "~", "$HOME", "a:b", "100%"})
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

}  // namespace
}  // namespace lamp
