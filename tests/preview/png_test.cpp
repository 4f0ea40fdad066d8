#include "lamp/preview/png.h"

#include <gtest/gtest.h>

#include "lamp/base/files.h"
#include "support/decoded_png.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::Colour;
using lamp::testing::decoded_png;
using lamp::testing::TemporaryFolder;

Raster small_raster() {
  Raster raster(5, 4);
  raster.set(1, 0, kWhiteInk);
  raster.set(2, 3, label_ink(1));
  raster.set(5, 0, kWhiteInk);  // beyond it
  raster.set(0, -1, kWhiteInk);
  return raster;
}

TEST(PngTest, KeepsEveryPixel) {
  const auto picture = decoded_png(png_bytes(small_raster()));
  ASSERT_EQ(picture.width, 5);
  ASSERT_EQ(picture.height, 4);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 5; ++x) {
      Colour expected = {0, 0, 0};
      if (x == 1 && y == 0) expected = {255, 255, 255};
      if (x == 2 && y == 3) expected = {0xd5, 0x5e, 0x00};
      EXPECT_EQ(picture.at(x, y), expected) << x << " " << y;
    }
}

TEST(PngTest, TheSamePictureGivesTheSameBytes) {
  EXPECT_EQ(png_bytes(small_raster()), png_bytes(small_raster()));
}

TEST(PngTest, LabelsOfOneColourAreTheSameEverywhere) {
  EXPECT_EQ(label_ink(1), label_ink(1 + kLabelColours));
  EXPECT_NE(label_ink(1), label_ink(2));
  EXPECT_NE(label_ink(1), pale_label_ink(1));
  for (const std::int64_t label : {std::int64_t{-5}, std::int64_t{0}, std::int64_t{1} << 40})
    EXPECT_LT(pale_label_ink(label), picture_palette().size());
}

TEST(PngTest, KnowsItsOwnFilesAndNoOther) {
  const TemporaryFolder folder;
  const auto is_own = [&](const std::string& bytes) {
    write_file(folder / "x.png", bytes);
    return own_png()(folder / "x.png");
  };
  const std::string own = png_bytes(small_raster());
  EXPECT_TRUE(is_own(own));
  for (const std::size_t place : {std::size_t{20}, own.size() / 2, own.size() - 20}) {
    std::string changed = own;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    EXPECT_FALSE(is_own(changed)) << place;
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{40}})
    EXPECT_FALSE(is_own(own.substr(0, size))) << size;
  EXPECT_FALSE(is_own(own + "more"));
  EXPECT_FALSE(is_own("LAMP preview sha256:"));
  EXPECT_FALSE(is_own(std::string("\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXtSoftware", 24)));
  EXPECT_FALSE(own_png()(folder / "nothing.png"));
  EXPECT_FALSE(own_png()(folder.path()));
}

}  // namespace
}  // namespace lamp
