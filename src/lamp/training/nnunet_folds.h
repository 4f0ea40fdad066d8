// nnU-Net's cross-validation: five folds in splits_final.json, a list of {"train": [names], "val":
// [names]}, read where there is one and made as nnU-Net makes it where there is none, so that
// results of both programs may be compared fold by fold.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/dataset/datalist.h"

namespace lamp {

inline constexpr const char* kFoldsFile = "splits_final.json";

struct Fold {
  std::vector<std::string> training, validation;  // names of cases
};

// The file beside dataset.json, in $nnUNet_preprocessed/<folder of the data set>, or in
// nnUNet_preprocessed beside the folder nnUNet_raw; none if it is in neither place.
std::optional<std::filesystem::path> find_folds_file(const Dataset& dataset);

// Throws InputError for what is no such list, and for a fold whose case is unknown to the data set,
// named twice, or in both halves.
std::vector<Fold> read_folds(const std::filesystem::path& file, const Dataset& dataset);

// sklearn.model_selection.KFold(5, shuffle=True, random_state=12345) over the sorted names, to the
// last case. Throws UsageError for fewer than five names.
std::vector<Fold> make_folds(std::vector<std::string> names);

Json to_json(const std::vector<Fold>& folds);

}  // namespace lamp
