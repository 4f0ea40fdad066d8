// One rule makes a message of a fault's parts, and an error keeps them.
#include "lamp/base/fault.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/json_parser.h"
#include "lamp/base/safetensors.h"
#include "support/fault_of.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::fault_of;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(FaultTest, AMessageSaysWhatWasFoundWhatWasExpectedAndWhatToDo) {
  const Fault fault{.file = "ct",
                    .what = "cannot read",
                    .found = "2 series (1: head; 2: chest)",
                    .expected = "one",
                    .fix = "choose"};
  EXPECT_EQ(message_of(fault),
            "cannot read: ct: found 2 series (1: head; 2: chest), expected one; choose");
  EXPECT_EQ(detail_of(fault), "found 2 series (1: head; 2: chest), expected one; choose");
}

TEST(FaultTest, PartsWithNothingToSayLeaveNoTrace) {
  Fault fault{.file = "a.nii", .what = "cannot read", .found = "it is cut short"};
  EXPECT_EQ(message_of(fault), "cannot read: a.nii: it is cut short");
  fault.fix = "get it again";
  EXPECT_EQ(message_of(fault), "cannot read: a.nii: it is cut short; get it again");
  fault = {.file = "a", .what = "b", .found = "c", .expected = "d"};
  EXPECT_EQ(message_of(fault), "b: a: found c, expected d");
}

TEST(FaultTest, AnErrorKeepsThePartsAsTheyAre) {
  const InputError error({.file = "a\nb", .what = "what", .found = "x; y, expected z", .fix = "f"});
  EXPECT_EQ(error.file(), "a\nb");
  EXPECT_EQ(error.fault().found, "x; y, expected z");
  EXPECT_EQ(error.fault().fix, "f");
  EXPECT_STREQ(error.what(), "what: a\\nb: x; y, expected z; f");
}

TEST(FaultTest, AFileThatCannotBeOpenedIsNotCalledDamaged) {
  EXPECT_THAT(unreadable("x", EACCES).fix,
              AllOf(HasSubstr("check the permissions"), Not(HasSubstr("repair"))));
  EXPECT_EQ(unreadable("x", ENOENT).fix, "check the path");
  EXPECT_EQ(unreadable("x", ENOENT).file, "x");
  EXPECT_EQ(unreadable("x", ENOENT).what, "cannot read");
  for (int error = 1; error < 134; ++error) EXPECT_NE(unreadable("x", error).fix, "") << error;
  const testing::TemporaryFolder folder;
  const Fault absent = fault_of<InputError>([&] { read_file(folder / "absent"); });
  EXPECT_EQ(absent.file, (folder / "absent").string());
  EXPECT_EQ(absent.fix, "check the path");
  EXPECT_EQ(fault_of<InputError>([&] { read_file(folder.path()); }).fix, "name a file in it");
}

TEST(FaultTest, JsonSaysWhatIsWrongWithItInParts) {
  const Fault twice =
      fault_of<InputError>([] { parse_json("{\"a\": 1,\n \"a\": 2}", "set.json"); });
  EXPECT_EQ(twice.file, "set.json");
  EXPECT_EQ(twice.what, "not valid JSON");
  EXPECT_EQ(twice.found, "the key \"a\" stands twice, in line 1 and in line 2");
  EXPECT_EQ(twice.fix, "remove one of them");
  const Fault utf16 = fault_of<InputError>([] { parse_json(std::string("\xff\xfe{\0", 4), "f"); });
  EXPECT_EQ(utf16.found, "UTF-16 or UTF-32 text");
  EXPECT_EQ(utf16.expected, "UTF-8");
}

TEST(FaultTest, AFileOfTensorsSaysWhatIsWrongWithItInParts) {
  const testing::TemporaryFolder folder;
  std::ofstream(folder / "model.safetensors") << "{\"net\": {\"name\": \"unet\"}}";
  const Fault fault = fault_of<InputError>([&] { read_safetensors(folder / "model.safetensors"); });
  EXPECT_EQ(fault.what, "not a usable safetensors file");
  EXPECT_EQ(fault.found, "a JSON file");
  EXPECT_EQ(fault.expected, "a model that lamp train has written");
  EXPECT_EQ(fault.fix, "check the path");
}

}  // namespace
}  // namespace lamp
