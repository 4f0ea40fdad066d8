// Whole-volume inference without gradients, one case after another.
#include "lamp/training/validation.h"

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lamp/objective/overlap.h"
#include "lamp/training/run_log.h"

namespace lamp {

std::vector<double> dice_per_label(const torch::Tensor& predicted, const torch::Tensor& reference,
                                   int classes, const std::vector<int>& annotated) {
  const auto overlap = count_overlap(predicted, reference);
  std::vector<double> dice;
  for (int label = 1; label < classes; ++label) {
    const auto found = overlap.find(label);
    const bool known = annotated.empty() ||
                       std::find(annotated.begin(), annotated.end(), label) != annotated.end();
    dice.push_back(known && found != overlap.end() ? found->second.dice()
                                                   : std::numeric_limits<double>::quiet_NaN());
  }
  return dice;
}

std::vector<double> validate(Network& network, CaseStore& store,
                             const std::vector<std::size_t>& cases,
                             const WholePrediction& predict) {
  const torch::NoGradGuard no_grad;
  network.chain->eval();
  const int classes = static_cast<int>(network.config.classes);
  std::vector<std::vector<double>> columns(static_cast<std::size_t>(classes - 1));
  for (const std::size_t index : cases) {
    const auto sample = store.get(index);
    const torch::Tensor scores = predict(sample->image().unsqueeze(0));
    const auto dice =
        dice_per_label(scores[0].argmax(0).cpu(), sample->label, classes, sample->annotated);
    for (std::size_t i = 0; i < dice.size(); ++i) columns[i].push_back(dice[i]);
  }
  network.chain->train();
  std::vector<double> means;
  for (const auto& column : columns) means.push_back(mean_dice(column));
  return means;
}

}  // namespace lamp
