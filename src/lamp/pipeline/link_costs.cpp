// Each link is a graph of its own, so that its backward can be timed alone.
#include "lamp/pipeline/link_costs.h"

#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "lamp/sequence/run_context.h"

namespace lamp {
namespace {

using Clock = std::chrono::steady_clock;

// Cuts every skip's history where it is stashed.
class CutSkips : public SkipPort {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    stashed.push_back(tensor);
    local_.stash(name, tensor.detach().requires_grad_());
  }
  torch::Tensor pop(const std::string& name) override { return local_.pop(name); }
  std::vector<torch::Tensor> stashed;  // by the link at work

 private:
  LocalSkips local_;
};

torch::Tensor run_link(Sequence& chain, std::size_t link, const torch::Tensor& input,
                       CutSkips& skips) {
  skips.stashed.clear();
  torch::Tensor output = chain.run(input, link, link + 1, skips);
  std::vector<torch::Tensor> roots, gradients;
  skips.stashed.push_back(output);
  for (const torch::Tensor& root : skips.stashed) {
    if (!root.requires_grad()) continue;
    roots.push_back(root);
    gradients.push_back(torch::ones_like(root));
  }
  if (!roots.empty()) torch::autograd::backward(roots, gradients);
  if (!output.is_cpu()) torch::cuda::synchronize(output.device().index());
  return output.detach();
}

}  // namespace

LinkCosts measure_links(Sequence& chain, const torch::Tensor& input, int rounds) {
  const torch::AutoGradMode with_gradients(true);
  std::vector<torch::Tensor> gradients, buffers;
  for (auto& parameter : chain.parameters())
    gradients.push_back(std::exchange(parameter.mutable_grad(), {}));
  for (const auto& buffer : chain.buffers()) buffers.push_back(buffer.clone());
  LinkCosts costs{std::vector<double>(chain.size(), std::numeric_limits<double>::max()),
                  std::vector<double>(chain.size(), 0)};
  RunContext context;  // so that dropout leaves torch's generator alone
  const RunScope scope(context);
  for (int round = 0; round <= rounds; ++round) {
    CutSkips skips;
    torch::Tensor tensor = input.detach();
    for (std::size_t link = 0; link < chain.size(); ++link) {
      if (tensor.is_floating_point() && link > 0) tensor.requires_grad_();
      const auto start = Clock::now();
      tensor = run_link(chain, link, tensor, skips);
      const double took = std::chrono::duration<double>(Clock::now() - start).count();
      if (round > 0) costs.seconds[link] = std::min(costs.seconds[link], took);
      costs.output_bytes[link] = static_cast<double>(tensor.nbytes());
    }
  }
  const torch::NoGradGuard no_gradients;
  const auto parameters = chain.parameters();
  for (std::size_t i = 0; i < parameters.size(); ++i) parameters[i].mutable_grad() = gradients[i];
  const auto own = chain.buffers();
  for (std::size_t i = 0; i < own.size(); ++i) own[i].copy_(buffers[i]);
  return costs;
}

}  // namespace lamp
