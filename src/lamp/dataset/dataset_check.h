// Everything that is wrong with a data set, found in one pass, so that nobody repairs one file a
// run.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lamp/dataset/datalist.h"
#include "lamp/formats/left_out.h"

namespace lamp {

// What one case turned out to be; fields of files that could not be read keep their defaults.
struct CaseFacts {
  std::string name;
  std::string split;  // "training", "validation", "test", or "image" for a single image
  Geometry geometry;
  std::int64_t channels = 0;                          // 0 = no image could be read
  std::array<double, 2> value_range = {0, 0};         // of the finite voxels
  std::map<std::int64_t, std::int64_t> label_voxels;  // by value; empty without a readable label
  std::vector<int> annotated;                         // foreground ids that were looked for
};

struct CheckReport {
  std::string name;
  std::map<int, std::string> labels;
  std::vector<CaseFacts> cases;
  std::vector<Fault> faults;
  std::vector<std::string> notes;  // worth knowing, no fault
  std::vector<LeftOut> ignored;    // files beside the images, also among the notes

  bool ok() const { return faults.empty(); }
};

// Is shown each image file's voxels, float32 [C, D, H, W], while the check has them in memory:
// those of one case one after the other, different cases at once. `place`: in the report's cases,
// valid once the check has ended.
using ImageObserver = std::function<void(std::size_t place, const torch::Tensor& voxels)>;

struct CheckOptions {
  ReadOptions read;        // how the images will be read
  bool with_tests = true;  // the test cases too; training does without them
  // Of pictures, one a case: new, empty or of such pictures alone; empty = none.
  std::filesystem::path preview = {};
  ImageObserver observer = {};
};

// Reads every file of a data set. Finds: a damaged dataset.json, missing and unreadable files,
// image and label on different grids (more than kSameGridVoxels apart), wrong channel counts,
// undeclared label values, images in the place of labels, a data set without any foreground, NaN
// and infinite voxels, faults of single entries and of the lists (dataset_lists.h), images that
// stand on both sides of a split under two names, and classes drawn though not annotated. Never
// throws for a fault; UsageError for a folder of pictures that is not LAMP's, Error if the disk
// refuses them. Works on at::get_num_threads() cases at a time, each of which is held in
// memory once.
CheckReport check_dataset(const std::filesystem::path& folder_or_json,
                          const CheckOptions& options = {});

// Single images (files or DICOM folders); a folder stands for every volume that list_folder finds
// in it. `preview` as in CheckOptions.
CheckReport check_images(const std::vector<std::filesystem::path>& paths,
                         const ReadOptions& read = {}, const std::filesystem::path& preview = {});

// A JSON file, or a folder that holds dataset.json, imagesTr, the one list of cases that
// read_dataset() would take there, or a JSON but no volumes; else images are meant.
bool looks_like_dataset(const std::filesystem::path& path);

}  // namespace lamp
