// Images and label maps by name: types, channels, labels that are not whole, formats by extension.
#include "lamp/formats/volume_io.h"

#include "lamp/base/files.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

class VolumeIoTest : public ::testing::Test {
 protected:
  std::filesystem::path written(const torch::Tensor& values, const std::string& name = "a.nii.gz") {
    const torch::Tensor voxels = values.dim() == 4 ? values : values.expand({1, 2, 2, 2});
    write_volume(folder_ / name,
                 {.geometry = {.size = {voxels.size(3), voxels.size(2), voxels.size(1)}},
                  .voxels = voxels.contiguous()});
    return folder_ / name;
  }
  testing::TemporaryFolder folder_;
};

TEST_F(VolumeIoTest, LabelsComeInTheSmallestTypeThatHoldsThem) {
  const auto type_of = [&](int value, torch::Dtype stored) {
    const Volume label = read_label(written(torch::tensor(value).to(stored)));
    EXPECT_EQ(label.voxels.index({0, 1, 1, 1}).item<int>(), value);
    EXPECT_EQ(label.voxels.dim(), 4);
    return label.voxels.scalar_type();
  };
  EXPECT_EQ(type_of(255, torch::kUInt8), torch::kUInt8);
  EXPECT_EQ(type_of(255, torch::kInt16), torch::kUInt8);
  EXPECT_EQ(type_of(7, torch::kFloat32), torch::kUInt8);
  EXPECT_EQ(type_of(256, torch::kInt32), torch::kInt16);
  EXPECT_EQ(type_of(-1, torch::kInt16), torch::kInt16);
  EXPECT_EQ(type_of(32768, torch::kInt32), torch::kInt32);
  EXPECT_EQ(type_of(-100000, torch::kFloat32), torch::kInt32);
}

TEST_F(VolumeIoTest, RefusesLabelsThatAreNotWhole) {
  torch::Tensor values = torch::ones({1, 3, 3, 3});
  values.index_put_({0, 2, 1, 0}, 1.5F);
  values.index_put_({0, 2, 2, 2}, 9e9F);
  const auto path = written(values);
  testing::expect_refused([&] { read_label(path); }, "label value 1.5 at voxel (0, 1, 2)");
  testing::expect_refused([&] { read_label(written(torch::tensor(NAN))); }, "nan");
  testing::expect_refused([&] { read_label(written(torch::tensor(3e9F))); }, "label value 3e+09");
}

TEST_F(VolumeIoTest, RefusesLabelsOfSeveralChannels) {
  const auto path = written(torch::zeros({2, 3, 3, 3}, torch::kUInt8));
  testing::expect_refused([&] { read_label(path); }, "2 channels");
  EXPECT_EQ(read_image(path).voxels.size(0), 2);
  EXPECT_EQ(read_volume_header(path).channels, 2);
}

TEST_F(VolumeIoTest, ImagesAreFloat32) {
  for (const auto type : {torch::kUInt8, torch::kInt16, torch::kInt32, torch::kFloat32})
    EXPECT_EQ(read_image(written(torch::tensor(3).to(type))).voxels.scalar_type(), torch::kFloat32);
}

TEST_F(VolumeIoTest, KnowsItsFilesByName) {
  write_file(folder_ / "a.NII.GZ", "x");
  write_file(folder_ / "a.txt", "x");
  EXPECT_TRUE(is_volume_file(folder_ / "a.NII.GZ"));
  EXPECT_FALSE(is_volume_file(folder_ / "a.txt"));
  EXPECT_FALSE(is_volume_file(folder_ / "missing.nii"));
  EXPECT_FALSE(is_volume_file(folder_.path()));
  std::string dicom(128, '\0');
  write_file(folder_ / "IM0001", dicom.append("DICM and more"));
  EXPECT_TRUE(is_volume_file(folder_.path()));
}

TEST_F(VolumeIoTest, NamesCasesAfterTheirFiles) {
  EXPECT_EQ(case_name("x/liver_1.nii.gz"), "liver_1");
  EXPECT_EQ(case_name("liver.v2.nrrd"), "liver.v2");
  EXPECT_EQ(case_name("a.MHA"), "a");
  EXPECT_EQ(case_name("/data/patient 3/"), "patient 3");
  EXPECT_EQ(case_name("/data/patient.3"), "patient.3");
}

TEST_F(VolumeIoTest, RefusesUnknownFormats) {
  EXPECT_THROW(written(torch::tensor(1.F), "a.png"), UsageError);
  EXPECT_THROW(written(torch::tensor(1.F), "a.mhd"), UsageError);
  write_file(folder_ / "a.png", "x");
  testing::expect_refused([&] { read_image(folder_ / "a.png"); }, "unknown format");
  testing::expect_refused([&] { read_volume_header(folder_ / "a.png"); }, "unknown format");
  testing::expect_refused([&] { read_volume_header(folder_ / "none.mha"); }, "");
}

TEST_F(VolumeIoTest, DistancesBetweenGridsAreInVoxels) {
  Random random{1};
  const Geometry a = testing::oblique_grid(random, {10, 20, 30});
  Geometry b = a;
  b.origin_mm = a.point({0, 0.25, 0});
  EXPECT_NEAR(corner_distance_voxels(a, b), 0.25, 1e-9);
  b = a;
  b.spacing_mm[2] *= 1.01;
  EXPECT_NEAR(corner_distance_voxels(a, b), 0.29, 1e-9);
  b.size[0] = 11;
  EXPECT_EQ(corner_distance_voxels(a, b), std::numeric_limits<double>::infinity());
  EXPECT_EQ((Geometry{.size = {64, 64, 40}, .spacing_mm = {1, 1, 2.5}}.describe()),
            "64x64x40 voxels of 1x1x2.5 mm");
  EXPECT_NEAR(a.voxel_volume_mm3(), a.spacing_mm[0] * a.spacing_mm[1] * a.spacing_mm[2], 1e-12);
}

}  // namespace
}  // namespace lamp
