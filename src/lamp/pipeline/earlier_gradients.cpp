// Pairs of a parameter and what it had.
#include "lamp/pipeline/earlier_gradients.h"

#include <torch/utils.h>

namespace lamp {

EarlierGradients::EarlierGradients(const Sequence& chain) {
  for (const torch::Tensor& parameter : chain.parameters())
    gradients_.emplace_back(parameter, std::exchange(parameter.mutable_grad(), {}));
}

void EarlierGradients::add() {
  const torch::NoGradGuard no_gradients;
  for (auto& [parameter, before] : gradients_) {
    if (!before.defined()) continue;
    torch::Tensor& now = parameter.mutable_grad();
    now = now.defined() ? before.add_(now) : before;
  }
}

// Backwards: of a parameter that two layers share the first entry has the gradient.
void EarlierGradients::restore() {
  for (auto entry = gradients_.rbegin(); entry != gradients_.rend(); ++entry)
    entry->first.mutable_grad() = entry->second;
}

}  // namespace lamp
