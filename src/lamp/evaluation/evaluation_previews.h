// Pictures of what is compared, over the image it was drawn in. Not part of the library's
// interface.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/own_output.h"
#include "lamp/dataset/datalist.h"
#include "lamp/evaluation/case_pairs.h"
#include "lamp/evaluation/evaluation.h"

namespace lamp {

// Where the images of references lie: what the data set lists for the case, else a file of its name
// in imagesTr or imagesTs beside the references' folder.
class CaseImages {
 public:
  explicit CaseImages(const std::optional<Dataset>& dataset);
  // The first channel's file; empty if there is none.
  std::filesystem::path find(const CasePair& pair);

 private:
  const std::map<std::string, std::filesystem::path>& files_in(const std::filesystem::path& folder);

  std::map<std::filesystem::path, std::filesystem::path> by_label_;      // image of each label file
  std::map<std::string, std::filesystem::path> of_tests_, of_training_;  // by case
  std::map<std::filesystem::path, std::map<std::string, std::filesystem::path>> folders_;
};

class EvaluationPreviews {
 public:
  // Does nothing without `options.preview`. Throws UsageError if a picture would replace something
  // that LAMP did not write, before anything is written.
  EvaluationPreviews(const EvaluationOptions& options, const std::vector<CasePair>& pairs,
                     const std::optional<Dataset>& dataset);

  // Both maps lie on one grid. An image that is missing, unreadable or on another grid is told, and
  // the outlines are drawn on black. Throws Error if the disk refuses.
  void draw(const CasePair& pair, const Volume& predicted, const Volume& reference) const;
  // Of a case that failed: an earlier picture would pass for this result.
  void remove_older(const CasePair& pair) const;

 private:
  std::filesystem::path file_of(const CasePair& pair) const;
  void tell_missing_images(const std::optional<Dataset>& dataset) const;

  std::optional<std::filesystem::path> folder_;
  ReadOptions reading_;
  std::map<std::int64_t, std::string> names_;
  std::map<std::string, std::filesystem::path> images_;  // by case
  OutputList outputs_;
};

}  // namespace lamp
