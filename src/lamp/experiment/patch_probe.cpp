// Four convolutions and a linear layer, trained with Adam.
#include "lamp/experiment/patch_probe.h"

#include <torch/nn/functional.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/nn/modules/pooling.h>
#include <torch/optim/adamw.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <vector>

#include "lamp/base/interrupt.h"
#include "lamp/base/progress.h"
#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"
#include "lamp/cases/patch_sampler.h"

namespace lamp {
namespace {

constexpr int kPatchesPerLabel = 2;  // of each case
constexpr int kBatch = 32;
constexpr int kLastSteps = 50;  // whose mean is the accuracy in training

struct Patches {
  torch::Tensor images;  // [N, C, D, H, W]
  torch::Tensor labels;  // [N] int64, from 0
};

TrainingCase draw_case(const ProbeOptions& options, bool training, int index, int classes) {
  const PhantomCase drawn = draw_phantom(options.phantoms, training, index);
  Volume image = drawn.image;
  image.voxels = image.voxels.to(torch::kFloat32);
  const PreparedImage prepared = prepare_image(image, options.data);
  TrainingCase sample{.stored = prepared.voxels,
                      .label = prepare_label(drawn.label, prepared.path)};
  index_foreground(sample, classes);
  return sample;
}

// draw_patch centres on any foreground voxel: all other labels are hidden from it.
TrainingCase only_label(const TrainingCase& sample, std::size_t label) {
  TrainingCase single = sample;
  for (std::size_t other = 0; other < single.foreground.size(); ++other)
    if (other != label) single.foreground[other] = torch::empty({0}, torch::kInt64);
  return single;
}

Patches cut_patches(const ProbeOptions& options, bool training, int classes) {
  const int cases = training ? options.train_cases : options.test_cases;
  Progress progress(training ? "control: cases to learn from" : "control: cases to try", cases);
  std::vector<torch::Tensor> images;
  std::vector<std::int64_t> labels;
  for (int i = 0; i < cases; ++i) {
    throw_if_interrupted("finished cells are kept");
    const TrainingCase sample = draw_case(options, training, i, classes);
    Random random{options.seed, kProbePatchStream, training, static_cast<std::uint64_t>(i)};
    for (int label = 1; label < classes; ++label) {
      const TrainingCase single = only_label(sample, static_cast<std::size_t>(label));
      for (int k = 0; k < kPatchesPerLabel; ++k) {
        images.push_back(draw_patch(single, {.size = options.patch}, random).image.clone());
        labels.push_back(label - 1);
      }
    }
    progress.advance("");
  }
  return {torch::stack(images), torch::tensor(labels)};
}

torch::nn::Sequential make_classifier(const torch::Tensor& images, int labels) {
  namespace nn = torch::nn;
  constexpr int kWidth = 12, kGrid = 2;
  nn::Sequential net;
  std::int64_t channels = images.size(1);
  for (const int width : {kWidth, 2 * kWidth, 4 * kWidth}) {
    net->push_back(nn::Conv3d(nn::Conv3dOptions(channels, width, 3).stride(2).padding(1)));
    net->push_back(nn::BatchNorm3d(width));
    net->push_back(nn::ReLU());
    channels = width;
  }
  net->push_back(nn::Conv3d(nn::Conv3dOptions(channels, channels, 3).padding(1)));
  net->push_back(nn::BatchNorm3d(channels));
  net->push_back(nn::ReLU());
  net->push_back(nn::AdaptiveAvgPool3d(nn::AdaptiveAvgPool3dOptions({kGrid, kGrid, kGrid})));
  net->push_back(nn::Flatten());
  net->push_back(nn::Linear(channels * kGrid * kGrid * kGrid, labels));
  return net;
}

double share_right(const torch::Tensor& scores, const torch::Tensor& labels) {
  return scores.argmax(1).eq(labels).to(torch::kFloat64).mean().item<double>();
}

// Returns the accuracy over the last steps.
double train(torch::nn::Sequential& net, const Patches& patches, const ProbeOptions& options) {
  torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(2e-3));
  Random random{options.seed, kProbeOrderStream};
  Progress progress("control", options.steps);
  double right = 0;
  net->train();
  for (int step = 0; step < options.steps; ++step) {
    throw_if_interrupted("finished cells are kept");
    std::vector<std::int64_t> chosen(kBatch);
    for (std::int64_t& index : chosen) index = random.below(patches.labels.size(0));
    const torch::Tensor at = torch::tensor(chosen);
    const torch::Tensor scores = net->forward(patches.images.index_select(0, at));
    const torch::Tensor labels = patches.labels.index_select(0, at);
    const torch::Tensor loss = torch::nn::functional::cross_entropy(scores, labels);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (step >= options.steps - kLastSteps) right += share_right(scores, labels);
    progress.advance("");
  }
  return right / std::min(kLastSteps, options.steps);
}

double accuracy(torch::nn::Sequential& net, const Patches& patches) {
  const torch::NoGradGuard no_gradients;
  net->eval();
  double right = 0;
  for (std::int64_t first = 0; first < patches.labels.size(0); first += kBatch) {
    const std::int64_t count = std::min<std::int64_t>(kBatch, patches.labels.size(0) - first);
    right += static_cast<double>(count) *
             share_right(net->forward(patches.images.narrow(0, first, count)),
                         patches.labels.narrow(0, first, count));
  }
  return right / static_cast<double>(patches.labels.size(0));
}

}  // namespace

bool ProbeResult::at_chance() const { return accuracy <= chance + 2 * standard_error; }

ProbeResult probe_patches(const ProbeOptions& options) {
  const int classes = static_cast<int>(phantom_labels(options.phantoms.kind).size());
  TORCH_CHECK(classes > 2, "a probe needs two labels or more");
  const Patches seen = cut_patches(options, /*training=*/true, classes);
  const Patches unseen = cut_patches(options, /*training=*/false, classes);
  torch::manual_seed(options.seed);
  torch::nn::Sequential net = make_classifier(seen.images, classes - 1);
  ProbeResult result{.chance = 1.0 / (classes - 1), .patches = unseen.labels.size(0)};
  result.train_accuracy = train(net, seen, options);
  result.accuracy = accuracy(net, unseen);
  const double structures = options.test_cases * (classes - 1.0);
  result.standard_error = std::sqrt(result.chance * (1 - result.chance) / structures);
  return result;
}

}  // namespace lamp
