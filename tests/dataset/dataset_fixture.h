// A small data set, to be damaged, and the faults that a check finds in it.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "lamp/base/log.h"
#include "lamp/dataset/dataset_check.h"
#include "lamp/formats/volume_io.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

// A Decathlon folder of two labels that a test fills with cases.
class DatasetFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    set_log_level(LogLevel::kError);
    for (const char* name : {"imagesTr", "labelsTr"})
      std::filesystem::create_directories(folder_ / name);
  }

  static Volume image() {
    return {.geometry = {.size = {8, 7, 6}, .spacing_mm = {1, 1, 2}},
            .voxels = torch::randn({1, 6, 7, 8})};
  }
  static Volume label() {
    Volume result = image();
    result.voxels = torch::zeros({1, 6, 7, 8}, torch::kUInt8);
    result.voxels[0][2][2] = 1;
    result.voxels[0][3][3] = 2;
    return result;
  }
  std::filesystem::path image_file(const std::string& name) const {
    return folder_ / "imagesTr" / (name + ".nii.gz");
  }
  std::filesystem::path label_file(const std::string& name) const {
    return folder_ / "labelsTr" / (name + ".nii.gz");
  }

  // Adds a case to the data set; `more` continues its entry.
  void add(const std::string& name, const Volume& image, const Volume& label,
           const std::string& more = "") {
    write_volume(image_file(name), image);
    write_volume(label_file(name), label);
    entries_ += (entries_.empty() ? "" : ",") +
                (R"({"image": "imagesTr/)" + name + R"(.nii.gz", "label": "labelsTr/)" + name +
                 R"(.nii.gz")" + more + "}");
  }
  void write_json(const std::string& more = "") const {
    std::ofstream(folder_ / "dataset.json")
        << R"({"modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"}, "training": [)"
        << entries_ << "]" << more << "}";
  }
  // The fault of `file` whose "what" holds `what`; an empty one if there is none.
  static Fault find(const CheckReport& report, const std::filesystem::path& file,
                    const std::string& what) {
    for (const Fault& fault : report.faults)
      if (std::filesystem::path(fault.file).filename() == file.filename() &&
          fault.what.find(what) != std::string::npos)
        return fault;
    return {};
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
  std::string entries_;
};

}  // namespace lamp::testing
