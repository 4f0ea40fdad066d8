// Rows as RFC 4180 describes them, written out by hand.
#include "lamp/base/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lamp {
namespace {

using ::testing::ElementsAre;

TEST(CsvTest, QuotesOnlyWhatNeedsIt) {
  EXPECT_EQ(csv_field("left kidney"), "left kidney");
  EXPECT_EQ(csv_field("kidney, left"), "\"kidney, left\"");
  EXPECT_EQ(csv_field("5\" nodule"), "\"5\"\" nodule\"");
  EXPECT_EQ(csv_field("two\nlines"), "\"two\nlines\"");
}

TEST(CsvTest, RecordsEndWhereTheirQuotesAreClosed) {
  const std::string text = "a,\"b\nb\",\"c\"\"\nc\"\r\n1,2\",3\n\n4";
  EXPECT_THAT(csv_records(text), ElementsAre("a,\"b\nb\",\"c\"\"\nc\"", "1,2\",3", "", "4"));
  EXPECT_THAT(csv_records("a\"\"b\n1"), ElementsAre("a\"\"b", "1")) << "no quote opened here";
  EXPECT_TRUE(csv_records("").empty());
}

TEST(CsvTest, FieldsComeBackAsTheyWere) {
  const std::vector<std::string> names = {"plain", "a,b", "\"", "\"\"", "x\r\ny", "", ",", "5\" z"};
  std::string row;
  for (const std::string& name : names) row += (row.empty() ? "" : ",") + csv_field(name);
  EXPECT_EQ(csv_fields(row), names);
  EXPECT_THAT(csv_records(row), ElementsAre(row));
  EXPECT_THAT(csv_fields("1,2\",,\"3,\"\"4\"\"\""), ElementsAre("1", "2\"", "", "3,\"4\""));
}

}  // namespace
}  // namespace lamp
