// NIfTI files: what is written comes back, and a contradictory header is never believed.
#include "lamp/formats/nifti.h"

#include <chrono>
#include <cstring>
#include <limits>

#include "formats/nifti_samples.h"
#include "lamp/base/files.h"
#include "lamp/base/size3.h"
#include "lamp/formats/gzip.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using testing::expect_image_refused;
using testing::expect_same_grid;

class NiftiTest : public NiftiSamples {};

TEST_F(NiftiTest, EveryTypeAndObliqueGridComesBack) {
  for (const auto type : {torch::kUInt8, torch::kInt16, torch::kInt32, torch::kFloat32}) {
    for (const char* name : {"a.nii", "a.nii.gz"}) {
      for (int round = 0; round < 20; ++round) {
        const Geometry grid = testing::oblique_grid(random_, {5, 4, 3});
        const torch::Tensor voxels = testing::random_voxels(random_, grid, type, 1 + round % 2);
        write_volume(folder_ / name, {.geometry = grid, .voxels = voxels});
        const Volume back = read_image(folder_ / name);
        expect_same_grid(grid, back.geometry, 1e-6);
        EXPECT_TRUE(torch::equal(back.voxels, voxels.to(torch::kFloat32)));
        EXPECT_EQ(read_volume_header(folder_ / name).channels, 1 + round % 2);
        expect_same_grid(grid, read_volume_header(folder_ / name).geometry, 1e-6);
      }
    }
  }
}

TEST_F(NiftiTest, ReadsSeveralGzipMembersAsOneFile) {
  const Volume volume = sample();
  const std::string plain = bytes_of_file(volume);
  const auto path =
      file(gzip(plain.substr(0, 5000), 1) + gzip(plain.substr(5000), 6), "members.nii.gz");
  EXPECT_TRUE(torch::equal(read_image(path).voxels, volume.voxels.to(torch::kFloat32)));
  // The first ones may end within the header, and be empty.
  for (const std::size_t first : {0, 1, 4, 347, 348, 351, 352, 353}) {
    const auto short_member =
        file(gzip(plain.substr(0, first), 1) + gzip("", 1) + gzip(plain.substr(first, 10), 1) +
                 gzip(plain.substr(first + 10), 6),
             "short.nii.gz");
    EXPECT_TRUE(torch::equal(read_image(short_member).voxels, volume.voxels.to(torch::kFloat32)));
    expect_same_grid(read_volume_header(short_member).geometry, read_image(path).geometry, 0);
  }
}

// gzip's padding to whole blocks; Python's gzip reads on behind it, and so every reader over it.
TEST_F(NiftiTest, ZerosBetweenGzipMembersArePadding) {
  const Volume volume = sample();
  const std::string plain = bytes_of_file(volume);
  for (const std::size_t first : {100, 348, 5000}) {
    const auto path = file(gzip(plain.substr(0, first), 1) + std::string(512, '\0') +
                               gzip(plain.substr(first), 6) + std::string(3, '\0'),
                           "padded.nii.gz");
    EXPECT_TRUE(torch::equal(read_image(path).voxels, volume.voxels.to(torch::kFloat32)));
    EXPECT_EQ(read_volume_header(path).geometry.size, volume.geometry.size);
  }
}

TEST_F(NiftiTest, SkipsHeaderExtensionsAndRefusesVoxelsWithinOne) {
  const Volume volume = straight();
  std::string bytes = bytes_of_file(volume);
  bytes[348] = 1;
  bytes.insert(352, std::string("\x20\0\0\0\x06\0\0\0", 8) + std::string(24, 'x'));
  EXPECT_TRUE(torch::equal(read_image(file(changed(bytes, kVoxOffset, 384.F))).voxels,
                           volume.voxels.to(torch::kFloat32)));
  expect_image_refused(file(changed(bytes, kVoxOffset, 368.F)), "extension");
}

TEST_F(NiftiTest, AppliesTheScaling) {
  const Volume volume = straight();
  std::string bytes = changed(bytes_of_file(volume), kSlope, 0.5F);
  bytes = changed(bytes, kSlope + 4, -3.F);
  EXPECT_TRUE(
      torch::equal(read_image(file(bytes)).voxels, volume.voxels.to(torch::kFloat32) * 0.5 - 3));
  EXPECT_TRUE(torch::equal(read_image(file(changed(bytes, kSlope, 0.F))).voxels,
                           volume.voxels.to(torch::kFloat32)));
}

