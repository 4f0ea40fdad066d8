// The raw PDDCA release: NRRD files whose headers say where their voxels lie.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "convert/prepare_samples.h"
#include "lamp/base/log.h"
#include "lamp/convert/prepare.h"
#include "lamp/dataset/case_volumes.h"
#include "lamp/dataset/dataset_check.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {
namespace fs = std::filesystem;

using ::testing::HasSubstr;
using testing::head_image;
using testing::organ_mask;

class PreparePddcaTest : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }

  void write_case(const std::string& name, const std::vector<int>& ids) {
    const fs::path folder = folder_ / "PDDCA-1.4.1_part1" / name;
    fs::create_directories(folder / "structures");
    write_volume(folder / "img.nrrd", {grid_, head_image(5).unsqueeze(0)});
    for (const int id : ids)
      write_volume(structure(name, id), {grid_, organ_mask(id).unsqueeze(0)});
  }
  fs::path structure(const std::string& name, int id) const {
    return folder_ / "PDDCA-1.4.1_part1" / name / "structures" /
           (testing::organs()[static_cast<std::size_t>(id) - 1] + ".nrrd");
  }
  PrepareOptions options() const {
    return {.from = "pddca", .source = folder_ / "PDDCA-1.4.1_part1", .folder = folder_ / "out"};
  }

  testing::TemporaryFolder temporary_;
  const fs::path folder_ = temporary_.path();
  // Oblique, so that nothing passes by being the identity.
  Random random_{11};
  const Geometry grid_ = testing::oblique_grid(random_, {11, 10, 9});
};

TEST_F(PreparePddcaTest, GeometryVoxelsAndLabelsComeFromTheFiles) {
  write_case("0522c0001", {1, 5});
  write_case("0522c0746", {1, 2, 3, 4, 5, 6, 7, 8, 9});
  EXPECT_TRUE(prepare_dataset(options()).faults.empty());
  const Dataset dataset = read_dataset(folder_ / "out");
  ASSERT_EQ(dataset.training.size(), 1U);
  ASSERT_EQ(dataset.test.size(), 1U);
  EXPECT_EQ(dataset.test[0].name, "0522c0746");
  const Volume image = read_case_image(dataset.training[0]);
  testing::expect_same_grid(image.geometry, grid_, 1e-5);
  EXPECT_LT(corner_distance_voxels(image.geometry, grid_), kSameGridVoxels);
  EXPECT_TRUE(torch::equal(image.voxels[0], head_image(5).to(torch::kFloat32)));
  const Volume label = read_case_label(dataset.training[0], dataset);
  EXPECT_TRUE(torch::equal(label.voxels[0], organ_mask(1) + organ_mask(5) * 5));
  EXPECT_EQ(*dataset.training[0].annotated, (std::vector{1, 5}));
  EXPECT_TRUE(check_dataset(folder_ / "out").ok());
}

TEST_F(PreparePddcaTest, AStructureOnAnotherGridIsAFaultThatNamesItsFile) {
  write_case("good", {1});
  write_case("moved", {1, 2});
  write_case("larger", {1, 2});
  write_case("nudged", {1, 2});
  Geometry moved = grid_;
  moved.origin_mm[0] +=
      0.02 * grid_.spacing_mm[0] + 0.02 * grid_.spacing_mm[1] + 0.02 * grid_.spacing_mm[2];
  write_volume(structure("moved", 2), {moved, organ_mask(2).unsqueeze(0)});
  Geometry larger = grid_;
  larger.size = {12, 10, 9};
  write_volume(structure("larger", 2), {larger, torch::ones({1, 9, 10, 12}, torch::kUInt8)});
  Geometry nudged = grid_;
  nudged.origin_mm[1] +=
      0.001 * std::min({grid_.spacing_mm[0], grid_.spacing_mm[1], grid_.spacing_mm[2]});
  write_volume(structure("nudged", 2), {nudged, organ_mask(2).unsqueeze(0)});
  const PrepareReport report = prepare_dataset(options());
  ASSERT_EQ(report.faults.size(), 2U);
  EXPECT_EQ(report.faults[0].file, structure("larger", 2).string());
  EXPECT_THAT(report.faults[0].found, HasSubstr("12x10x9 voxels"));
  EXPECT_THAT(report.faults[0].expected, HasSubstr("11x10x9 voxels"));
  EXPECT_EQ(report.faults[1].file, structure("moved", 2).string());
  EXPECT_THAT(report.faults[1].found, HasSubstr("mm) away"));
  EXPECT_EQ(read_dataset(folder_ / "out").training.size(), 2U);
}

}  // namespace
}  // namespace lamp
