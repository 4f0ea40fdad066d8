// Autograd works backward in the reverse order of the forward, so that the gradient of a link's
// output is complete right when the links behind it are done: a hook there reads the clock.
#include "lamp/profile/step_seconds.h"

#include <ATen/autocast_mode.h>
#include <torch/autograd.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/stopwatch.h"

namespace lamp {
namespace {

double seconds_now(c10::Device device) {
  wait_for(device);
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

// Of each number what `reduce` makes of those of all rounds.
StepSeconds reduced(const std::vector<StepSeconds>& rounds,
                    const std::function<double(const std::vector<double>&)>& reduce) {
  StepSeconds result = rounds.at(0);
  const auto take = [&](double& to, const auto& value_of) {
    std::vector<double> values;
    for (const StepSeconds& round : rounds) values.push_back(value_of(round));
    to = reduce(values);
  };
  for (std::size_t i = 0; i < result.links.size(); ++i) {
    take(result.links[i].forward, [&](const StepSeconds& r) { return r.links[i].forward; });
    take(result.links[i].backward, [&](const StepSeconds& r) { return r.links[i].backward; });
  }
  take(result.loss, [](const StepSeconds& round) { return round.loss; });
  return result;
}

}  // namespace

StepSeconds time_step(Sequence& chain, const torch::Tensor& input, const OutputLoss& loss,
                      const std::function<void()>& on_link) {
  const torch::AutoGradMode with_gradients(true);
  const c10::Device device = input.device();
  StepSeconds step{.links = std::vector<StepSeconds::Link>(chain.size())};
  std::vector<double> reached(chain.size());  // when the backward came to this link
  for (auto& parameter : chain.parameters()) parameter.mutable_grad().reset();
  LocalSkips skips;
  torch::Tensor output = input;
  for (std::size_t link = 0; link < chain.size(); ++link) {
    if (on_link) on_link();
    const double start = seconds_now(device);
    output = chain.run(std::move(output), link, link + 1, skips);
    step.links[link].forward = seconds_now(device) - start;
    if (output.requires_grad())
      output.register_hook([&reached, link, device](const torch::Tensor& /*gradient*/) {
        reached[link] = seconds_now(device);
      });
  }
  const double forward_end = seconds_now(device);
  {  // losses and gradients are outside of autocast, as in a stage
    const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    torch::Tensor root = loss ? loss(output) : output;
    if (!root.requires_grad()) return step;
    const torch::Tensor gradient = torch::ones_like(root);
    output.reset();
    torch::autograd::backward({root}, {gradient});
  }
  const double end = seconds_now(device);
  if (loss) step.loss = reached.back() - forward_end;
  // A link that hands its input on, or whose input wants no gradient, is done at once.
  for (std::size_t link = chain.size(); link-- > 0;) {
    const double done = link == 0 || reached[link - 1] == 0 ? end : reached[link - 1];
    if (reached[link] > 0) step.links[link].backward = std::max(0.0, done - reached[link]);
  }
  return step;
}

StepSeconds median_of(const std::vector<StepSeconds>& rounds) {
  return reduced(rounds, [](const std::vector<double>& values) { return median_seconds(values); });
}

StepSeconds mean_of(const std::vector<StepSeconds>& rounds) {
  return reduced(rounds, [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  });
}

StepSeconds blended(const StepSeconds& first, const StepSeconds& second, double share) {
  return reduced({first, second}, [share](const std::vector<double>& values) {
    return (1 - share) * values[0] + share * values[1];
  });
}

void take_seconds(NetworkCosts& costs, const StepSeconds& step) {
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    LayerCosts& layer = costs.layers[link];
    const StepSeconds::Link& seconds = step.links.at(link);
    const double work = layer.backward_s - layer.backward_exchange_s;
    const double grown = work > 0 ? seconds.backward / work : 1;
    layer.weight_s = std::min(layer.weight_s * grown, seconds.backward);
    layer.forward_s = seconds.forward;
    layer.backward_s = seconds.backward;
  }
  costs.loss_s = step.loss;
}

}  // namespace lamp
