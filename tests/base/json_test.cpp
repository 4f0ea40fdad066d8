// Comments, positions of faults, unknown keys, and numbers that JSON has no words for.
#include "lamp/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>

#include "lamp/base/errors.h"
#include "support/temporary_folder.h"

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

TEST(JsonTest, AMessageDoesNotQuoteALongTextInFull) {
  const std::string unclosed = "{\"" + std::string(1 << 20, 'x');
  const std::string message = refusal<InputError>([&] { parse_json(unclosed, "f"); });
  EXPECT_THAT(message, HasSubstr("missing closing quote"));
  EXPECT_LT(message.size(), 400U);
}

TEST(JsonTest, AKeyGivenTwiceIsAnErrorWithBothLines) {
  const auto message = [](const std::string& text) {
    return refusal<InputError>([&] { parse_json(text, "set.json"); });
  };
  EXPECT_THAT(message("{\n\"training\": [1],\n\"x\": 2,\n\"training\": [2]}"),
              AllOf(HasSubstr("set.json"), HasSubstr("\"training\""), HasSubstr("line 2"),
                    HasSubstr("line 4")));
  EXPECT_THAT(message("{\"a\": {\"lr\": 1, \"lr\": 1}}"), HasSubstr("\"lr\" stands twice"));
  EXPECT_THAT(message("[{\"a\": 1}, {\"b\": 1, /* { */\n \"b\": [], \"c\": 1}]"),
              AllOf(HasSubstr("in line 1"), HasSubstr("in line 2")));
  EXPECT_THAT(message("{\"\\u0061\": 1, \"a\": 2}"), HasSubstr("twice"));  // the same, escaped
  EXPECT_EQ(message("{\"a\": {\"a\": 1}, \"b\": {\"a\": 1}, \"A\": 1}"), "accepted");
}

TEST(JsonTest, NestsToALimitThatPrintingAndCopyingBear) {
  const auto nested = [](std::size_t levels, const std::string& open, const std::string& close) {
    std::string text;
    for (std::size_t i = 0; i < levels; ++i) text += open;
    text += "1";
    for (std::size_t i = 0; i < levels; ++i) text += close;
    return text;
  };
  for (const auto& [open, close] : {std::pair("[", "]"), std::pair("{\"a\":", "}")}) {
    const Json deepest = parse_json(nested(kDeepestJson, open, close), "f");
    EXPECT_EQ(parse_json(dump_json(deepest), "f"), deepest);
    for (const std::size_t levels : {kDeepestJson + 1, std::size_t{20'000}, std::size_t{200'000}})
      EXPECT_THAT(refusal<InputError>([&] { parse_json(nested(levels, open, close), "f"); }),
                  HasSubstr("200 levels"));
  }
}

// In the library's way each key is looked for among all before it: 4 * 10^10 comparisons.
TEST(JsonTest, TakesAnObjectOfManyKeysInLinearTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i)
    text +=
        (i ? ",\"" : "\"") + std::string("a long common beginning ") + std::to_string(i) + "\":0";
  const Json json = parse_json(text + "}", "f");
  EXPECT_EQ(json.size(), 200'000U);
  EXPECT_EQ(json.back(), 0);
}

TEST(JsonTest, LimitsTheNumberOfValues) {
  std::string text = "[0";
  for (std::size_t i = 0; i < kMostJsonValues; ++i) text += ",0";
  EXPECT_THAT(refusal<InputError>([&] { parse_json(text + "]", "f"); }), HasSubstr("values"));
}

TEST(JsonTest, SaysThatATextIsUtf16AndTakesAUtf8Mark) {
  const std::string little("\xff\xfe{\0}\0", 6), big("\0{\0}", 4);
  for (const std::string& text : {little, big})
    EXPECT_THAT(refusal<InputError>([&] { parse_json(text, "f"); }), HasSubstr("UTF-8"));
  EXPECT_EQ(parse_json("\xef\xbb\xbf{\"a\": 1}", "f")["a"], 1);
}

TEST(JsonTest, TellsWhatWasGivenInItsPlace) {
  const testing::TemporaryFolder folder;
  const std::string preamble(128, '\0');
  for (const auto& [start, kind] : std::vector<std::pair<std::string, std::string>>{
           {"\x1f\x8b\x08 and so on", "a compressed file (an image?)"},
           {std::string("\x5c\x01\0\0", 4) + preamble, "a NIfTI image"},
           {std::string("\0\0\x01\x5c", 4) + preamble, "a NIfTI image"},
           {"NRRD0004\n", "an NRRD image"},
           {"ObjectType = Image\n", "a MetaImage"},
           {preamble + "DICM and so on", "a DICOM file"},
           {std::string("\x20\x03\0\0\0\0\0\0{\"w\":", 13), "a model (safetensors)"}}) {
    std::ofstream(folder / "given", std::ios::binary) << start;
    try {
      read_json(folder / "given");
      ADD_FAILURE() << kind << " was taken for JSON";
    } catch (const InputError& error) {
      EXPECT_EQ(error.fault().found, kind);
      EXPECT_EQ(error.fault().expected, "a JSON file");
    }
    EXPECT_THROW(read_settings_file(folder / "given"), UsageError) << kind;
  }
}

