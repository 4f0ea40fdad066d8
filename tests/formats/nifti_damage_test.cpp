// Damaged NIfTI files: each is refused, or reads voxel for voxel as before; none reads differently.
#include <chrono>
#include <cstring>

#include "formats/nifti_samples.h"
#include "lamp/formats/gzip.h"

namespace lamp {
namespace {

using testing::expect_image_refused;
using testing::expect_same_grid;

class NiftiDamageTest : public NiftiSamples {};

TEST_F(NiftiDamageTest, OneFlippedBitIsRefusedOrChangesNothing) {
  const Volume volume = sample();
  write_volume(folder_ / "a.nii.gz", volume);
  const std::string whole = read_file(folder_ / "a.nii.gz");
  const Volume before = read_image(folder_ / "a.nii.gz");
  int refused = 0;
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = whole;
    const auto bit = random_.below(static_cast<std::int64_t>(bytes.size()) * 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    try {
      const Volume after = read_image(file(bytes, "flipped.nii.gz"));
      EXPECT_TRUE(torch::equal(after.voxels, before.voxels)) << "bit " << bit;
      EXPECT_EQ(corner_distance_voxels(after.geometry, before.geometry), 0) << "bit " << bit;
    } catch (const InputError&) {
      ++refused;
    }
  }
  EXPECT_GE(refused, 990);  // 10 header bytes of some 10,000 (time, system) mean nothing
}

TEST_F(NiftiDamageTest, RefusesATruncatedFile) {
  const Volume volume = sample();
  for (const char* name : {"a.nii.gz", "a.nii"}) {
    write_volume(folder_ / name, volume);
    const std::string whole = read_file(folder_ / name);
    for (int round = 0; round < 500; ++round) {
      const auto length = random_.below(static_cast<std::int64_t>(whole.size()));
      const auto path = file(whole.substr(0, length), std::string("cut-") + name);
      EXPECT_THROW(read_image(path), InputError) << name << " cut to " << length;
    }
  }
}

TEST_F(NiftiDamageTest, RefusesBytesBehindTheVoxels) {
  write_volume(folder_ / "a.nii.gz", sample());
  expect_image_refused(file(read_file(folder_ / "a.nii.gz") + "x", "a.nii.gz"), "bytes behind");
  const std::string plain = bytes_of_file(sample());
  expect_image_refused(file(plain + std::string(4, 'x')), "behind its last voxel");
  expect_image_refused(file(plain + std::string(512, '\0')), "behind its last voxel");
  EXPECT_NO_THROW(read_image(file(plain + std::string(100, '\0'))));
  // gzip(1) takes zeros behind the last member for padding, of whatever length, and nothing else.
  const std::string packed = gzip(plain, 1);
  for (const std::size_t zeros : {1, 511, 512, 100000})
    EXPECT_NO_THROW(read_image(file(packed + std::string(zeros, '\0'), "b.nii.gz")));
  expect_image_refused(file(packed + std::string(511, '\0') + "x", "b.nii.gz"), "bytes behind");
  expect_image_refused(file(packed + std::string(8, '\0') + packed, "b.nii.gz"), "more bytes");
  expect_image_refused(file(gzip(plain + std::string(4, 'x'), 1), "b.nii.gz"), "behind its last");
  expect_image_refused(file(gzip(plain + std::string(4000, 'x'), 1), "b.nii.gz"), "more bytes");
}

TEST_F(NiftiDamageTest, RefusesAClaimOfATrillionVoxelsAtOnce) {
  std::string bytes = bytes_of_file(straight());
  for (int axis = 1; axis <= 3; ++axis)
    bytes = changed<std::int16_t>(bytes, kDim + 2 * axis, 10000);
  const auto start = std::chrono::steady_clock::now();
  expect_image_refused(file(bytes), "accounts for 2000000000352 bytes");
  expect_image_refused(file(gzip(bytes, 1), "huge.nii.gz"), "accounts for 2000000000352 bytes");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(200));
  EXPECT_THROW(read_volume_header(folder_ / "huge.nii.gz"), InputError);
}

TEST_F(NiftiDamageTest, RefusesSizesThatMakeNoSense) {
  expect_image_refused(with_field<std::int16_t>(kDim, 0), "dim[0] = 0");
  expect_image_refused(with_field<std::int16_t>(kDim, 9), "dim[0] = 9");
  expect_image_refused(with_field<std::int16_t>(kDim, 2), "expected a 3-D image");
  expect_image_refused(with_field<std::int16_t>(kDim + 2, -24), "dim[1] = -24");
  expect_image_refused(with_field<std::int16_t>(kDim + 4, 0), "dim[2] = 0");
  expect_image_refused(with_field<std::int16_t>(kDatatype, 16), "bitpix");
  expect_image_refused(with_field<std::int16_t>(kDatatype, 128), "RGB");
  expect_image_refused(with_field<std::int16_t>(kDatatype, 32), "complex");
  expect_image_refused(with_field<std::int16_t>(kDatatype, 5), "unknown datatype 5");
  expect_image_refused(with_field<std::int16_t>(kBitpix, 8), "bitpix is 8");
}

TEST_F(NiftiDamageTest, RefusesOneSlice) {
  Volume flat = straight();
  flat.voxels = flat.voxels.slice(1, 0, 1).contiguous();
  flat.geometry.size[2] = 1;
  write_volume(folder_ / "flat.nii.gz", flat);
  expect_image_refused(folder_ / "flat.nii.gz", "a 2-D image");
}

TEST_F(NiftiDamageTest, RefusesAVoxelOffsetThatCannotBe) {
  for (const float offset : {kNan, -1e9F, 0.F, 351.F, 352.5F, 1e30F})
    expect_image_refused(with_field(kVoxOffset, offset), "vox_offset");
  expect_image_refused(with_field(kVoxOffset, 368.F), "accounts for");
}

TEST_F(NiftiDamageTest, RefusesOtherFiles) {
  expect_image_refused(with_field(kMagic, 'x'), "magic");
  expect_image_refused(with_field(kMagic + 1, 'i'), "pair");
  expect_image_refused(file("hello"), "too short");
  expect_image_refused(file(std::string(1000, 'a')), "no NIfTI header");
  expect_image_refused(file("", "empty.nii.gz"), "too short");
  expect_image_refused(folder_ / "missing.nii.gz", "no such file");
  EXPECT_THROW(read_volume_header(folder_ / "missing.nii.gz"), InputError);
}

}  // namespace
}  // namespace lamp
