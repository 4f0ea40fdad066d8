// A volume knows who wrote it, and a correction breaks the seal, in every format that is written.
#include "lamp/formats/volume_mark.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <array>
#include <cstdio>

#include "lamp/base/files.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/volume_io.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

namespace fs = std::filesystem;
using ::testing::StartsWith;

constexpr std::size_t kDigits = 32;
const OwnTest kIsOwn = own_volume("lamp segment");

Volume labels() {
  torch::manual_seed(1);
  Volume volume;
  volume.geometry.size = {9, 8, 7};
  volume.geometry.spacing_mm = {0.5, 1, 2.5};
  volume.voxels = torch::randint(0, 4, {1, 7, 8, 9}, torch::kUInt8);
  return volume;
}

std::string unpacked(const std::string& packed) {
  std::string bytes(1 << 20, '\0');
  bytes.resize(
      decompress({.bytes = packed, .out = bytes.data(), .capacity = bytes.size()}, "test"));
  return bytes;
}

class VolumeMarkTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { write_volume(file_, labels(), "lamp segment"); }

  // The file's bytes, without gzip around them.
  std::string content() const {
    const std::string bytes = read_file(file_);
    return is_gzip(bytes) ? unpacked(bytes) : bytes;
  }
  void replace(const std::string& bytes) const {
    write_file(file_, file_.extension() == ".gz" ? gzip(bytes, 6) : bytes);
  }

  testing::TemporaryFolder folder_;
  fs::path file_ = folder_ / (std::string("a.") + GetParam());
};

TEST_P(VolumeMarkTest, OnlyItsWriterKnowsItAsItsOwn) {
  EXPECT_TRUE(kIsOwn(file_));
  EXPECT_FALSE(own_volume("lamp synth")(file_));
  write_volume(file_, labels());
  EXPECT_FALSE(kIsOwn(file_));
}

TEST_P(VolumeMarkTest, GridAndVoxelsAreThoseOfAnUnmarkedFile) {
  const Volume read = read_label(file_);
  EXPECT_TRUE(read.voxels.equal(labels().voxels));
  EXPECT_LT(corner_distance_voxels(read.geometry, labels().geometry), 1e-6);
}

TEST_P(VolumeMarkTest, EqualVolumesGiveEqualFiles) {
  const std::string first = read_file(file_);
  write_volume(file_, labels(), "lamp segment");
  EXPECT_EQ(read_file(file_), first);
}

// The digits are those of the system's sha256sum over the file with zeros in their place.
TEST_P(VolumeMarkTest, TheSealIsTheHashOfEverythingElse) {
  std::string bytes = content();
  const std::size_t at = bytes.find("sha256:") + 7;
  const std::string digits = bytes.substr(at, kDigits);
  bytes.replace(at, kDigits, kDigits, '0');
  write_file(folder_ / "content", bytes);
  FILE* const pipe = popen(("sha256sum '" + (folder_ / "content").string() + "'").c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::array<char, 65> hex{};
  ASSERT_EQ(std::fread(hex.data(), 1, 64, pipe), 64U);
  pclose(pipe);
  EXPECT_THAT(hex.data(), StartsWith(digits));
}

// An editor's work: the header with all its texts stays, a voxel or the grid changes.
TEST_P(VolumeMarkTest, AChangeAnywhereBreaksTheSeal) {
  const std::string bytes = content();
  const std::size_t at = bytes.find("sha256:") + 7;
  for (const std::size_t place : {std::size_t{45}, at, at + kDigits - 1, bytes.size() - 1}) {
    std::string changed = bytes;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    replace(changed);
    EXPECT_FALSE(kIsOwn(file_)) << place;
  }
  replace(bytes + '\0');
  EXPECT_FALSE(kIsOwn(file_));
  replace(bytes.substr(0, bytes.size() - 1));
  EXPECT_FALSE(kIsOwn(file_));
  replace(bytes);  // compressed otherwise, but the same content
  EXPECT_TRUE(kIsOwn(file_));
}

INSTANTIATE_TEST_SUITE_P(Formats, VolumeMarkTest,
                         ::testing::Values("nii", "nii.gz", "NII.GZ", "nrrd", "NRRD", "mha", "MHA"),
                         [](const auto& param) {
                           std::string name = param.param;
                           for (char& c : name) c = c == '.' ? '_' : c;
                           return name;
                         });

// nifti1.h: descrip is 80 bytes from byte 148 on, with a zero at its end.
TEST(VolumeMarkNiftiTest, TheMarkStandsInDescrip) {
  const testing::TemporaryFolder folder;
  write_volume(folder / "a.nii", labels(), "lamp segment");
  const std::string bytes = read_file(folder / "a.nii");
  EXPECT_THAT(bytes.substr(148, 80), StartsWith("lamp segment sha256:"));
  EXPECT_EQ(bytes[227], '\0');
}

TEST(VolumeMarkNiftiTest, WhatIsNoVolumeIsNotOnesOwn) {
  const testing::TemporaryFolder folder;
  for (const std::string text : {"", "lamp segment sha256:", "\x1f\x8b\x08", "mine"}) {
    write_file(folder / "a.nii.gz", text);
    EXPECT_FALSE(kIsOwn(folder / "a.nii.gz"));
  }
  EXPECT_FALSE(kIsOwn(folder / "nothing"));
}

TEST(VolumeMarkNiftiTest, SeveralChannelsAreSealedToo) {
  const testing::TemporaryFolder folder;
  Volume volume = labels();
  volume.voxels = torch::rand({3, 7, 8, 9});
  for (const char* name : {"a.nii.gz", "a.nrrd", "a.mha"}) {
    write_volume(folder / name, volume, "lamp segment");
    EXPECT_TRUE(kIsOwn(folder / name)) << name;
    EXPECT_TRUE(read_image(folder / name).voxels.equal(volume.voxels)) << name;
  }
}

}  // namespace
}  // namespace lamp
