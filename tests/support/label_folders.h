// Predictions and references as files: small maps of two blocks, label 1 and label 2.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <string>

#include "lamp/base/files.h"
#include "lamp/formats/volume_io.h"
#include "support/temporary_folder.h"

namespace lamp::testing {

struct LabelFolders {
  TemporaryFolder folder;
  std::filesystem::path prediction = folder / "prediction";
  std::filesystem::path reference = folder / "reference";

  LabelFolders() {
    std::filesystem::create_directories(prediction);
    std::filesystem::create_directories(reference);
  }

  // [D, H, W] = [8, 9, 10] with 4 x 4 x 4 voxels of label 1 and 2 x 2 x 2 of label 2.
  static torch::Tensor map() {
    torch::Tensor map = torch::zeros({8, 9, 10}, torch::kUInt8);
    map.slice(0, 1, 5).slice(1, 1, 5).slice(2, 1, 5) = 1;
    map.slice(0, 5, 7).slice(1, 6, 8).slice(2, 7, 9) = 2;
    return map;
  }

  static Volume volume(const torch::Tensor& map, double spacing_x = 0.5) {
    Geometry geometry{.size = {map.size(2), map.size(1), map.size(0)},
                      .spacing_mm = {spacing_x, 1, 3}};
    return {geometry, map.unsqueeze(0)};
  }

  void add(const std::string& name, const torch::Tensor& predicted,
           const torch::Tensor& expected) const {
    write_volume(prediction / (name + ".nii.gz"), volume(predicted));
    write_volume(reference / (name + ".nii.gz"), volume(expected));
  }

  // dataset.json, in which case "partly" has only label 1 annotated.
  std::filesystem::path write_dataset() const {
    const auto file = folder / "dataset.json";
    write_file(file, R"({"labels": {"0": "background", "1": "organ", "2": "lesion, large"},
      "training": [{"image": "images/whole.nii.gz", "label": "reference/whole.nii.gz"},
                   {"image": "images/partly.nii.gz", "label": "reference/partly.nii.gz",
                    "annotated": [1]}]})");
    return file;
  }
};

}  // namespace lamp::testing
