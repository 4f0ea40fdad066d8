// One foreign case among ordinary ones is told of, and no other; ordinary variation is not.
#include "lamp/cases/case_outliers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

#include "lamp/phantoms/phantom.h"

namespace lamp {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Change = std::function<torch::Tensor(const torch::Tensor&)>;

torch::Tensor scan(const std::string& kind, int index) {
  return draw_phantom({.kind = kind, .size = {64, 64, 48}, .seed = 3}, true, index)
      .image.voxels.to(torch::kFloat32);
}

std::vector<OutlierCase> ordinary(const std::string& kind, int count = 5) {
  std::vector<OutlierCase> cases;
  for (int i = 0; i < count; ++i)
    cases.push_back({"case" + std::to_string(i), count_intensities(scan(kind, i), {})});
  return cases;
}

constexpr const char* kScanKinds[] = {"han", "liver", "twins"};

const std::vector<Change>& foreign() {
  static const std::vector<Change> all = {
      [](const torch::Tensor& image) { return image + 1024; },
      [](const torch::Tensor& image) { return image * 0.1; },
      [](const torch::Tensor& image) { return image.max() + image.min() - image; },
      [](const torch::Tensor& image) { return torch::full_like(image, 40); }};
  return all;
}

TEST(CaseOutliersTest, OneForeignCaseIsToldOfAndNoOther) {
  for (const std::string kind : kScanKinds) {
    const std::vector<OutlierCase> cases = ordinary(kind);
    for (std::size_t change = 0; change < foreign().size(); ++change) {
      for (const int place : {0, 3}) {
        std::vector<OutlierCase> changed = cases;
        changed[static_cast<std::size_t>(place)].values =
            count_intensities(foreign()[change](scan(kind, place)), {});
        EXPECT_THAT(outlier_warnings(changed),
                    ElementsAre(StartsWith("case" + std::to_string(place) +
                                           ": values unlike those of the other training cases: ")))
            << kind << ", change " << change;
      }
    }
  }
}

TEST(CaseOutliersTest, OrdinaryVariationIsNotToldOf) {
  const std::vector<Change> changes = {
      [](const torch::Tensor& image) { return image; },
      [](const torch::Tensor& image) { return image * 1.2; },
      [](const torch::Tensor& image) { return image * 0.8; },
      [](const torch::Tensor& image) { return image + torch::randn_like(image) * 20; },
      [](const torch::Tensor& image) { return image.narrow(1, 10, 28).narrow(3, 8, 48); }};
  for (const std::string kind : kScanKinds) {
    const std::vector<OutlierCase> cases = ordinary(kind);
    for (std::size_t change = 0; change < changes.size(); ++change) {
      torch::manual_seed(1);
      std::vector<OutlierCase> changed = cases;
      changed[2].values = count_intensities(changes[change](scan(kind, 2)).contiguous(), {});
      EXPECT_THAT(outlier_warnings(changed), IsEmpty()) << kind << ", change " << change;
    }
  }
}

TEST(CaseOutliersTest, TwoForeignCasesDoNotHideEachOther) {
  std::vector<OutlierCase> cases = ordinary("han", 6);
  for (const std::size_t place : {std::size_t{1}, std::size_t{4}})
    cases[place].values = count_intensities(scan("han", static_cast<int>(place)) * 0.1, {});
  EXPECT_THAT(outlier_warnings(cases),
              ElementsAre(StartsWith("case1: values unlike"), StartsWith("case4: values unlike")));
}

TEST(CaseOutliersTest, ATestCaseIsComparedButNotComparedWith) {
  std::vector<OutlierCase> cases = ordinary("han");
  cases[4].training = false;
  EXPECT_THAT(outlier_warnings(cases), IsEmpty());
  cases[4].values = count_intensities(scan("han", 4) * 0.1, {});
  EXPECT_THAT(outlier_warnings(cases),
              ElementsAre(StartsWith("case4: values unlike those of the training cases: ")));
  cases[3].training = false;
  EXPECT_THAT(outlier_warnings(cases), IsEmpty()) << "three are too few";
}

TEST(CaseOutliersTest, UnreadableCasesAreLeftOut) {
  EXPECT_THAT(outlier_warnings({}), IsEmpty());
  std::vector<OutlierCase> cases = ordinary("han");
  cases[0].values.clear();
  EXPECT_THAT(outlier_warnings(cases), IsEmpty());
}

TEST(CaseOutliersTest, ACheckComparesWhatItReads) {
  CheckReport report;
  CaseComparison comparison;
  const ImageObserver observer = comparison.observer();
  for (int i = 0; i < 5; ++i) {
    CaseFacts facts;
    facts.name = "case" + std::to_string(i);
    facts.split = "training";
    report.cases.push_back(facts);
    const torch::Tensor image = scan("han", i);
    observer(static_cast<std::size_t>(i), i == 2 ? image + 1024 : image);
  }
  comparison.note(report);
  EXPECT_THAT(report.notes, ElementsAre(StartsWith("warning: case2: values unlike those of the ")));
  EXPECT_TRUE(report.ok());
}

}  // namespace
}  // namespace lamp
