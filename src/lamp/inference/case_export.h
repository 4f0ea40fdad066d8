// The way out of one case: from scores to label maps and probabilities on the input's own grid, or
// to no file at all where it failed.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "lamp/cases/preprocess.h"
#include "lamp/inference/input_list.h"
#include "lamp/inference/scorer.h"
#include "lamp/inference/segment_options.h"
#include "lamp/inference/segment_outputs.h"
#include "lamp/inference/segment_report.h"
#include "lamp/preview/grey_image.h"

namespace lamp {

// Thread-safe for different cases. Refers to what it is given.
class CaseExport {
 public:
  CaseExport(const Model& model, const SegmentOptions& options, const SegmentOutputs& outputs);

  // Writes the files of case `i`, `result` then says what is in them and how long it took. The
  // scores may be gone afterwards. `grey`: the image, where a picture is wanted.
  void write(std::size_t i, CaseResult& result, Scores& scores, const GridPath& path,
             const std::optional<GreyImage>& grey) const;

  // Makes a failure of the exception at hand, for case `i`, of which no file is left: what an
  // earlier call wrote would pass for a result. Rethrows Interrupted.
  SegmentFailure fail(std::size_t i, const InputCase& input) const;

 private:
  void write_output(const std::filesystem::path& file, const Volume& volume) const;
  void write_picture(std::size_t i, CaseResult& result, const std::string& png) const;
  std::int64_t clean(Volume& labels, torch::Tensor& classes) const;
  std::map<std::string, double> volumes(const Volume& labels) const;

  const Model& model_;
  const SegmentOptions& options_;
  const SegmentOutputs& outputs_;
  const std::set<int> keep_largest_;
};

}  // namespace lamp