// A hand-made file as nibabel would save np.arange(24).reshape(2, 3, 4) with the affine of 2, 3, 4
// mm along R, A, S from (10, 20, 30) on: x varies fastest, and LPS turns the signs of x and y.
TEST_F(NiftiTest, ReadsTheWorldAsNibabelDoes) {
  std::string bytes(352, '\0');
  const std::int16_t dim[8] = {3, 2, 3, 4, 1, 1, 1, 1};
  const float pixdim[8] = {1, 2, 3, 4, 1, 1, 1, 1};
  const float srow[12] = {2, 0, 0, 10, 0, 3, 0, 20, 0, 0, 4, 30};
  bytes = changed<std::int32_t>(bytes, 0, 348);
  std::memcpy(bytes.data() + kDim, dim, sizeof dim);
  std::memcpy(bytes.data() + kPixdim, pixdim, sizeof pixdim);
  std::memcpy(bytes.data() + kSrow, srow, sizeof srow);
  bytes = changed<std::int16_t>(bytes, kDatatype, 4);
  bytes = changed<std::int16_t>(bytes, kBitpix, 16);
  bytes = changed(bytes, kVoxOffset, 352.F);
  bytes = changed<std::int16_t>(bytes, kSformCode, 2);
  std::memcpy(bytes.data() + kMagic, "n+1", 4);
  for (int z = 0; z < 4; ++z)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 2; ++x) bytes += {static_cast<char>(x * 12 + y * 4 + z), '\0'};
  const Volume volume = read_image(file(bytes));
  EXPECT_EQ(volume.geometry.size, (Size3{2, 3, 4}));
  EXPECT_EQ(volume.geometry.spacing_mm, (std::array<double, 3>{2, 3, 4}));
  EXPECT_EQ(volume.geometry.point({0, 0, 0}), (std::array<double, 3>{-10, -20, 30}));
  EXPECT_EQ(volume.geometry.point({1, 1, 1}), (std::array<double, 3>{-12, -23, 34}));
  EXPECT_EQ(volume.voxels.index({0, 3, 2, 1}).item<float>(), 12 + 8 + 3);
  EXPECT_EQ(volume.voxels.index({0, 1, 0, 1}).item<float>(), 12 + 1);
}

std::string swapped(std::string bytes) {
  const auto turn = [&](std::size_t begin, std::size_t end, std::size_t width) {
    for (std::size_t at = begin; at < end; at += width)
      std::reverse(bytes.begin() + at, bytes.begin() + at + width);
  };
  turn(0, 4, 4);
  turn(kDim, kDim + 16, 2);
  turn(56, 68, 4);
  turn(68, 76, 2);
  turn(kPixdim, 120, 4);
  turn(kQformCode, kQuatern, 2);
  turn(kQuatern, 328, 4);
  turn(352, bytes.size(), 2);
  return bytes;
}

TEST_F(NiftiTest, ReadsBigEndianFiles) {
  const Volume volume = sample();
  const std::string bytes = bytes_of_file(volume);
  const Volume back = read_image(file(swapped(bytes)));
  EXPECT_TRUE(torch::equal(back.voxels, volume.voxels.to(torch::kFloat32)));
  expect_same_grid(volume.geometry, back.geometry, 1e-6);
}

TEST_F(NiftiTest, ReadsNifti2) {
  const Volume volume = sample();
  const std::string two = as_nifti2(bytes_of_file(volume));
  const Volume back = read_image(file(two));
  EXPECT_TRUE(torch::equal(back.voxels, volume.voxels.to(torch::kFloat32)));
  expect_same_grid(volume.geometry, back.geometry, 1e-6);
  expect_image_refused(file(two.substr(0, 400)), "cut short");
}

TEST_F(NiftiTest, RefusesAnAffineThatIsNoPlaceInSpace) {
  expect_image_refused(with_field(kSrow, kNan), "NaN");
  expect_image_refused(with_field(kSrow + 12, kNan), "NaN");
  expect_image_refused(with_field(kSrow + 16, std::numeric_limits<float>::infinity()), "NaN");
  std::string bytes = bytes_of_file(straight());
  std::memcpy(bytes.data() + kSrow + 16, bytes.data() + kSrow, 16);  // two equal rows
  expect_image_refused(file(changed<std::int16_t>(bytes, kQformCode, 0)), "singular");
  std::memset(bytes.data() + kSrow, 0, 48);
  expect_image_refused(file(bytes), "singular");
  expect_image_refused(with_field(kPixdim + 4, 0.F), "pixdim[1]");
  expect_image_refused(with_field(kPixdim + 8, -1.F), "pixdim[2]");
  expect_image_refused(with_field(kPixdim + 12, kNan), "pixdim[3]");
  bytes = changed<std::int16_t>(bytes_of_file(straight()), kSformCode, 0);
  expect_image_refused(file(changed(bytes, kQuatern, 2.F)), "no rotation");
  expect_image_refused(file(changed(bytes, kQuatern, kNan)), "no rotation");
}

