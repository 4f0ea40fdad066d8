#include "lamp/experiment/cell_store.h"

#include <gtest/gtest.h>

#include "lamp/base/files.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

TEST(CellStoreTest, AFinishedCellIsFoundAgain) {
  const testing::TemporaryFolder folder;
  const Json settings = {{"seed", 1}, {"lr", 0.002}};
  CellStore(folder.path()).save("U-Net-8 (16³), seed 1", settings, {{"average", 0.5}});
  const auto found = CellStore(folder.path()).find("U-Net-8 (16³), seed 1", settings);
  ASSERT_TRUE(found);
  EXPECT_EQ((*found)["average"], 0.5);
}

TEST(CellStoreTest, OtherSettingsOrAnotherNameAreNotThatCell) {
  const testing::TemporaryFolder folder;
  const CellStore cells(folder.path());
  cells.save("a", {{"seed", 1}}, {{"average", 0.5}});
  EXPECT_FALSE(cells.find("a", {{"seed", 2}}));
  EXPECT_FALSE(cells.find("b", {{"seed", 1}}));
}

TEST(CellStoreTest, ADamagedCellIsRunAgain) {
  const testing::TemporaryFolder folder;
  const CellStore cells(folder.path());
  cells.save("a", {{"seed", 1}}, {{"average", 0.5}});
  for (const auto& file : std::filesystem::directory_iterator(folder / "cells"))
    write_file(file.path(), "{\"cell\": ");
  EXPECT_FALSE(cells.find("a", {{"seed", 1}}));
}

TEST(CellStoreTest, NamesThatDifferInOddCharactersGetDifferentFiles) {
  EXPECT_NE(file_stem("U-Net (16³)"), file_stem("U-Net (16²)"));
  EXPECT_EQ(file_stem("a/../b").find('/'), std::string::npos);
}

}  // namespace
}  // namespace lamp
