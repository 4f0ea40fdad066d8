// What is written for programs, spreadsheets and people.
#include "lamp/evaluation/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/folder_contents.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

LabelMetrics metrics(std::int64_t common, std::int64_t n_pred, std::int64_t n_ref, double hd95) {
  return {.overlap = {.true_positive = common, .n_pred = n_pred, .n_ref = n_ref, .voxels = 100},
          .hd95_mm = hd95,
          .surface_dice_2mm = 0.5,
          .assd_mm = hd95 / 2,
          .volume_pred_mm3 = 2.0 * static_cast<double>(n_pred),
          .volume_ref_mm3 = 2.0 * static_cast<double>(n_ref)};
}

// Two cases and two labels; "beta" is missed in the second case and not annotated in the third.
EvaluationResult example() {
  const double infinity = std::numeric_limits<double>::infinity();
  LabelMetrics unknown = metrics(0, 7, 0, 1);
  unknown.annotated = false;
  EvaluationResult result;
  result.names = {{1, "alpha"}, {2, "be,ta"}};
  result.cases = {{"one",
                   "p/one.nii.gz",
                   "r/one.nii.gz",
                   100,
                   {{1, metrics(8, 10, 10, 2)}, {2, metrics(4, 4, 4, 1)}}},
                  {"two",
                   "p/two.nii.gz",
                   "r/two.nii.gz",
                   100,
                   {{1, metrics(10, 10, 10, 0)}, {2, metrics(0, 0, 4, infinity)}}},
                  {"three",
                   "p/three.nii.gz",
                   "r/three.nii.gz",
                   100,
                   {{1, metrics(9, 10, 10, 1)}, {2, unknown}}}};
  return result;
}

TEST(SummaryTest, HasNnunetsStructure) {
  const Json summary = summary_json(example());
  ASSERT_EQ(summary["metric_per_case"].size(), 3U);
  const Json& first = summary["metric_per_case"][0];
  EXPECT_EQ(first["prediction_file"], "p/one.nii.gz");
  EXPECT_EQ(first["reference_file"], "r/one.nii.gz");
  const Json& one = first["metrics"]["1"];
  EXPECT_DOUBLE_EQ(one["Dice"].get<double>(), 0.8);
  EXPECT_DOUBLE_EQ(one["IoU"].get<double>(), 8.0 / 12);
  for (const auto& [key, count] : std::map<std::string, int>{
           {"TP", 8}, {"FP", 2}, {"FN", 2}, {"TN", 88}, {"n_pred", 10}, {"n_ref", 10}}) {
    EXPECT_TRUE(one[key].is_number_integer()) << key;
    EXPECT_EQ(one[key], count) << key;
  }
  EXPECT_EQ(one["HD95"], 2.0);
  EXPECT_EQ(one["NSD_2mm"], 0.5);
  EXPECT_EQ(one["ASSD"], 1.0);
  EXPECT_EQ(one["volume_pred_mm3"], 20.0);
}

TEST(SummaryTest, MeansLeaveOutWhatIsUnknownAndKeepMissedStructuresInfinite) {
  const Json summary = summary_json(example());
  EXPECT_DOUBLE_EQ(summary["mean"]["1"]["Dice"].get<double>(), 0.9);
  const Json& beta = summary["mean"]["2"];
  EXPECT_DOUBLE_EQ(beta["Dice"].get<double>(), 0.5);
  EXPECT_TRUE(std::isinf(beta["HD95"].get<double>()));
  EXPECT_EQ(beta["n_cases"], 2);
  EXPECT_EQ(beta["n_missed"], 1);
  EXPECT_EQ(beta["n_extra"], 0);
  EXPECT_DOUBLE_EQ(summary["foreground_mean"]["Dice"].get<double>(), 0.7);
  EXPECT_EQ(summary["foreground_mean"]["n_missed"], 1);
  EXPECT_EQ(summary["median"]["1"]["HD95"], 1.0);
  const Json& unknown = summary["metric_per_case"][2]["metrics"]["2"];
  EXPECT_TRUE(std::isnan(unknown["n_pred"].get<double>()));
}

TEST(SummaryTest, KeysAreSortedAndUndefinedNumbersAreBare) {
  const Json summary = summary_json(example());
  std::vector<std::string> keys;
  for (const auto& item : summary["mean"]["1"].items()) keys.push_back(item.key());
  EXPECT_TRUE(std::is_sorted(keys.begin(), keys.end()));
  const std::string text = dump_json(summary);
  EXPECT_THAT(text, HasSubstr("\"HD95\": Infinity"));
  EXPECT_THAT(text, HasSubstr("\"Dice\": NaN"));
}

TEST(SummaryTest, FailedCasesAreListed) {
  EvaluationResult result = example();
  result.failures = {{"four", "missing prediction: ...", 3}};
  EXPECT_EQ(summary_json(result)["failed"][0]["case"], "four");
}