TEST_F(NiftiTest, FormsOfOneCodeThatDisagreeAreRefused) {
  const Volume volume = straight();
  const std::string bytes = bytes_of_file(volume);
  const auto x = static_cast<float>(-volume.geometry.origin_mm[0]);
  const auto step = static_cast<float>(volume.geometry.spacing_mm[0]);
  expect_image_refused(file(changed(bytes, kQoffset, x + step)), "1.00 voxels apart");
  EXPECT_NO_THROW(read_image(file(changed(bytes, kQoffset, x + step * 0.05F))));
  EXPECT_NO_THROW(
      read_image(file(changed<std::int16_t>(changed(bytes, kQoffset, x + step), kQformCode, 0))));
}

TEST_F(NiftiTest, OfFormsOfDifferentCodesTheSformCounts) {
  const Volume volume = straight();
  std::string bytes = changed(bytes_of_file(volume), kQoffset, 1000.F);
  bytes = changed<std::int16_t>(bytes, kQformCode, 2);
  expect_same_grid(volume.geometry, read_image(file(bytes)).geometry, 1e-6);
  bytes = changed<std::int16_t>(bytes, kSformCode, 0);
  EXPECT_NEAR(read_image(file(bytes)).geometry.origin_mm[0], -1000, 1e-3);
}

TEST_F(NiftiTest, TheQformAloneSaysTheSame) {
  for (int round = 0; round < 50; ++round) {
    const Volume volume = sample();
    const std::string bytes = changed<std::int16_t>(bytes_of_file(volume), kSformCode, 0);
    expect_same_grid(volume.geometry, read_image(file(bytes)).geometry, 1e-5);
  }
}

TEST_F(NiftiTest, ATurnByNearly180DegreesStaysReadable) {
  for (const double angle : {0.0, 1e-4, 3e-4, 5e-4, 1e-3, 1e-2}) {
    Volume volume = straight();
    volume.geometry.direction = {
        std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0, 0, 0, 1};
    write_volume(folder_ / "a.nii", volume);
    expect_same_grid(volume.geometry, read_image(folder_ / "a.nii").geometry, 1e-6);
  }
}

TEST_F(NiftiTest, WithoutCodesTheAxesAreRightAnteriorSuperior) {
  const Volume volume = straight();
  std::string bytes = changed<std::int16_t>(bytes_of_file(volume), kSformCode, 0);
  const Geometry grid = read_image(file(changed<std::int16_t>(bytes, kQformCode, 0))).geometry;
  EXPECT_EQ(grid.direction, (std::array<double, 9>{-1, 0, 0, 0, -1, 0, 0, 0, 1}));
  EXPECT_EQ(grid.origin_mm[2], 0);
  EXPECT_NEAR(grid.spacing_mm[1], volume.geometry.spacing_mm[1], 1e-6);
}

TEST_F(NiftiTest, ConvertsMetresAndMicrons) {
  const Volume volume = straight();
  const std::string bytes = bytes_of_file(volume);
  for (const auto& [unit, mm] : {std::pair{1, 1000.0}, std::pair{3, 0.001}, std::pair{0, 1.0}}) {
    const Geometry grid =
        read_image(file(changed(bytes, kUnits, static_cast<char>(unit)))).geometry;
    for (int a = 0; a < 3; ++a) {
      EXPECT_NEAR(grid.spacing_mm[a] / mm / volume.geometry.spacing_mm[a], 1, 1e-6);
      EXPECT_NEAR(grid.origin_mm[a] / mm / volume.geometry.origin_mm[a], 1, 1e-6);
    }
  }
}

