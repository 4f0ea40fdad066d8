// Masks are drawn on the CPU, so that every device gets the same.
#include "lamp/sequence/dropout.h"

#include <algorithm>
#include <optional>

#include "lamp/sequence/run_context.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

Dropout::Dropout(double probability, bool channels)
    : probability_(probability), channels_(channels) {
  TORCH_CHECK(probability >= 0 && probability < 1,
              "dropout: expected a probability in [0, 1), found ", probability);
}

torch::Tensor Dropout::forward(torch::Tensor input, SkipPort&) {
  if (!is_training() || probability_ == 0) return input;
  auto shape = input.sizes().vec();
  if (channels_ && shape.size() > 2) std::fill(shape.begin() + 2, shape.end(), 1);
  std::optional<at::Generator> generator;
  RunContext* run = RunContext::current();
  if (run != nullptr) generator = run->next_generator();
  // Of slabs, the mask is the whole volume's.
  const bool is_slab = run != nullptr && run->slabs != nullptr;
  const auto axis = is_slab ? static_cast<std::size_t>(run->slabs->axis()) : 0;
  const bool is_cut = is_slab && shape.size() > axis && !channels_;
  if (is_cut) shape[axis] = run->planes;
  const double keep = 1 - probability_;
  torch::Tensor mask = torch::empty(shape, torch::kFloat32).bernoulli_(keep, generator).div_(keep);
  if (is_cut) mask = narrowed(mask, run->slabs->axis(), run->slabs->owned(run->planes));
  return input * mask.to(input.device(), input.scalar_type());
}

}  // namespace lamp
