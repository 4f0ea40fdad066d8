// The typical work: a transposed convolution and a 3^3 convolution at the network's width, as in
// the upper decoders, where most of the time goes.
#include "lamp/nets/layout_choice.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <map>
#include <mutex>
#include <tuple>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/nets/conv_kernel.h"

namespace lamp {
namespace {

constexpr int kRounds = 4;
constexpr double kClearly = 1.2;
constexpr std::int64_t kSide = 24;  // voxels
// In between, widths are measured; narrower networks are too quick for a sure answer.
constexpr std::int64_t kNarrowest = 32;
constexpr std::int64_t kWidest = 128;

std::int64_t measured_width(std::int64_t width) { return std::clamp(width, kNarrowest, kWidest); }

class TypicalWork {
 public:
  TypicalWork(const LayoutQuestion& question, Layout layout) : question_(question) {
    const std::int64_t width = measured_width(question.width);
    const auto options =
        torch::TensorOptions().device(question.device).dtype(dtype_of(question.precision));
    const auto filled = [&](const std::vector<std::int64_t>& size) {
      return torch::full(size, 0.01, options).contiguous(memory_format(layout));
    };
    image_ = filled({1, 2 * width, kSide / 2, kSide / 2, kSide / 2});
    up_ = filled({2 * width, width, 2, 2, 2});
    conv_ = filled({width, width, 3, 3, 3});
  }

  double seconds() const {
    const auto start = std::chrono::steady_clock::now();
    const torch::NoGradGuard no_graph;
    const torch::Tensor middle = convolution(image_, up_, {}, kUp);
    const torch::Tensor result = convolution(middle, conv_, {}, kConv);
    if (question_.training) {
      const WantedGradients wanted{.bias = false};
      const torch::Tensor back = convolution_gradients(result, middle, conv_, kConv, wanted).input;
      convolution_gradients(back, image_, up_, kUp, wanted);
    }
    if (!question_.device.is_cpu())
      c10::impl::VirtualGuardImpl(question_.device.type())
          .synchronizeDevice(question_.device.index());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

 private:
  inline static const ConvGeometry kUp{{2, 2, 2}, {0, 0, 0}, true};
  inline static const ConvGeometry kConv{{1, 1, 1}, {1, 1, 1}, false};

  LayoutQuestion question_;
  torch::Tensor image_, up_, conv_;
};

Layout measure(const LayoutQuestion& question) {
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const TypicalWork last(question, Layout::kChannelsLast), first(question, Layout::kContiguous);
  const Layout found = faster_layout(usual_layout(question.device.type()), [&](Layout layout) {
    return (layout == Layout::kChannelsLast ? last : first).seconds();
  });
  log_debug("layout " + to_string(found) + " for width " + std::to_string(question.width) + " in " +
            to_string(question.precision) + " on " + question.device.str());
  return found;
}

Layout measured_layout(const LayoutQuestion& question) {
  using Key = std::tuple<int, int, int, std::int64_t, bool>;
  static std::mutex mutex;
  static std::map<Key, Layout> answers;
  const Key key = {static_cast<int>(question.device.type()), question.device.index(),
                   static_cast<int>(question.precision), measured_width(question.width),
                   question.training};
  const std::lock_guard lock(mutex);
  if (const auto known = answers.find(key); known != answers.end()) return known->second;
  return answers.emplace(key, measure(question)).first->second;
}

}  // namespace

std::string to_string(Layout layout) {
  return layout == Layout::kChannelsLast ? "channels_last" : "contiguous";
}

c10::MemoryFormat memory_format(Layout layout) {
  return layout == Layout::kChannelsLast ? c10::MemoryFormat::ChannelsLast3d
                                         : c10::MemoryFormat::Contiguous;
}

Layout usual_layout(c10::DeviceType device) {
  return device == c10::kCPU ? Layout::kChannelsLast : Layout::kContiguous;
}

Layout faster_layout(Layout usual, const LayoutTimer& seconds) {
  const Layout other = usual == Layout::kChannelsLast ? Layout::kContiguous : Layout::kChannelsLast;
  double best_usual = std::numeric_limits<double>::infinity(), best_other = best_usual;
  for (int round = 0; round <= kRounds; ++round) {
    const double of_usual = seconds(usual), of_other = seconds(other);
    if (round == 0) continue;  // kernels are made at their first use
    if (of_other >= of_usual) return usual;
    best_usual = std::min(best_usual, of_usual);
    best_other = std::min(best_other, of_other);
  }
  return best_other * kClearly < best_usual ? other : usual;
}

Layout choose_layout(const std::string& name, const LayoutQuestion& question) {
  if (name == "auto") return measured_layout(question);
  for (const Layout layout : {Layout::kChannelsLast, Layout::kContiguous})
    if (name == to_string(layout)) return layout;
  throw UsageError("layout: found \"" + shortened(name) +
                   "\", expected auto, channels_last or contiguous");
}

}  // namespace lamp