TEST_F(NiftiTest, ShearIsRefusedUnlessAllowed) {
  Volume volume = straight();
  volume.geometry.direction[2] = std::sin(0.2);  // z leans towards x
  volume.geometry.direction[8] = std::cos(0.2);
  write_volume(folder_ / "sheared.nii.gz", volume);
  expect_image_refused(folder_ / "sheared.nii.gz", "sheared");
  const Volume back = read_image(folder_ / "sheared.nii.gz", {.allow_shear = true});
  expect_same_grid(volume.geometry, back.geometry, 1e-6);
}

TEST_F(NiftiTest, ARoundedDirectionIsMadeOrthonormal) {
  Volume volume = straight();
  volume.geometry.direction[2] = 2e-4;
  write_volume(folder_ / "rounded.nii.gz", volume);
  const Geometry grid = read_image(folder_ / "rounded.nii.gz").geometry;
  EXPECT_NEAR(grid.direction[2], 1e-4, 1e-6);  // polar: both axes give way by half
  EXPECT_NEAR(grid.direction[6], -1e-4, 1e-6);
  for (int a = 0; a < 3; ++a) {
    double dot = 0;
    for (int r = 0; r < 3; ++r)
      dot += grid.direction[3 * r + a] * grid.direction[3 * r + (a + 1) % 3];
    EXPECT_NEAR(dot, 0, 1e-14);
  }
}

TEST_F(NiftiTest, NamesTheFirstOfTheNanVoxels) {
  Volume volume = straight();
  volume.voxels = volume.voxels.to(torch::kFloat32);
  volume.voxels.index_put_({0, 5, 6, 7}, kNan);
  volume.voxels.index_put_({0, 9, 0, 0}, std::numeric_limits<float>::infinity());
  write_volume(folder_ / "nan.nii.gz", volume);
  expect_image_refused(folder_ / "nan.nii.gz",
                       "2 NaN or infinite values, the first at voxel (7, 6, 5)");
  EXPECT_NO_THROW(read_image(folder_ / "nan.nii.gz", {.refuse_nan = false}));
}

TEST_F(NiftiTest, OrientationFieldsGoBackBitForBit) {
  std::string bytes = bytes_of_file(sample());
  // Fields that this program would never write itself.
  bytes = changed<std::int16_t>(bytes, kQformCode, 2);
  bytes = changed<std::int16_t>(bytes, kSformCode, 4);
  bytes = changed(bytes, kQoffset, 1.25F);
  bytes = changed(bytes, kSrow, *reinterpret_cast<const float*>(bytes.data() + kSrow) + 1e-6F);
  bytes = changed(bytes, kUnits, '\x0a');
  Volume volume = read_image(file(bytes));
  volume.voxels = torch::zeros_like(volume.voxels, torch::kUInt8);
  write_volume(folder_ / "again.nii", volume);
  const std::string again = read_file(folder_ / "again.nii");
  EXPECT_EQ(again.substr(kPixdim, 32), bytes.substr(kPixdim, 32));
  EXPECT_EQ(again[kUnits], bytes[kUnits]);
  EXPECT_EQ(again.substr(kQformCode, 76), bytes.substr(kQformCode, 76));
}

// Their lower half is 0, which would say that there is no form.
TEST_F(NiftiTest, CodesOfNifti2ThatNifti1CannotHoldStayAboveZero) {
  const Volume first = sample();
  std::string two = as_nifti2(bytes_of_file(first));
  two = changed<std::int32_t>(two, 344, 0);
  two = changed<std::int32_t>(two, 348, 65536);
  const Volume volume = read_image(file(two));
  expect_same_grid(first.geometry, volume.geometry, 1e-6);
  write_volume(folder_ / "again.nii", volume);
  expect_same_grid(first.geometry, read_image(folder_ / "again.nii").geometry, 1e-6);
}

TEST_F(NiftiTest, OrientationFieldsOfAnotherGridAreNotWritten) {
  Volume volume = read_image(file(bytes_of_file(sample())));
  volume.geometry.origin_mm[1] += 10;
  write_volume(folder_ / "moved.nii.gz", volume);
  expect_same_grid(volume.geometry, read_image(folder_ / "moved.nii.gz").geometry, 1e-6);
}

TEST_F(NiftiTest, LeavesNothingBehindWhereItCannotWrite) {
  write_file(folder_ / "file", "not a folder");
  EXPECT_THROW(write_volume(folder_ / "file" / "a.nii.gz", sample()), Error);
  EXPECT_THROW(write_volume(folder_ / "no" / "folder" / "a.nii.gz", sample()), Error);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_.path()), {}), 1);
}

}  // namespace
}  // namespace lamp
