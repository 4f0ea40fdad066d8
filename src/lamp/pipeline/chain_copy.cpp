// Pairs of tensors by name.
#include "lamp/pipeline/chain_copy.h"

#include <string>

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

void share_or_copy(const TensorPairs& pairs) {
  const torch::NoGradGuard no_gradients;
  for (const auto& [own, copy] : pairs) {
    if (own.device() == copy.device()) {
      if (own.data_ptr() != copy.data_ptr() || own.strides() != copy.strides())
        copy.set_data(own.detach());
    } else if (own.scalar_type() != copy.scalar_type()) {
      copy.set_data(own.detach().to(copy.device()));
    } else {
      copy.copy_(own);
    }
  }
}

}  // namespace

ChainCopy::ChainCopy(Sequence& chain, Sequence& copy)
    : chain_(&chain),
      copy_(&copy),
      parameters_(pairs_by_name(chain.named_parameters(), copy.named_parameters())),
      buffers_(pairs_by_name(chain.named_buffers(), copy.named_buffers())) {
  refresh();
}

void ChainCopy::refresh() {
  share_or_copy(parameters_);
  share_or_copy(buffers_);
  copy_->train(chain_->is_training());
  for (const auto& [own, copy] : parameters_) copy.requires_grad_(own.requires_grad());
}

void ChainCopy::add_gradients() {
  const torch::NoGradGuard no_gradients;
  for (const auto& [own, copy] : parameters_) {
    torch::Tensor gradient = std::exchange(copy.mutable_grad(), {});
    if (!gradient.defined()) continue;
    gradient = gradient.to(own.device());
    torch::Tensor& sum = own.mutable_grad();
    sum = sum.defined() ? sum.add_(gradient) : gradient;
  }
}

void ChainCopy::drop_gradients() {
  for (const auto& [own, copy] : parameters_) copy.mutable_grad().reset();
}

}  // namespace lamp
