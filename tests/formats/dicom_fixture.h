// A folder with a small series of DICOM slices, to be damaged.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "formats/dicom_writer.h"
#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/formats/folder_content.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp::testing {

class DicomFixture : public ::testing::Test {
 protected:
  static constexpr int kSlices = 16;
  static inline const std::string kClass = "1.2.840.10008.5.1.4.1.1.";  // of SOP classes

  void SetUp() override { set_log_level(LogLevel::kError); }
  void TearDown() override { set_log_level(LogLevel::kInfo); }  // other tests read warnings

  // Slice k of a series along z, 2.5 mm apart, with values 100 k, 100 k + 1, ...
  static DicomSlice slice(int k) {
    DicomSlice slice{
        .number = k + 1, .position_mm = {-10, 20, 30 + 2.5 * k}, .spacing_mm = {0.5, 0.75}};
    for (int i = 0; i < slice.width * slice.height; ++i)
      slice.values.push_back(static_cast<std::int16_t>(1024 + 100 * k + i));
    return slice;
  }
  std::filesystem::path file(int k, const std::string& extension = "") const {
    return folder_ / ((k < 10 ? "IM0" : "IM") + std::to_string(k) + extension);
  }
  void write(const DicomSlice& slice, const std::string& extension = "") const {
    write_dicom(file(slice.number - 1, extension), slice);
  }
  void write_all(const std::string& extension = "") const {
    for (int k = 0; k < kSlices; ++k) write(slice(k), extension);
  }
  // An object of another kind, in a series of its own.
  static DicomSlice object(const std::string& sop_class, const std::string& modality,
                           const std::string& series) {
    DicomSlice object = slice(0);
    object.series = series;
    object.more[0x00080016] = {"UI", sop_class};
    object.more[0x00080060] = {"CS", modality};
    return object;
  }

  void expect_whole_series(const std::filesystem::path& folder) const {
    const Volume volume = read_image(folder);
    ASSERT_EQ(volume.geometry.size, (Size3{4, 3, kSlices}));
    for (int k = 0; k < kSlices; ++k)
      EXPECT_TRUE(torch::equal(volume.voxels[0][k].flatten(),
                               torch::arange(100 * k, 100 * k + 12, torch::kFloat32)));
  }

  std::vector<std::string> names(const std::vector<LeftOut>& files) const {
    std::vector<std::string> relative;
    for (const LeftOut& file : files) relative.push_back(file.file.lexically_relative(folder_));
    return relative;
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

}  // namespace lamp::testing
