// Link by link, with a counter in between.
#include "lamp/profile/measured_forward.h"

#include <map>
#include <string>
#include <utility>

#include "lamp/base/memory_counter.h"
#include "lamp/planner/forward_pass.h"
#include "lamp/profile/tensor_bytes.h"

namespace lamp {
namespace {

class MeasuredSkips : public LocalSkips {
 public:
  void stash(const std::string& name, torch::Tensor tensor) override {
    stashed[name] = {bytes_of(tensor), tensor.storage().data_ptr().get()};
    LocalSkips::stash(name, std::move(tensor));
  }
  std::map<std::string, std::pair<std::int64_t, const void*>> stashed;
};

}  // namespace

MeasuredForward measure_forward(Sequence& chain, torch::Tensor input) {
  const c10::Device device = input.device();
  MeasuredForward measured;
  NetworkCosts& costs = measured.costs;
  costs.samples = input.size(0);
  costs.input_bytes = bytes_of(input);
  const std::int64_t before = allocated_bytes(device) - costs.input_bytes;
  std::vector<std::int64_t> peaks;
  MeasuredSkips skips;
  torch::Tensor tensor = std::move(input);
  for (std::size_t link = 0; link < chain.size(); ++link) {
    measured.input_slices.push_back(tensor.size(1) * tensor.size(2) * tensor.size(3));
    reset_peak_bytes(device);
    tensor = chain.run(std::move(tensor), link, link + 1, skips);
    peaks.push_back(peak_bytes(device) - before);
    costs.layers.push_back({.name = chain.names()[link], .output_bytes = bytes_of(tensor)});
    for (const Skip& skip : chain.skips())
      if (skip.from == link) {
        const auto& [bytes, memory] = skips.stashed.at(skip.name);
        costs.skips.push_back(
            {skip.name, skip.from, skip.to, bytes, memory == tensor.storage().data_ptr().get()});
      }
  }
  // What the model does not know is workspace.
  const auto known = forward_pass_bytes(costs, {0, chain.size()});
  for (std::size_t link = 0; link < chain.size(); ++link)
    costs.layers[link].forward_workspace_bytes =
        peaks[link] - known[link] - (link == 0 ? costs.input_bytes : 0);
  return measured;
}

}  // namespace lamp
