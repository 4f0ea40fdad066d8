// Numbers as people type and read them.
#include "lamp/base/text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

TEST(TextTest, FixedKeepsTheDigitsAsked) {
  EXPECT_EQ(fixed(0.12345, 3), "0.123");
  EXPECT_EQ(fixed(-2, 1), "-2.0");
  EXPECT_EQ(fixed(std::numeric_limits<double>::max(), 0).size(), 309U);
}

TEST(TextTest, ShortestReadsBackAsTheSameNumber) {
  for (const double value : {0.1, 1.0 / 3, 1e300, -2.5e-300, 0.0, 123456789.123456789})
    EXPECT_EQ(std::stod(shortest(value)), value);
  EXPECT_EQ(shortest(0.1), "0.1");
}

TEST(TextTest, BytesTakeTheLargestUnitThatFits) {
  EXPECT_EQ(bytes_text(512), "512 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(std::int64_t{16} << 30), "16.0 GiB");
}

TEST(TextTest, ParsesBinaryAndDecimalSizes) {
  EXPECT_EQ(parse_bytes("8GiB", "x"), std::int64_t{8} << 30);
  EXPECT_EQ(parse_bytes("1.5g", "x"), std::int64_t{3} << 29);
  EXPECT_EQ(parse_bytes("500MB", "x"), 500'000'000);
  EXPECT_EQ(parse_bytes("2 KiB", "x"), 2048);
  EXPECT_EQ(parse_bytes("4096", "x"), 4096);
}

TEST(TextTest, ParsesRates) {
  EXPECT_EQ(parse_rate("100T", "x"), 100e12);
  EXPECT_EQ(parse_rate("19.5 TFLOPS", "x"), 19.5e12);
  EXPECT_EQ(parse_rate("50GB/s", "x"), 50e9);
  EXPECT_EQ(parse_rate("2 GiB/s", "x"), 2.0 * (1 << 30));
  EXPECT_EQ(parse_rate("1e12", "x"), 1e12);
  for (const char* text : {"", "fast", "0", "-1T", "1X", "1Tx/s", "inf", "nan"})
    EXPECT_THROW(parse_rate(text, "--flops"), UsageError) << text;
}

TEST(TextTest, RefusesSizesThatAreNone) {
  for (const char* text : {"", "GiB", "-1GiB", "0", "8XiB", "8GiBs", "nan", "inf", "1e30", "8 8"})
    EXPECT_THROW(parse_bytes(text, "--memory"), UsageError) << text;
}

TEST(TextTest, AMemoryOfAFewBytesLacksItsUnit) {
  EXPECT_EQ(parse_memory("16GiB", "x"), std::int64_t{16} << 30);
  EXPECT_EQ(parse_memory("17179869184", "x"), std::int64_t{16} << 30);
  EXPECT_EQ(parse_memory("512 KiB", "x"), 512 << 10);
  for (const char* text : {"16", "16.5", "8192", "1e3", " 16", "0", "-16"})
    EXPECT_THROW(parse_memory(text, "--device-memory"), UsageError) << text;
}

TEST(TextTest, CountsInTheNounsPlural) {
  EXPECT_EQ(counted(1, "micro-batch"), "1 micro-batch");
  EXPECT_EQ(counted(2, "micro-batch"), "2 micro-batches");
  EXPECT_EQ(counted(2, "epoch"), "2 epochs");
  EXPECT_EQ(counted(0, "step"), "0 steps");
  EXPECT_EQ(counted(std::size_t{4}, "entry"), "4 entries");
  EXPECT_EQ(counted(3, "class"), "3 classes");
}

TEST(TextTest, BitsAreNoBytes) {
  EXPECT_EQ(parse_bandwidth("50GB/s", "x"), 50e9);
  EXPECT_EQ(parse_bandwidth("5e10", "x"), 50e9);
  EXPECT_THROW(parse_bandwidth("50", "--bandwidth"), UsageError) << "50 bytes a second";
  EXPECT_EQ(parse_bandwidth("50Gb/s", "x"), 50e9 / 8);
  EXPECT_EQ(parse_bandwidth("400Gbit/s", "x"), 50e9);
  EXPECT_EQ(parse_bandwidth("400 Gbits/s", "x"), 50e9);
  EXPECT_EQ(parse_bandwidth("400Gbps", "x"), 50e9);
  EXPECT_EQ(parse_bandwidth("50GBps", "x"), 50e9);
  EXPECT_EQ(parse_bandwidth("2GiB/s", "x"), 2.0 * (1 << 30));
  EXPECT_EQ(parse_bandwidth("25G", "x"), 25e9);
  EXPECT_EQ(parse_bandwidth("1e10", "x"), 1e10);
  for (const char* text : {"", "fast", "0", "-1GB/s", "10TFLOPS", "10 parsec", "nan", "inf", "b/s"})
    EXPECT_THROW(parse_bandwidth(text, "--bandwidth"), UsageError) << text;
  EXPECT_EQ(parse_flops("19.5TFLOPS", "x"), 19.5e12);
  for (const char* text : {"50GB/s", "1Gbit", "fast", ""})
    EXPECT_THROW(parse_flops(text, "--flops"), UsageError) << text;
}

TEST(TextTest, ClockCountsMinutesAndHours) {
  EXPECT_EQ(clock_text(65), "1:05");
  EXPECT_EQ(clock_text(7209), "2:00:09");
  EXPECT_EQ(clock_text(0), "0:00");
}

TEST(TextTest, JoinsWordsAndWholeNumbers) {
  const std::vector<std::string> none, one = {"a"}, three = {"a", "b", "c"};
  EXPECT_EQ(joined(none), "");
  EXPECT_EQ(joined(one, ", ", " or "), "a");
  EXPECT_EQ(joined(three), "a, b, c");
  EXPECT_EQ(joined(three, ", ", " or "), "a, b or c");
  EXPECT_EQ(joined(std::vector<std::int64_t>{3, -4}, "x"), "3x-4");
  EXPECT_EQ(joined_first(three, 3), "a, b, c");
  EXPECT_EQ(joined_first(three, 1), "a and 2 more");
}

TEST(TextTest, AMeasurementOfNothingHasNoSign) {
  EXPECT_EQ(six_digits(-0.0), "0");
  EXPECT_EQ(six_digits(-0.5), "-0.5");
}

TEST(TextTest, WritesControlCharactersOut) {
  EXPECT_EQ(printable("a\nb\t\x1b[31m\x7f"), "a\\nb\\t\\x1b[31m\\x7f");
  EXPECT_EQ(printable("Müller, 日本"), "Müller, 日本");
  EXPECT_EQ(printable("a\u202eb\ufeff"), "a<U+202E>b<U+FEFF>");
  EXPECT_EQ(printable("\xc2\x9b[31m\xc2"), "<U+009B>[31m\xc2");
}

TEST(TextTest, ShortensLongTextsBetweenCharacters) {
  EXPECT_EQ(shortened("abc", 3), "abc");
  EXPECT_EQ(shortened("abcd", 3), "abc...");
  EXPECT_EQ(shortened("aé", 2), "a...");
  EXPECT_EQ(shortened(std::string(1000, 'x')).size(), 83U);
}

TEST(TextTest, TheMessageOfAnErrorIsOneLineWhateverItQuotes) {
  const InputError error({.file = "a\nb.nii",
                          .what = "cannot read",
                          .found = "\"\x1b[2J\"",
                          .expected = "text",
                          .fix = "correct it"});
  EXPECT_STREQ(error.what(),
               "cannot read: a\\nb.nii: found \"\\x1b[2J\", expected text; correct it");
  EXPECT_EQ(error.file(), "a\nb.nii");
}

}  // namespace
}  // namespace lamp
