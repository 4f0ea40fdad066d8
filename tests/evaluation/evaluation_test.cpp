// Evaluation from files: pairing, what counts as missed or extra, and cases that fail.
#include "lamp/evaluation/evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "lamp/base/errors.h"
#include "support/label_folders.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::LabelFolders;

torch::Tensor without(std::int64_t label) {
  return LabelFolders::map().masked_fill(LabelFolders::map().eq(label), 0);
}

EvaluationResult evaluate(const LabelFolders& folders,
                          std::optional<std::filesystem::path> dataset = {}) {
  return evaluate_folders({folders.prediction, folders.reference, std::move(dataset)});
}

int exit_code_of(const EvaluationResult& result) {
  try {
    throw_if_failed(result);
    return kExitOk;
  } catch (const Error& error) {
    return error.exit_code();
  }
}

TEST(EvaluationTest, PerfectPredictionsScorePerfectly) {
  const LabelFolders folders;
  folders.add("a", LabelFolders::map(), LabelFolders::map());
  const EvaluationResult result = evaluate(folders);
  ASSERT_EQ(result.cases.size(), 1U);
  ASSERT_EQ(result.cases[0].labels.size(), 2U);
  for (const auto& [label, metrics] : result.cases[0].labels) {
    EXPECT_EQ(metrics.overlap.dice(), 1);
    EXPECT_EQ(metrics.overlap.iou(), 1);
    EXPECT_EQ(metrics.hd95_mm, 0);
    EXPECT_EQ(metrics.surface_dice_2mm, 1);
    EXPECT_EQ(metrics.assd_mm, 0);
  }
  EXPECT_DOUBLE_EQ(result.cases[0].labels.at(1).volume_ref_mm3, 64 * 0.5 * 1 * 3);
  EXPECT_EQ(exit_code_of(result), kExitOk);
}

TEST(EvaluationTest, DistancesFollowTheFilesAxes) {
  const LabelFolders folders;
  folders.add("x", LabelFolders::map().roll(2, 2), LabelFolders::map());
  folders.add("z", LabelFolders::map().roll(1, 0), LabelFolders::map());
  const EvaluationResult result = evaluate(folders);
  EXPECT_NEAR(result.cases[0].labels.at(1).hd95_mm, 2 * 0.5, 1e-6);
  EXPECT_NEAR(result.cases[1].labels.at(1).hd95_mm, 3, 1e-6);
}

TEST(EvaluationTest, MissedAndExtraStructuresAreInfinitelyFar) {
  const LabelFolders folders;
  folders.add("extra", LabelFolders::map(), without(2));
  folders.add("missed", without(2), LabelFolders::map());
  const EvaluationResult result = evaluate(folders);
  const LabelMetrics& extra = result.cases[0].labels.at(2);
  const LabelMetrics& missed = result.cases[1].labels.at(2);
  EXPECT_TRUE(extra.extra() && !extra.missed());
  EXPECT_TRUE(missed.missed() && !missed.extra());
  for (const LabelMetrics& metrics : {extra, missed}) {
    EXPECT_EQ(metrics.overlap.dice(), 0);
    EXPECT_TRUE(std::isinf(metrics.hd95_mm));
    EXPECT_TRUE(std::isinf(metrics.assd_mm));
    EXPECT_EQ(metrics.surface_dice_2mm, 0);
  }
}

TEST(EvaluationTest, LabelsOfOtherCasesAreUndefinedWhereNeitherMapHoldsThem) {
  const LabelFolders folders;
  folders.add("a", without(2), without(2));
  folders.add("b", LabelFolders::map(), LabelFolders::map());
  const LabelMetrics absent = evaluate(folders).cases[0].labels.at(2);
  EXPECT_TRUE(std::isnan(absent.overlap.dice()));
  EXPECT_TRUE(std::isnan(absent.hd95_mm));
  EXPECT_EQ(absent.overlap.true_negative(), 8 * 9 * 10);
}

TEST(EvaluationTest, UnannotatedClassesAreNeitherExtraNorMissed) {
  const LabelFolders folders;
  folders.add("partly", LabelFolders::map(), without(2));
  folders.add("whole", LabelFolders::map(), LabelFolders::map());
  const EvaluationResult result = evaluate(folders, folders.write_dataset());
  EXPECT_TRUE(result.cases[0].labels.at(1).annotated);
  EXPECT_FALSE(result.cases[0].labels.at(2).annotated);
  EXPECT_FALSE(result.cases[0].labels.at(2).extra());
  EXPECT_TRUE(result.cases[1].labels.at(2).annotated);
  EXPECT_EQ(result.names.at(2), "lesion, large");
}

TEST(EvaluationTest, FailedCasesAreNamedAndTheOthersGoOn) {
  const LabelFolders folders;
  folders.add("good", LabelFolders::map(), LabelFolders::map());
  folders.add("grid", LabelFolders::map(), LabelFolders::map());
  write_volume(folders.prediction / "grid.nii.gz", LabelFolders::volume(LabelFolders::map(), 0.6));
  write_volume(folders.reference / "lost.nii.gz", LabelFolders::volume(LabelFolders::map()));
  folders.add("torn", LabelFolders::map(), LabelFolders::map());
  write_file(folders.prediction / "torn.nii.gz", "not an image");
  const EvaluationResult result = evaluate(folders);
  ASSERT_EQ(result.cases.size(), 1U);
  EXPECT_EQ(result.cases[0].name, "good");
  ASSERT_EQ(result.failures.size(), 3U);
  EXPECT_THAT(result.failures[0].message, HasSubstr("another grid"));
  EXPECT_THAT(result.failures[1].message, HasSubstr("missing prediction"));
  EXPECT_THAT(result.failures[2].message, HasSubstr("torn.nii.gz"));
  EXPECT_EQ(exit_code_of(result), kExitSomeCasesFailed);
}

