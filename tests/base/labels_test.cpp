#include "lamp/base/labels.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lamp {
namespace {

using ::testing::HasSubstr;

TEST(LabelsTest, NamesThatCanBeShownOfEveryLanguageArePermitted) {
  for (const char* name :
       {"liver", "Parotid_L", "a, \"quoted\"; name", " ", "Leber (groß)", "肝臓"})
    EXPECT_FALSE(fault_of_label(1, name)) << name;
  EXPECT_FALSE(fault_of_label(1, std::string(256, 'a')));
  EXPECT_FALSE(fault_of_label(0, "background"));
  EXPECT_FALSE(fault_of_label(32767, "last"));  // the largest int16
}

// The control characters of ASCII: 0 to 31 and 127.
TEST(LabelsTest, NoControlCharacterIs) {
  for (int code = 0; code < 128; ++code) {
    const std::string name = std::string("a") + static_cast<char>(code) + "b";
    const auto fault = fault_of_label(1, name);
    EXPECT_EQ(fault.has_value(), code < 32 || code == 127) << code;
    if (!fault) continue;
    EXPECT_THAT(fault->expected, HasSubstr("without control characters"));
    for (const char c : fault->found) EXPECT_TRUE(c >= 32 && c != 127) << code;
  }
}

TEST(LabelsTest, OthersAreRefusedWithWhatToDo) {
  EXPECT_EQ(fault_of_label(1, "")->fix, "name it");
  EXPECT_EQ(fault_of_label(1, std::string(257, 'a'))->found, "a name of 257 bytes");
  for (const std::int64_t id : {std::int64_t{-1}, std::int64_t{32768}, std::int64_t{1} << 40})
    EXPECT_EQ(fault_of_label(id, "liver")->found, "id " + std::to_string(id));
}

}  // namespace
}  // namespace lamp
