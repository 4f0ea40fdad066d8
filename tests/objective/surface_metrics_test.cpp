// Surface metrics against the numbers of DeepMind's surface-distance.
#include "lamp/objective/surface_metrics.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <string>

#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"
#include "lamp/objective/surface_areas.h"

namespace lamp {
namespace {

const std::string kFolder = LAMP_TEST_DATA;

SurfaceDistances measure(const torch::Tensor& predicted, const torch::Tensor& reference,
                         const std::array<double, 3>& spacing) {
  const auto counts = count_overlap(predicted, reference);
  const VoxelBox box = counts.contains(1) ? counts.at(1).box : VoxelBox{};
  return surface_distances(predicted, reference,
                           {.label = 1, .box = box, .spacing_dhw_mm = spacing});
}

void expect_equal(double found, double expected, const std::string& what) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(found)) << what << ": " << found;
  } else if (std::isinf(expected)) {
    EXPECT_EQ(found, expected) << what;
  } else {
    EXPECT_NEAR(found, expected, 1e-6 * std::abs(expected)) << what;
  }
}

// The reference file writes bare NaN and Infinity, which are not JSON.
double number(const Json& value) {
  if (value.is_number()) return value.get<double>();
  return value == "inf" ? std::numeric_limits<double>::infinity()
                        : std::numeric_limits<double>::quiet_NaN();
}

// Over the surface's area; NaN if there is none.
double mean_distance_mm(const SurfaceElements& elements) {
  double sum = 0;
  for (std::size_t i = 0; i < elements.distance_mm.size(); ++i)
    sum += elements.distance_mm[i] * elements.area_mm2[i];
  return sum / elements.total_area_mm2;
}

Json reference_numbers() {
  std::string text;
  std::ifstream in(kFolder + "/metrics.json");
  for (std::string line; std::getline(in, line);) {
    if (const auto at = line.find("Infinity"); at != std::string::npos)
      line.replace(at, 8, "\"inf\"");
    if (const auto at = line.find("NaN"); at != std::string::npos) line.replace(at, 3, "\"nan\"");
    text += line + "\n";
  }
  return parse_json(text, "metrics.json");
}

TEST(SurfaceMetricsTest, EqualsTheReferenceNumbers) {
  const auto masks = read_safetensors(kFolder + "/metrics.safetensors").tensors;
  const Json cases = reference_numbers();
  ASSERT_EQ(cases.size(), 6U);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Json& expected = cases[i];
    const std::string name = std::to_string(i);
    const auto& spacing = expected["spacing_mm"];
    const auto& predicted = masks.at("pred" + name);
    const auto& truth = masks.at("truth" + name);
    const SurfaceDistances distances =
        measure(predicted, truth, {spacing[0], spacing[1], spacing[2]});
    expect_equal(count_overlap(predicted, truth).at(1).dice(), number(expected["dice"]), "dice");
    expect_equal(robust_hausdorff_mm(distances, 95), number(expected["hd95"]), "hd95");
    expect_equal(robust_hausdorff_mm(distances, 100), number(expected["hd"]), "hd");
    expect_equal(surface_dice(distances, 1), number(expected["nsd_1mm"]), "nsd 1 mm");
    expect_equal(surface_dice(distances, 2), number(expected["nsd_2mm"]), "nsd 2 mm");
    expect_equal(mean_distance_mm(distances.from_reference), number(expected["assd"][0]), "to p");
    expect_equal(mean_distance_mm(distances.from_prediction), number(expected["assd"][1]), "to r");
  }
}

TEST(SurfaceMetricsTest, IsUndefinedIfBothAreMissing) {
  const torch::Tensor empty = torch::zeros({4, 4, 4}, torch::kUInt8);
  const SurfaceDistances distances = measure(empty, empty, {1, 1, 1});
  EXPECT_TRUE(std::isnan(robust_hausdorff_mm(distances, 95)));
  EXPECT_TRUE(std::isnan(surface_dice(distances, 2)));
  EXPECT_TRUE(std::isnan(average_symmetric_distance_mm(distances)));
}

TEST(SurfaceMetricsTest, AnExtraStructureIsInfinitelyFar) {
  torch::Tensor found = torch::zeros({4, 4, 4}, torch::kUInt8);
  found[1][1][1] = 1;
  const SurfaceDistances distances = measure(found, torch::zeros_like(found), {1, 1, 1});
  EXPECT_TRUE(std::isinf(robust_hausdorff_mm(distances, 95)));
  EXPECT_TRUE(std::isinf(average_symmetric_distance_mm(distances)));
  EXPECT_EQ(surface_dice(distances, 2), 0);
}

TEST(SurfaceMetricsTest, DoesNotChangeWhenAxesAreSwappedWithTheirSpacing) {
  torch::manual_seed(4);
  const torch::Tensor p = torch::rand({8, 10, 12}).lt(0.2).to(torch::kUInt8);
  const torch::Tensor r = torch::rand({8, 10, 12}).lt(0.2).to(torch::kUInt8);
  const auto straight = measure(p, r, {0.5, 1.5, 4});
  const auto turned = measure(p.permute({1, 2, 0}), r.permute({1, 2, 0}), {1.5, 4, 0.5});
  EXPECT_NEAR(robust_hausdorff_mm(straight, 95), robust_hausdorff_mm(turned, 95), 1e-9);
  EXPECT_NEAR(surface_dice(straight, 1), surface_dice(turned, 1), 1e-9);
  EXPECT_NEAR(average_symmetric_distance_mm(straight), average_symmetric_distance_mm(turned), 1e-9);
}

TEST(SurfaceMetricsTest, DoesNotChangeWhenTheVolumeGrows) {
  torch::manual_seed(5);
  const torch::Tensor p = torch::rand({6, 6, 6}).lt(0.3).to(torch::kUInt8);
  const torch::Tensor r = torch::rand({6, 6, 6}).lt(0.3).to(torch::kUInt8);
  const auto grown = [](const torch::Tensor& map) {
    return torch::constant_pad_nd(map, {3, 9, 2, 2, 1, 0});
  };
  EXPECT_DOUBLE_EQ(average_symmetric_distance_mm(measure(p, r, {1, 1, 2})),
                   average_symmetric_distance_mm(measure(grown(p), grown(r), {1, 1, 2})));
}

TEST(SurfaceAreasTest, AFaceHasTheAreaOfItsVoxels) {
  const auto areas = surface_areas({3, 2, 1});
  EXPECT_DOUBLE_EQ(areas[0b00001111], 2 * 1);  // cut across D
  EXPECT_DOUBLE_EQ(areas[0b00110011], 3 * 1);  // across H
  EXPECT_DOUBLE_EQ(areas[0b01010101], 3 * 2);  // across W
}

TEST(SurfaceAreasTest, ACodeAndItsComplementAgree) {
  const auto areas = surface_areas({1.3, 0.4, 2});
  EXPECT_EQ(areas[0], 0);
  for (int code = 0; code < 256; ++code) EXPECT_NEAR(areas[code], areas[255 - code], 1e-12) << code;
}

}  // namespace
}  // namespace lamp
