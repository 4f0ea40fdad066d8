// torch knows these kernels through its dispatcher only (its compiler uses them), so they are
// looked up by name and signature.
#include "lamp/nets/packed_conv.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/utils.h>

#include <map>
#include <mutex>
#include <string_view>
#include <tuple>

#include "lamp/nets/conv_pieces.h"

namespace lamp {
namespace {

using Sizes = c10::IntArrayRef;
using Bias = std::optional<torch::Tensor>;
using Scalars = c10::List<std::optional<c10::Scalar>>;
using Algorithm = std::optional<std::string_view>;

using Plain = torch::Tensor(const torch::Tensor&, const torch::Tensor&, const Bias&, Sizes, Sizes,
                            Sizes, std::int64_t, std::string_view, Scalars, Algorithm);
using Transposed = torch::Tensor(const torch::Tensor&, const torch::Tensor&, const Bias&, Sizes,
                                 Sizes, Sizes, Sizes, std::int64_t, std::string_view, Scalars,
                                 Algorithm);
using PackPlain = torch::Tensor(const torch::Tensor&, Sizes, Sizes, Sizes, std::int64_t,
                                at::OptionalIntArrayRef);
using PackTransposed = torch::Tensor(const torch::Tensor&, Sizes, Sizes, Sizes, Sizes, std::int64_t,
                                     at::OptionalIntArrayRef);

template <typename Signature>
std::optional<c10::TypedOperatorHandle<Signature>> kernel(const char* name) {
  const auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  try {
    return found->typed<Signature>();
  } catch (const c10::Error&) {  // another signature than this program knows
    return std::nullopt;
  }
}

struct Kernels {
  std::optional<c10::TypedOperatorHandle<Plain>> plain =
      kernel<Plain>("mkldnn::_convolution_pointwise");
  std::optional<c10::TypedOperatorHandle<Transposed>> transposed =
      kernel<Transposed>("mkldnn::_convolution_transpose_pointwise");
  std::optional<c10::TypedOperatorHandle<PackPlain>> pack_plain =
      kernel<PackPlain>("mkldnn::_reorder_convolution_weight");
  std::optional<c10::TypedOperatorHandle<PackTransposed>> pack_transposed =
      kernel<PackTransposed>("mkldnn::_reorder_convolution_transpose_weight");

  bool all() const { return plain && transposed && pack_plain && pack_transposed; }
};

const Kernels& kernels() {
  static const Kernels kFound;
  return kFound;
}

torch::Tensor packed_weight(const torch::Tensor& weight, const ConvGeometry& geometry,
                            Sizes input) {
  const torch::Tensor plain = weight.detach().contiguous();
  if (geometry.transposed)
    return kernels().pack_transposed->call(plain, geometry.padding, kZeros, geometry.stride, kOnes,
                                           1, input);
  return kernels().pack_plain->call(plain, geometry.padding, geometry.stride, kOnes, 1, input);
}

// Copies that somebody holds, by the weights that they are of; those hold the weights too.
class SharedPacks {
 public:
  static SharedPacks& of_process() {
    static SharedPacks packs;
    return packs;
  }

  std::shared_ptr<const torch::Tensor> get(const torch::Tensor& weight,
                                           const ConvGeometry& geometry, Sizes input) {
    const std::lock_guard lock(mutex_);
    std::erase_if(packs_, [](const auto& entry) { return entry.second.expired(); });
    const auto version = weight.is_inference() ? 0 : weight._version();
    auto& known = packs_[{weight.const_data_ptr(), geometry.transposed, version}];
    std::shared_ptr<const torch::Tensor> pack = known.lock();
    if (pack == nullptr) {
      pack = std::make_shared<const torch::Tensor>(packed_weight(weight, geometry, input));
      known = pack;
    }
    return pack;
  }

 private:
  std::mutex mutex_;
  // By address and version of the weights; guarded by mutex_.
  std::map<std::tuple<const void*, bool, std::int64_t>, std::weak_ptr<const torch::Tensor>> packs_;
};

}  // namespace

void PackedConvolution::pack(const torch::Tensor& input, const torch::Tensor& weight,
                             const ConvGeometry& geometry) {
  if (packed_ != nullptr && source_.data() == weight.storage().data()) return;
  packed_ = SharedPacks::of_process().get(weight, geometry, input.sizes());
  source_ = weight.storage();
}

torch::Tensor PackedConvolution::run(const torch::Tensor& input, const torch::Tensor& weight,
                                     const torch::Tensor& bias, const ConvGeometry& geometry,
                                     std::optional<double> slope) {
  constexpr auto kLast = at::MemoryFormat::ChannelsLast3d;
  if (torch::GradMode::is_enabled() || !runs_on_onednn(input, weight) || !kernels().all() ||
      is_too_large(input.sizes(), weight.sizes(), geometry) ||
      (input.suggest_memory_format() != kLast && weight.suggest_memory_format() != kLast))
    return {};
  pack(input, weight, geometry);
  const torch::Tensor x = input.contiguous(kLast);
  const Bias b = bias.defined() ? Bias(bias) : std::nullopt;
  const std::string_view after = slope ? "leaky_relu" : "none";
  Scalars scalars;
  if (slope) scalars.push_back(c10::Scalar(*slope));
  return geometry.transposed
             ? kernels().transposed->call(x, *packed_, b, geometry.padding, kZeros, geometry.stride,
                                          kOnes, 1, after, scalars, "")
             : kernels().plain->call(x, *packed_, b, geometry.padding, geometry.stride, kOnes, 1,
                                     after, scalars, "");
}

}  // namespace lamp
