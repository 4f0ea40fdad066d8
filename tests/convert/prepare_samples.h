// Small data sets in the layouts that `lamp prepare` reads.
#pragma once

#include <torch/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "formats/npy_samples.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/formats/volume_io.h"
#include "volume/volume_samples.h"

namespace lamp::testing {

inline const std::vector<std::string>& organs() {
  static const std::vector<std::string> kOrgans = {
      "BrainStem", "Chiasm",    "Mandible",        "OpticNerve_L",   "OpticNerve_R",
      "Parotid_L", "Parotid_R", "Submandibular_L", "Submandibular_R"};
  return kOrgans;
}

// A head of [9, 10, 11] voxels (z, y, x). Organ `id` fills row z = id - 1, y 1 to 2, x from 1 to id
// + 1: 2 * (id + 1) voxels, none of them shared.
inline torch::Tensor organ_mask(int id) {
  torch::Tensor mask = torch::zeros({9, 10, 11}, torch::kUInt8);
  mask.select(0, id - 1).slice(0, 1, 3).slice(1, 1, id + 2) = 1;
  return mask;
}

inline torch::Tensor head_image(int seed) {
  return (torch::arange(9 * 10 * 11, torch::kInt16) * 7 % 2000 - 1000 + seed).view({9, 10, 11});
}

// uint8, int16, float32 or float64 tensors as numpy.save would write them.
inline void write_npy(const std::filesystem::path& path, const torch::Tensor& tensor) {
  NpyFile file;
  file.descr = tensor.scalar_type() == torch::kUInt8     ? "|u1"
               : tensor.scalar_type() == torch::kInt16   ? "<i2"
               : tensor.scalar_type() == torch::kFloat32 ? "<f4"
                                                         : "<f8";
  file.shape = "(";
  for (const std::int64_t size : tensor.sizes()) file.shape += std::to_string(size) + ", ";
  file.shape += ")";
  const torch::Tensor values = tensor.contiguous();
  file.data.assign(static_cast<const char*>(values.data_ptr()), values.nbytes());
  written(path, file.bytes());
}

// AnatomyNet's layout: a folder of a case with the organs whose ids are given.
inline void write_han_case(const std::filesystem::path& folder,
                           const std::vector<int>& ids = {1, 2, 3, 4, 5, 6, 7, 8, 9},
                           int seed = 0) {
  std::filesystem::create_directories(folder / "structures");
  write_npy(folder / "img_crp_v2.npy", head_image(seed));
  for (const int id : ids)
    write_npy(folder / "structures" / (organs()[static_cast<std::size_t>(id) - 1] + "_crp_v2.npy"),
              organ_mask(id));
}

inline std::string liver_name(int index) { return "liver_" + std::to_string(index); }

// A Decathlon task of `cases` labelled and one unlabelled case. Labels differ from case to case.
inline void write_liver_task(const std::filesystem::path& folder, int cases) {
  for (const char* part : {"imagesTr", "labelsTr", "imagesTs"})
    std::filesystem::create_directories(folder / part);
  Json json = {{"name", "Liver"},
               {"modality", {{"0", "CT"}}},
               {"labels", {{"0", "background"}, {"1", "liver"}, {"2", "cancer"}}},
               {"training", Json::array()},
               {"test", Json::array({"./imagesTs/liver_999.nii.gz"})}};
  const Geometry grid{.size = {5, 4, 3}, .spacing_mm = {0.7, 0.7, 5}, .origin_mm = {-10, 5, 3}};
  for (int i = 0; i < cases; ++i) {
    const std::string file = liver_name(i) + ".nii.gz";
    const torch::Tensor image =
        (torch::arange(60, torch::kInt16) * 13 - 500 + i).view({1, 3, 4, 5});
    write_volume(folder / "imagesTr" / file, {grid, image});
    write_volume(folder / "labelsTr" / file,
                 {grid, image.remainder(3).to(torch::kUInt8).contiguous()});
    json["training"].push_back({{"image", "./imagesTr/" + file}, {"label", "./labelsTr/" + file}});
  }
  std::filesystem::copy_file(folder / "imagesTr" / "liver_0.nii.gz",
                             folder / "imagesTs" / "liver_999.nii.gz");
  written(folder / "dataset.json", dump_json(json));
}

// Every file under `folder` but the record, by its path.
inline std::map<std::string, std::string> bytes_under(const std::filesystem::path& folder) {
  std::map<std::string, std::string> bytes;
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder))
    if (file.is_regular_file() && file.path().filename() != ".prepare.json")
      bytes[std::filesystem::relative(file.path(), folder).string()] = read_file(file.path());
  return bytes;
}

}  // namespace lamp::testing
