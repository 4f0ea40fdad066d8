#include "lamp/base/setting_name.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

// Other tests of this program read messages with the settings' own names.
class SettingNameTest : public ::testing::Test {
 protected:
  ~SettingNameTest() override { name_settings({}); }
};

TEST_F(SettingNameTest, ASettingGoesByItsKeyUntilItIsNamed) {
  EXPECT_EQ(setting_name("execution.microbatches"), "execution.microbatches");
  EXPECT_EQ(setting_to("execution.microbatches", "4"), "execution.microbatches=4");
  name_settings({{"execution.microbatches", "--microbatches"}});
  EXPECT_EQ(setting_name("execution.microbatches"), "--microbatches");
  EXPECT_EQ(setting_to("execution.microbatches", "4"), "--microbatches 4");
  EXPECT_EQ(setting_to("batch", "2"), "batch=2") << "another one";
}

}  // namespace
}  // namespace lamp
