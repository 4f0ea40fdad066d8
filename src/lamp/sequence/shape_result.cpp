// Sizes, and a node of the graph.
#include "lamp/sequence/shape_result.h"

#include <torch/autograd.h>

#include "lamp/sequence/run_context.h"

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ShapeResult : torch::autograd::Function<ShapeResult> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& /*weight*/, std::vector<std::int64_t> sizes) {
    context->save_for_backward({input});
    return torch::empty(sizes, input.options());
  }
  static variable_list backward(AutogradContext*, const variable_list&) {
    TORCH_CHECK(false, "a result that is only a shape has no gradient");
  }
};

}  // namespace

torch::Tensor shape_result(const torch::Tensor& input, const torch::Tensor& weight,
                           const std::vector<std::int64_t>& sizes) {
  const torch::Tensor result = ShapeResult::apply(input, weight, sizes);
  const RunContext* run = RunContext::current();
  if (run != nullptr && run->shape_results != nullptr)
    run->shape_results->push_back(result.storage().getWeakStorageImpl());
  return result;
}

}  // namespace lamp