TEST(JsonTest, KeepsTheOrderOfKeys) {
  EXPECT_EQ(dump_json(parse_json(R"({"z": 1, "a": 2})", "f"), -1), R"({"z": 1, "a": 2})");
}

TEST(JsonTest, PrintsNonFiniteNumbersAsPythonDoes) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(dump_json({{"a", std::nan("")}, {"b", {infinity, -infinity, 0.5}}}, -1),
            R"({"a": NaN, "b": [Infinity, -Infinity, 0.5]})");
}

TEST(JsonTest, PrintsWholeNumbersToTheirLimits) {
  const std::string numbers = "[-9223372036854775808, -1, 0, 18446744073709551615]";
  EXPECT_EQ(dump_json(parse_json(numbers, "f"), -1), numbers);
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

TEST(ObjectReaderTest, ALongKeyOrValueIsNeitherComparedNorShownInFull) {
  const std::string text(std::size_t{8} << 20, 'w');
  const Json key = {{text, 1}}, value = {{"name", text}};
  ObjectReader keys(key, "net"), values(value, "net");
  keys.at("width");
  EXPECT_LT(refusal<UsageError>([&] { keys.finish(); }).size(), 400U);
  EXPECT_LT(refusal<UsageError>([&] { values.choice("name", "a", {"a", "b"}); }).size(), 400U);
}

TEST(ObjectReaderTest, KnowsTheWordsOfOtherPrograms) {
  const auto advice = [](const char* where, const Json& json,
                         const std::vector<std::string>& known) {
    ObjectReader reader(json, where);
    for (const std::string& key : known) reader.has(key);
    return refusal<UsageError>([&] { reader.finish(); });
  };
  const std::vector<std::string> optimizer = {"name", "lr", "momentum", "weight_decay", "schedule"};
  for (const char* word : {"learning_rate", "initial_lr", "base_lr"})
    EXPECT_THAT(advice("optimizer", {{word, 1}}, optimizer), HasSubstr("did you mean \"lr\"?"));
  const std::vector<std::string> top = {"net", "data", "optimizer", "curriculum", "seed"};
  EXPECT_THAT(advice("", {{"lr", 1}}, top), HasSubstr("\"optimizer.lr\""));
  EXPECT_THAT(advice("", {{"batch_size", 1}}, top), HasSubstr("\"curriculum.0.batch\""));
  EXPECT_THAT(advice("", {{"epochs", 1}}, top), HasSubstr("\"curriculum.0.epochs\""));
  EXPECT_THAT(advice("", {{"model", 1}}, top), HasSubstr("\"net\""));
  EXPECT_THAT(advice("curriculum.0", {{"num_epochs", 1}}, {"patch", "batch", "epochs"}),
              HasSubstr("did you mean \"epochs\"?"));
  EXPECT_THAT(advice("optimizer", {{"zzzzzzzz", 1}}, optimizer),
              HasSubstr("name, lr, momentum, weight_decay, schedule"));
}

TEST(JsonTest, ACloseMatchIsCloseOrNothing) {
  const std::vector<std::string> commands = {"train", "segment", "evaluate", "check", "plan"};
  EXPECT_EQ(close_match("trian", commands), "train");
  EXPECT_EQ(close_match("segmnt", commands), "segment");
  EXPECT_EQ(close_match("evalute", commands), "evaluate");
  EXPECT_EQ(close_match("chekc", commands), "check");
  EXPECT_EQ(close_match("xyzzy", commands), "");
  EXPECT_EQ(close_match("", commands), "");
  EXPECT_EQ(close_match("train", {}), "");
  // One edit of three to five letters, two of six to eight, three of more; none of two.
  EXPECT_EQ(close_match("plna", commands), "plan");
  EXPECT_EQ(close_match("plum", commands), "");
  EXPECT_EQ(close_match("chunk", commands), "");
  EXPECT_EQ(close_match("sagmint", commands), "segment");
  EXPECT_EQ(close_match("sagmind", commands), "");
  EXPECT_EQ(close_match("ab", {"abc", "ac"}), "");
  EXPECT_EQ(close_match("epoch", {"epochs_done"}), "epochs_done");
}

TEST(JsonTest, AFarWordIsAnsweredWithTheKnownOnes) {
  const std::vector<std::string> names = {"unet", "seunet", "anatomynet"};
  EXPECT_EQ(nearest_or_known("seunnet", names), "the nearest is \"seunet\"");
  EXPECT_EQ(nearest_or_known("transformer", names), "known: unet, seunet, anatomynet");
  const std::vector<std::string> many(20, "case");
  EXPECT_THAT(nearest_or_known("x", many), HasSubstr("case and 8 more"));
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
