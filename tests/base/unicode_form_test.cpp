// Names that look alike are alike.
#include "lamp/base/unicode_form.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

// Expected values: Unicode's own decompositions (UnicodeData.txt, chapter 3.12 for Korean).
TEST(UnicodeFormTest, TakesAccentsApart) {
  EXPECT_EQ(decomposed("M\u00fcller"), "Mu\u0308ller");
  EXPECT_EQ(decomposed("Mu\u0308ller"), "Mu\u0308ller");
  EXPECT_EQ(decomposed("\u01d6"), "u\u0308\u0304");         // two marks, one after the other
  EXPECT_EQ(decomposed("\u1ead"), "a\u0323\u0302");         // below before above
  EXPECT_EQ(decomposed("a\u0302\u0323"), "a\u0323\u0302");  // whatever the order
  EXPECT_EQ(decomposed("\u0439"), "\u0438\u0306");
  EXPECT_EQ(decomposed("\u30d7"), "\u30d5\u309a");
  EXPECT_EQ(decomposed("\u01d8"), "u\u0308\u0301");
  EXPECT_EQ(decomposed("\u304c"), "\u304b\u3099");
  EXPECT_EQ(decomposed("\uac01"), "\u1100\u1161\u11a8");
  EXPECT_EQ(decomposed("\ud55c\uac00"), "\u1112\u1161\u11ab\u1100\u1161");
}

TEST(UnicodeFormTest, LeavesTheRestAlone) {
  for (const std::string text :
       {"liver_01", "", "\xff\xfe", "a\xc3", "\xe1\x84", "\u0308", "\u4e2d\U0001f600"})
    EXPECT_EQ(decomposed(text), text);
  EXPECT_NE(decomposed("Muller"), decomposed("M\u00fcller"));
}

TEST(UnicodeFormTest, KnowsUtf8) {
  for (const std::string text : {"", "abc", "M\u00fcller", "\u4e2d", "\U0001f600"})
    EXPECT_TRUE(is_utf8(text)) << text;
  for (const std::string text :
       {"\xff", "a\xc3", "\xc0\x80", "\xed\xa0\x80", "\xe0\x80\x80", "\xf5\x80\x80\x80", "\x80"})
    EXPECT_FALSE(is_utf8(text));
}

}  // namespace
}  // namespace lamp
