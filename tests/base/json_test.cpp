// Comments, positions of faults, unknown keys, and numbers that JSON has no words for.
#include "lamp/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

template <typename Expected>
std::string refusal(const std::function<void()>& act) {
  try {
    act();
  } catch (const Expected& error) {
    return error.what();
  }
  return "accepted";
}

TEST(JsonTest, TakesCommentsOfBothKinds) {
  const Json json =
      parse_json("// first\n{\"a\": /* inside */ 1, \"b\": \"// no comment\"}\n", "f");
  EXPECT_EQ(json["a"], 1);
  EXPECT_EQ(json["b"], "// no comment");
}

TEST(JsonTest, NamesFileAndLineOfAFault) {
  const std::string message =
      refusal<InputError>([] { parse_json("{\n\"a\": 1,\n\"b\" 2}", "some.json"); });
  EXPECT_THAT(message, AllOf(HasSubstr("some.json"), HasSubstr("line 3")));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(JsonTest, RefusesWhatIsNotWhole) {
  for (const char* text : {"", "{", "[1,", "{\"a\"}", "{} {}", "\xff\xfe", "{\"a\": 1e999}"})
    EXPECT_NE(refusal<InputError>([&] { parse_json(text, "f"); }), "accepted") << text;
}

TEST(JsonTest, KeepsTheOrderOfKeys) {
  EXPECT_EQ(dump_json(parse_json(R"({"z": 1, "a": 2})", "f"), -1), R"({"z": 1, "a": 2})");
}

TEST(JsonTest, PrintsNonFiniteNumbersAsPythonDoes) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(dump_json({{"a", std::nan("")}, {"b", {infinity, -infinity, 0.5}}}, -1),
            R"({"a": NaN, "b": [Infinity, -Infinity, 0.5]})");
}

TEST(JsonTest, PrintsWhatItsOwnParserReads) {
  const Json json = {{"text", "quote \" and \n"},
                     {"empty", Json::object()},
                     {"list", Json::array()},
                     {"nested", {{"x", {1, 2.5, nullptr, true}}}}};
  for (const int indent : {-1, 0, 1, 4}) EXPECT_EQ(parse_json(dump_json(json, indent), "f"), json);
}

TEST(JsonTest, ReplacesBytesThatAreNoText) {
  EXPECT_NO_THROW(dump_json({{"name", "\xff\xfe"}}));
  EXPECT_NO_THROW(dump_json(Json{{"\xff", 1}}));
}

TEST(ObjectReaderTest, NamesTheNearestKnownKeyForAnUnknownOne) {
  const Json json = {{"learning_rat", 1}};
  ObjectReader reader(json, "optimizer");
  reader.get("learning_rate", 0.1);
  reader.get("momentum", 0.9);
  EXPECT_THAT(refusal<UsageError>([&] { reader.finish(); }),
              AllOf(HasSubstr("optimizer.learning_rat:"), HasSubstr("\"learning_rate\"")));
}

TEST(ObjectReaderTest, SaysWhatItFoundAndWhatItExpected) {
  const Json json = {{"number", "three"}, {"flag", 1}, {"text", 5}, {"whole", 1.5}};
  ObjectReader reader(json, "");
  EXPECT_THAT(refusal<UsageError>([&] { reader.get("number", 1.0); }),
              AllOf(HasSubstr("number: found \"three\""), HasSubstr("a number")));
  EXPECT_THAT(refusal<UsageError>([&] { reader.get("flag", true); }), HasSubstr("true or false"));
  EXPECT_THAT(refusal<UsageError>([&] { reader.get("text", std::string()); }),
              HasSubstr("a string"));
  EXPECT_THAT(refusal<UsageError>([&] { reader.get("whole", 1); }), HasSubstr("a whole number"));
}

TEST(ObjectReaderTest, TakesDefaultsForWhatIsAbsentOrNull) {
  const Json json = {{"a", nullptr}};
  ObjectReader reader(json, "");
  EXPECT_EQ(reader.get("a", 3), 3);
  EXPECT_EQ(reader.get("b", 4), 4);
  EXPECT_FALSE(reader.has("a"));
  EXPECT_NO_THROW(reader.finish());
}

TEST(ObjectReaderTest, AWholeNumberThatDoesNotFitItsTypeIsAnError) {
  const Json json = {{"a", 1e300}, {"b", std::uint64_t{1} << 63}};
  ObjectReader reader(json, "");
  EXPECT_NE(refusal<UsageError>([&] { reader.get("a", 3); }), "accepted");
  EXPECT_NE(refusal<UsageError>([&] { reader.get<std::int64_t>("b", 3); }), "accepted");
  EXPECT_NE(refusal<UsageError>([&] { reader.get<int>("b", 3); }), "accepted");
}

TEST(ObjectReaderTest, ChoicesAreListed) {
  const Json json = {{"name", "adam"}};
  ObjectReader reader(json, "optimizer");
  EXPECT_THAT(refusal<UsageError>([&] {
                reader.choice("name", "sgd", {"sgd", "adamw"});
              }),
              AllOf(HasSubstr("\"adam\""), HasSubstr("sgd, adamw")));
}

TEST(ObjectReaderTest, RefusesWhatIsNoObject) {
  const Json json = {1, 2};
  EXPECT_THAT(refusal<UsageError>([&] { ObjectReader reader(json, "net"); }), HasSubstr("net"));
}

TEST(JsonTest, NearestCountsEdits) {
  EXPECT_EQ(nearest("unett", {"seunet", "unet", "anatomynet"}), "unet");
  EXPECT_EQ(nearest("x", {}), "");
}

}  // namespace
}  // namespace lamp
