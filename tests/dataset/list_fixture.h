// A folder with a small data set and its list, written as a test likes.
#pragma once

#include <gtest/gtest.h>
#include <torch/types.h>

#include <filesystem>
#include <string>

#include "convert/prepare_samples.h"
#include "lamp/base/log.h"
#include "lamp/formats/volume_io.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

class ListFixture : public ::testing::Test {
 protected:
  void SetUp() override { set_log_level(LogLevel::kError); }

  // An image and a label map of its own for every name; numbers make them differ.
  void add_files(const std::string& name, int number, const std::string& ending = ".nii.gz") const {
    const Geometry grid{.size = {5, 4, 3}, .spacing_mm = {1, 1, 2}};
    const torch::Tensor image = (torch::arange(60, torch::kInt16) * 7 + number).view({1, 3, 4, 5});
    torch::Tensor label = torch::zeros({1, 3, 4, 5}, torch::kUInt8);
    label[0][1][1][1 + number % 3] = 1;
    for (const char* part : {"imagesTr", "labelsTr"})
      std::filesystem::create_directories(folder_ / part);
    write_volume(folder_ / "imagesTr" / (name + ending), {grid, image});
    write_volume(folder_ / "labelsTr" / (name + ending), {grid, label});
  }
  static std::string entry(const std::string& image, const std::string& label,
                           const std::string& more = "") {
    return R"({"image": "imagesTr/)" + image + R"(.nii.gz", "label": "labelsTr/)" + label +
           R"(.nii.gz")" + more + "}";
  }
  void write_list(const std::string& training, const std::string& more = "") const {
    written(folder_ / "dataset.json", R"({"labels": {"0": "background", "1": "a"}, "training": [)" +
                                          training + "]" + more + "}");
  }

  const TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

}  // namespace lamp::testing
