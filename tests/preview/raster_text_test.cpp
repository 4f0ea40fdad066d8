#include "lamp/preview/raster_text.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

// The letter's pixels as rows of '#' and '.'.
std::string letter_picture(const std::string& text) {
  Raster raster(text_width(text), kLetterHeight);
  draw_text(raster, 0, 0, text, kWhiteInk);
  std::string rows;
  for (int y = 0; y < raster.height(); ++y) {
    for (int x = 0; x < raster.width(); ++x) rows += raster.row(y)[x] == kWhiteInk ? '#' : '.';
    rows += '\n';
  }
  return rows;
}

TEST(RasterTextTest, LettersAreTwoPixelsADot) {
  const std::string letter = letter_picture("L");
  EXPECT_EQ(letter.substr(0, 13), "##..........\n");
  EXPECT_EQ(letter.substr(std::size_t{13} * 12, 13), "##########..\n");
  EXPECT_EQ(letter.substr(std::size_t{13} * 14, 13), "............\n");
}

TEST(RasterTextTest, EveryLetterDiffersFromEveryOther) {
  for (char a = ' '; a < 0x7F; ++a)
    for (char b = ' '; b < a; ++b)
      EXPECT_NE(letter_picture({a}), letter_picture({b})) << a << " " << b;
}

TEST(RasterTextTest, WhatIsNotAsciiIsAQuestionMarkEach) {
  EXPECT_EQ(letter_picture("L\xc3\xb6we\n"), letter_picture("L?we?"));
  EXPECT_EQ(letter_picture("\xe8\x82\x9d"), letter_picture("?"));
  EXPECT_EQ(text_width("\xe8\x82\x9d"), kLetterWidth);
}

TEST(RasterTextTest, LongNamesEndInDots) {
  EXPECT_EQ(cut_text("parotid", 7), "parotid");
  EXPECT_EQ(cut_text("parotid left", 7), "paro...");
  EXPECT_EQ(cut_text("parotid left", 2), "pa");
  EXPECT_EQ(cut_text("parotid left", -1), "");
}

TEST(RasterTextTest, ParagraphsBreakAtSpaces) {
  EXPECT_EQ(wrapped_text("one two  three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped_text("unbreakable", 7), (std::vector<std::string>{"unbr..."}));
  EXPECT_TRUE(wrapped_text("", 7).empty());
}

TEST(RasterTextTest, TextBeyondThePictureIsNotDrawn) {
  Raster raster(8, 8);
  draw_text(raster, -5, -5, "WWW", kWhiteInk);
  draw_text(raster, 7, 7, "WWW", kWhiteInk);
}

}  // namespace
}  // namespace lamp