TEST(SummaryTest, TableOfNoCasesIsEmptyButWellFormed) {
  const Json summary = summary_json({});
  EXPECT_TRUE(summary["metric_per_case"].empty());
  EXPECT_TRUE(std::isnan(summary["foreground_mean"]["Dice"].get<double>()));
}

TEST(SummaryTest, CsvHasARowForEachCaseAndLabel) {
  const std::string csv = metrics_csv(example());
  EXPECT_EQ(std::count(csv.begin(), csv.end(), '\n'), 1 + 6);
  EXPECT_THAT(csv, HasSubstr("case,label,name,Dice,"));
  EXPECT_THAT(csv, HasSubstr("\none,1,alpha,0.8,"));
  EXPECT_THAT(csv, HasSubstr("\ntwo,2,\"be,ta\",0,0,Infinity,"));
  EXPECT_THAT(csv, HasSubstr("\nthree,2,\"be,ta\",NaN,NaN,NaN,"));
}

TEST(SummaryTest, TableShowsMeansAndCountsOfEachLabel) {
  const std::string table = dice_table(example());
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 4);
  EXPECT_THAT(table, HasSubstr("alpha     0.9000"));
  EXPECT_THAT(table, HasSubstr("be,ta     0.5000"));
  EXPECT_THAT(table, HasSubstr("inf"));
  EXPECT_THAT(table, HasSubstr("mean      0.7000"));
}

TEST(SummaryTest, WritesTheCsvBesideTheJson) {
  const testing::TemporaryFolder folder;
  write_summary(example(), folder / "sub/summary.json");
  EXPECT_THAT(read_file(folder / "sub/summary.json"), HasSubstr("metric_per_case"));
  EXPECT_EQ(read_file(folder / "sub/metrics.csv"), metrics_csv(example()));
}

TEST(SummaryTest, TheNameSaysAFileOrAFolder) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "v1.2");
  EXPECT_EQ(summary_path("", folder.path()), folder / "summary.json");
  EXPECT_EQ(summary_path("", folder / "sub/a.nii.gz"), folder / "sub/summary.json");
  EXPECT_EQ(summary_path(folder / "v1.2", ""), folder / "v1.2/summary.json");
  EXPECT_EQ(summary_path(folder / "new", ""), folder / "new/summary.json");
  EXPECT_EQ(summary_path(folder / "new.d/", ""), folder / "new.d/summary.json");
  EXPECT_EQ(summary_path("mine.json", ""), "mine.json");
  EXPECT_EQ(summary_path("mine.JSON", ""), "mine.JSON");
  for (const char* name : {"x.nii.gz", "x.nrrd", "x.csv", "x.txt", "x.json.gz", "x.svg"})
    EXPECT_THROW(summary_path(folder / name, ""), UsageError) << name;
}

TEST(SummaryTest, ItReplacesItselfAndNothingElse) {
  const testing::TemporaryFolder folder;
  write_summary(example(), folder / "summary.json");
  write_summary(example(), folder / "summary.json");
  write_file(folder / "metrics.csv", "stage,epoch,loss\n0,1,0.5\n");  // a run's
  const auto before = testing::contents_of(folder.path());
  EXPECT_THROW(write_summary(example(), folder / "summary.json"), UsageError);
  EXPECT_EQ(testing::contents_of(folder.path()), before);
}

TEST(SummaryTest, TwoSummariesOfAFolderHaveTablesOfTheirOwn) {
  const testing::TemporaryFolder folder;
  write_summary(example(), folder / "a.json");
  const auto before = testing::contents_of(folder.path());
  EXPECT_EQ(read_file(folder / "a_metrics.csv"), metrics_csv(example()));
  EvaluationResult other = example();
  other.cases.pop_back();
  write_summary(other, folder / "b.json");
  EXPECT_EQ(read_file(folder / "b_metrics.csv"), metrics_csv(other));
  other.cases.clear();
  write_summary(other, folder / "b.json");  // removes its own
  EXPECT_EQ(testing::contents_of(folder.path()), before);
}

TEST(SummaryTest, ASummaryOfNnunetIsNotReplaced) {
  const testing::TemporaryFolder folder;
  write_file(folder / "summary.json", R"({"foreground_mean": {"Dice": 0.9}})");
  EXPECT_THROW(write_summary(example(), folder / "summary.json"), UsageError);
  EXPECT_FALSE(std::filesystem::exists(folder / "metrics.csv"));
}

TEST(SummaryTest, WithoutAnyCaseAnOlderResultDoesNotStay) {
  const testing::TemporaryFolder folder;
  write_summary(example(), folder / "summary.json");
  EvaluationResult result;
  result.failures = {{"four", "missing prediction: ...", 3}};
  write_summary(result, folder / "summary.json");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// RFC 4180: fields with commas, quotes or line breaks stand in quotes, quotes within are doubled.
TEST(SummaryTest, NamesOfAnyKindStayOneField) {
  EvaluationResult result = example();
  result.names[2] = "a \"b\",\nc";
  EXPECT_THAT(metrics_csv(result), HasSubstr("\none,2,\"a \"\"b\"\",\nc\",1,"));
}

}  // namespace
}  // namespace lamp
