// One image through one network or several, whole or in windows, plain or mirrored: whatever is
// asked for, class scores come out.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/cases/preprocess.h"
#include "lamp/inference/memory_estimate.h"
#include "lamp/inference/segment_options.h"
#include "lamp/inference/test_time_mirroring.h"
#include "lamp/nets/layout_choice.h"
#include "lamp/nets/model_file.h"

namespace lamp {

struct SegmentModel {
  std::string file;
  Model model;
};

// How a network becomes a predictor; the default is predictor.h's.
using PredictorFactory = std::function<Predictor(const Network&, c10::Device, c10::ScalarType)>;

struct Scores {
  torch::Tensor
      logits;  // [K, D, H, W] float32 on the network's grid, CPU; softmax gives probabilities
  std::int64_t device_peak_bytes = 0;  // on a CUDA device; 0 on the CPU
};

// The preprocessing that the model's metadata describes. Throws InputError that names the file
// where it cannot be used.
DataConfig preprocessing_of(const SegmentModel& model);

// Runs the models' inference forms on the device and in the precision of the options. One model
// without mirroring gives its logits; else every pass adds its probabilities to one sum, however
// many there are, and the scores are the logarithm of their mean. Where there
// are several groups, score() is thread-safe: a case is in one stage or replica while others are in
// others; else it is not.
class Scorer {
 public:
  // several: there are other cases to be loaded and written meanwhile, where the memory allows it.
  // Throws UsageError where the options do not fit the device or the models disagree on labels or
  // preprocessing, and what settle_mirroring throws.
  Scorer(const std::vector<SegmentModel>& models, const SegmentOptions& options, bool several,
         const PredictorFactory& factory);

  // Throws UsageError where an image of x, y, z voxels on the network's grid has too few planes for
  // the slabs, whole or in the windows that were asked for.
  void check_cut(const Size3& size) const;
  // How the image will be taken. Throws DoesNotFit, and UsageError as check_cut() does.
  PatchChoice choose(const PreparedImage& image) const;
  Scores score(const PreparedImage& image, const PatchChoice& patch) const;
  // What the user's limit leaves to the cases; none where the host's memory has no limit.
  std::optional<std::int64_t> memory_left() const;
  const std::vector<c10::Device>& devices() const { return devices_; }
  // Replicas' stages: each may have a case of its own at work.
  std::size_t groups() const { return devices_.size() / static_cast<std::size_t>(options_.slabs); }
  Layout layout() const { return layout_; }  // of the first model
  const Mirroring& mirroring() const { return mirroring_; }

 private:
  struct Plan {
    Size3 size;
    bool whole;
    bool alone;
  };
  void place(Network form, const PredictorFactory& factory);
  int stages() const;
  std::int64_t workers_on_one_device() const;
  std::int64_t pass_bytes(std::size_t model, const Plan& plan) const;
  std::int64_t need(const PreparedImage& image, const Plan& plan) const;
  std::int64_t passes(const Plan& plan) const;
  torch::Tensor logits(const Predictor& predictor, const torch::Tensor& image,
                       const PatchChoice& patch) const;
  torch::Tensor mean_of_passes(const torch::Tensor& image, const PatchChoice& patch) const;
  bool averages() const { return predictors_.size() > 1 || !mirroring_.axes.empty(); }

  SegmentOptions options_;
  bool several_;
  std::vector<c10::Device> devices_;  // as GridPlacement has them
  Precision precision_;
  Layout layout_ = Layout::kChannelsLast;
  std::vector<Network> forms_;  // whose chains belong to the predictors
  std::vector<Predictor> predictors_;
  // Empty where nothing is to be decided by memory; else of each model, and where it is cut.
  std::vector<ForwardMemory> forward_;
  std::vector<Partition> partitions_;
  Mirroring mirroring_;
  std::int64_t classes_;
  std::int64_t multiple_ = 1;
  std::int64_t limit_bytes_ = 0;
  std::int64_t most_bytes_ = 0;   // without --memory
  std::int64_t taken_bytes_ = 0;  // of --memory
};

}  // namespace lamp