// Size and spacing of a mirrored map are those of its reference: the text tells the two apart.
TEST(EvaluationTest, AnotherGridIsToldByAxesPlaceAndDistance) {
  const LabelFolders folders;
  folders.add("flip", LabelFolders::map(), LabelFolders::map());
  folders.add("shift", LabelFolders::map(), LabelFolders::map());
  Volume flipped = LabelFolders::volume(LabelFolders::map());
  flipped.geometry.direction = {-1, 0, 0, 0, 1, 0, 0, 0, 1};
  write_volume(folders.prediction / "flip.nii.gz", flipped);
  Volume shifted = LabelFolders::volume(LabelFolders::map());
  shifted.geometry.origin_mm = {0, 0, 1.5};
  write_volume(folders.prediction / "shift.nii.gz", shifted);
  const EvaluationResult result = evaluate(folders);
  ASSERT_EQ(result.failures.size(), 2U);
  // 10 voxels of 0.5 mm: the far corner lies at +4.5 mm and at -4.5 mm.
  EXPECT_THAT(result.failures[0].message, HasSubstr("a corner 18.000 voxels (9.000 mm) away: its "
                                                    "axis x runs the other way (flipped)"));
  EXPECT_THAT(result.failures[1].message,
              HasSubstr("a corner 0.500 voxels (1.500 mm) away: its first voxel lies at 0, 0, 1.5 "
                        "mm instead of 0, 0, 0, 1.5 mm away"));
}

TEST(EvaluationTest, ASingleCaseOrAllCasesFailingIsInvalidInput) {
  LabelFolders folders;
  folders.add("a", LabelFolders::map(), LabelFolders::map().slice(0, 0, 7));
  EXPECT_EQ(exit_code_of(evaluate(folders)), kExitInput);
  folders.add("b", LabelFolders::map(), LabelFolders::map().slice(0, 0, 7));
  EXPECT_EQ(exit_code_of(evaluate(folders)), kExitInput);
}

TEST(EvaluationTest, UndeclaredLabelValuesAreAFailure) {
  const LabelFolders folders;
  folders.add("whole", LabelFolders::map() * 3, LabelFolders::map());
  const EvaluationResult result = evaluate(folders, folders.write_dataset());
  ASSERT_EQ(result.failures.size(), 1U);
  EXPECT_THAT(result.failures[0].message, HasSubstr("found the value 3"));
}

TEST(EvaluationTest, AnImageIsNoLabelMap) {
  const LabelFolders folders;
  folders.add("negative", LabelFolders::map().to(torch::kInt16) - 1000, LabelFolders::map());
  folders.add("values", LabelFolders::map(), torch::arange(2000, torch::kInt16).view({10, 10, 20}));
  const EvaluationResult result = evaluate(folders);
  ASSERT_EQ(result.failures.size(), 2U);
  for (const CaseFailure& failure : result.failures)
    EXPECT_THAT(failure.message, HasSubstr("is it an image?"));
}

TEST(EvaluationTest, HiddenFilesAndProbabilitiesAreNoPredictions) {
  const LabelFolders folders;
  folders.add("a", LabelFolders::map(), LabelFolders::map());
  for (const char* name : {"._a.nii.gz", "segment.json", "b.txt"}) {
    write_file(folders.prediction / name, "not a label map");
    write_file(folders.reference / name, "not a label map");
  }
  write_file(folders.prediction / "a_prob.nii.gz", "not a label map");
  const EvaluationResult result = evaluate(folders);
  EXPECT_EQ(result.cases.size(), 1U);
  EXPECT_TRUE(result.failures.empty());
}

TEST(EvaluationTest, TwoFilesMakeOneCaseWhateverTheirNames) {
  const LabelFolders folders;
  folders.add("a", LabelFolders::map(), LabelFolders::map());
  std::filesystem::rename(folders.prediction / "a.nii.gz", folders.prediction / "b.nii.gz");
  const EvaluationResult result = evaluate_folders(
      {folders.prediction / "b.nii.gz", folders.reference / "a.nii.gz", std::nullopt});
  EXPECT_EQ(result.cases.size(), 1U);
  EXPECT_THROW(evaluate_folders({folders.prediction, folders.reference / "a.nii.gz", {}}),
               UsageError);
}

TEST(EvaluationTest, MissingEmptyAndAmbiguousFoldersAreRefused) {
  const LabelFolders folders;
  EXPECT_THROW(evaluate(folders), InputError);
  EXPECT_THROW(evaluate_folders({folders.folder / "nowhere", folders.reference, {}}), InputError);
  folders.add("a", LabelFolders::map(), LabelFolders::map());
  write_volume(folders.prediction / "a.nii", LabelFolders::volume(LabelFolders::map()));
  EXPECT_THROW(evaluate(folders), InputError);
}

}  // namespace
}  // namespace lamp
