// Sizes: which way round, and what counts as one.
#include "lamp/base/size3.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "lamp/base/json.h"

namespace lamp {
namespace {

TEST(Size3Test, TensorsHoldSizesTheOtherWayRound) {
  const Size3 size = {5, 4, 3};
  EXPECT_EQ(size.dhw(), (Shape3{3, 4, 5}));
  EXPECT_EQ(size.dhw().xyz(), size);
  EXPECT_EQ(size.voxels(), 60);
  const torch::Tensor volume = torch::zeros({2, 1, 3, 4, 5});
  EXPECT_EQ(last_three(volume.sizes()), size.dhw());
  EXPECT_EQ(torch::zeros(size.dhw()).sizes(), (torch::IntArrayRef{3, 4, 5}));
}

TEST(Size3Test, ATextIsThreeSidesAndNothingElse) {
  EXPECT_EQ(parse_size3("128,64,1"), (Size3{128, 64, 1}));
  EXPECT_EQ(parse_size3("65536,1,1"), (Size3{65536, 1, 1}));
  for (const char* text :
       {"",          "64",          "64,64",     "64,64,",    ",64,64",
        "64,64,64,", "64,64,64,64", "64 ,64,64", " 64,64,64", "64,64,64 ",
        "0,64,64",   "-1,64,64",    "+1,64,64",  "65537,1,1", "99999999999999999999,1,1",
        "1.5,1,1",   "1e2,1,1",     "64x64x64",  "64;64;64",  "a,b,c"})
    EXPECT_FALSE(parse_size3(text)) << text;
}

TEST(Size3Test, AJsonListIsHeldToTheSameRule) {
  EXPECT_EQ(size3_of(parse_json("[128, 64, 1]", "test")), (Size3{128, 64, 1}));
  for (const char* text :
       {"null", "64", "\"64,64,64\"", "[]", "[64, 64]", "[64, 64, 64, 64]", "[64, 64, 0]",
        "[64, 64, -1]", "[64, 64, 65537]", "[64, 64, 64.0]", "[64, 64, \"64\"]", "[64, 64, null]",
        "[64, 64, true]", "[64, 64, 18446744073709551615]", "[64, 64, 4294967360]",
        "{\"x\": 64, \"y\": 64, \"z\": 64}"})
    EXPECT_FALSE(size3_of(parse_json(text, "test"))) << text;
}

TEST(Size3Test, ASizeIsWrittenAsAList) {
  EXPECT_EQ(Json(Size3{5, 4, 3}).dump(), "[5,4,3]");
  EXPECT_EQ(size3_of(Json(Size3{5, 4, 3})), (Size3{5, 4, 3}));
}

}  // namespace
}  // namespace lamp
