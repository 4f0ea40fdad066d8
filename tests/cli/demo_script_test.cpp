// scripts/demo, with a program in LAMP's place that only notes how it was called.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/run_program.h"

namespace lamp::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

class DemoScriptTest : public ::testing::Test {
 protected:
  DemoScriptTest() {
    std::ofstream(folder_ / "stub") << "#!/bin/sh\n"
                                       "echo \"$1\" >>'" +
                                           (folder_ / "calls").string() +
                                           "'\n"
                                           "[ \"$1\" != synth ] || { mkdir -p '" +
                                           phantoms().string() + "' && echo '{}' >'" +
                                           (phantoms() / "dataset.json").string() + "'; }\n";
    fs::permissions(folder_ / "stub", fs::perms::owner_all);
  }

  fs::path demo() const { return folder_ / "demo"; }
  fs::path phantoms() const { return demo() / "phantoms"; }

  // The commands that it called.
  std::string calls() {
    fs::remove(folder_ / "calls");
    const std::string command = quoted(fs::path(LAMP_SOURCE_DIR) / "scripts" / "demo") + " " +
                                quoted(folder_ / "stub") + " " + quoted(demo()) +
                                " >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return text_of(folder_ / "calls");
  }

  TemporaryFolder folder_;
};

TEST_F(DemoScriptTest, ARerunGoesOnWithWhatIsThere) {
  EXPECT_EQ(calls(), "synth\ntrain\nsegment\nevaluate\n");
  EXPECT_EQ(calls(), "train\nsegment\nevaluate\n");
  EXPECT_FALSE(fs::exists(folder_ / "demo.before-1"));
}

TEST_F(DemoScriptTest, ADemoOfOtherSettingsIsMovedAside) {
  for (const char* aside : {"demo.before-1", "demo.before-2"}) {
    fs::create_directories(phantoms());
    std::ofstream(phantoms() / "dataset.json") << aside;
    std::ofstream(demo() / "made_of") << "other phantoms\n";
    EXPECT_THAT(calls(), HasSubstr("synth")) << aside;
    EXPECT_EQ(text_of(folder_ / aside / "phantoms" / "dataset.json"), aside);
  }
  fs::remove(demo() / "made_of");  // as before there was such a note
  EXPECT_THAT(calls(), HasSubstr("synth"));
  EXPECT_TRUE(fs::exists(folder_ / "demo.before-3"));
  EXPECT_THAT(calls(), Not(HasSubstr("synth")));
}

}  // namespace
}  // namespace lamp::testing
