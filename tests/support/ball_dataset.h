// A tiny data set that a tiny network learns in seconds: bright balls in noise.
#pragma once

#include <ATen/CPUGeneratorImpl.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "lamp/base/json.h"
#include "lamp/formats/volume_io.h"

namespace lamp::testing {

// `cases` training cases and as many test images (without labels) of about `size` voxels an axis.
// Returns the folder.
inline std::filesystem::path write_ball_dataset(const std::filesystem::path& folder, int cases,
                                                std::int64_t size = 20) {
  std::filesystem::create_directories(folder / "imagesTr");
  std::filesystem::create_directories(folder / "labelsTr");
  Json dataset = {{"name", "balls"},
                  {"labels", {{"0", "background"}, {"1", "ball"}}},
                  {"training", Json::array()}};
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(17);
  for (int i = 0; i < cases; ++i) {
    const std::int64_t depth = size + i % 3;
    const torch::Tensor grid = torch::stack(torch::meshgrid(
        {torch::arange(depth), torch::arange(size), torch::arange(size + 1)}, "ij"));
    const torch::Tensor centre = torch::randint(size / 3, size - size / 3, {3, 1, 1, 1}, generator);
    const torch::Tensor label = (grid - centre).pow(2).sum(0).le(size).to(torch::kUInt8);
    const torch::Tensor image = label * 100 + torch::randn(label.sizes(), generator) * 10;
    Geometry geometry{.size = {size + 1, size, depth}, .spacing_mm = {1, 1, 2}};
    const std::string name = "ball_" + std::to_string(i) + ".nii.gz";
    write_volume(folder / "imagesTr" / name, {geometry, image.unsqueeze(0).to(torch::kInt16)});
    write_volume(folder / "labelsTr" / name, {geometry, label.unsqueeze(0)});
    dataset["training"].push_back(
        {{"image", "./imagesTr/" + name}, {"label", "./labelsTr/" + name}});
  }
  std::ofstream(folder / "dataset.json") << dataset.dump();
  return folder;
}

// Two short stages of a tiny U-Net.
inline Json ball_config() {
  return parse_json(R"({
    "net": {"name": "unet", "width": 4, "depth": 1},
    "data": {"window": [0, 100]},
    "optimizer": {"name": "rmsprop", "lr": 0.005},
    "curriculum": [{"patch": [12, 12, 12], "batch": 3, "epochs": 2}, {"patch": "whole", "batch": 1, "epochs": 2}],
    "validation": {"every_epochs": 1, "fraction": 0.2},
    "loader": {"cache": "off"},
    "execution": {"device": "cpu"},
    "checkpoint": {"every_seconds": 0}})",
                    "test");
}

}  // namespace lamp::testing
