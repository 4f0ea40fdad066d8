// Pairs of tensors by name.
#include "lamp/pipeline/chain_copy.h"

#include <string>

#include "lamp/sequence/batch_norm.h"

namespace lamp {
namespace {

using TensorNames = torch::OrderedDict<std::string, torch::Tensor>;
using TensorPairs = std::vector<std::pair<torch::Tensor, torch::Tensor>>;

TensorPairs pairs_by_name(const TensorNames& tensors, const TensorNames& copies) {
  TORCH_CHECK(tensors.size() == copies.size(), "a copy of a chain has ", copies.size(),
              " tensors, expected ", tensors.size());
  TensorPairs pairs;
  for (const auto& item : tensors) {
    const torch::Tensor* copy = copies.find(item.key());
    TORCH_CHECK(copy != nullptr && copy->sizes() == item.value().sizes(),
                "a copy of a chain lacks ", item.key(), " of ", item.value().sizes());
    pairs.emplace_back(item.value(), *copy);
  }
  return pairs;
}

void copy_values(const torch::Tensor& own, const torch::Tensor& copy) {
  if (own.scalar_type() == copy.scalar_type())
    copy.copy_(own);
  else
    copy.set_data(own.detach().to(copy.device(), own.scalar_type(), /*non_blocking=*/false,
                                  /*copy=*/true));
}

std::map<void*, void*> norms_by_copy(Sequence& chain, Sequence& copy) {
  const auto own = chain.modules(/*include_self=*/false), other = copy.modules(false);
  TORCH_CHECK(own.size() == other.size(), "a copy of a chain has ", other.size(),
              " modules, expected ", own.size());
  std::map<void*, void*> norms;
  for (std::size_t i = 0; i < own.size(); ++i)
    if (auto* norm = other[i]->as<DeferrableBatchNorm3dImpl>())
      norms[norm] = own[i]->as<DeferrableBatchNorm3dImpl>();
  return norms;
}

}  // namespace

void take_value(const torch::Tensor& from, const torch::Tensor& to) {
  const torch::NoGradGuard no_gradients;
  if (from.device() != to.device())
    copy_values(from, to);
  else if (from.data_ptr() != to.data_ptr() || from.strides() != to.strides())
    to.set_data(from.detach());
}

ChainCopy::ChainCopy(Sequence& chain, Sequence& copy)
    : chain_(&chain),
      copy_(&copy),
      parameters_(pairs_by_name(chain.named_parameters(), copy.named_parameters())),
      buffers_(pairs_by_name(chain.named_buffers(), copy.named_buffers())),
      norms_(norms_by_copy(chain, copy)) {
  for (const auto& [own, other] : parameters_) take_value(own, other);
  refresh();
}

void ChainCopy::refresh() {
  {
    const torch::NoGradGuard no_gradients;
    for (const auto& [own, copy] : buffers_) copy_values(own, copy);
  }
  copy_->train(chain_->is_training());
  for (const auto& [own, copy] : parameters_) copy.requires_grad_(own.requires_grad());
}

std::vector<torch::Tensor> ChainCopy::counterparts(
    const std::vector<torch::Tensor>& parameters) const {
  std::map<const void*, torch::Tensor> copies;
  for (const auto& [own, copy] : parameters_) copies.emplace(own.unsafeGetTensorImpl(), copy);
  std::vector<torch::Tensor> found;
  for (const torch::Tensor& parameter : parameters)
    found.push_back(copies.at(parameter.unsafeGetTensorImpl()));
  return found;
}

}  // namespace lamp
