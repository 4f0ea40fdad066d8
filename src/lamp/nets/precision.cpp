// Autocast scopes, and the comparison of reduced-precision kernels with fp32.
#include "lamp/nets/precision.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/nets/conv_kernel.h"

namespace lamp {
namespace {

constexpr double kTolerance = 0.02;  // bf16 rounds to 2^-9
constexpr std::int64_t kLargestChecked = std::int64_t{1} << 22;
constexpr std::int64_t kSmallVoxels = 512;  // where a check costs next to nothing

struct Results {
  torch::Tensor output, input_gradient, weight_gradient;
};

Results run_kernel(const KernelShape& shape, const torch::Tensor& input,
                   const torch::Tensor& weight, const torch::Tensor& gradient) {
  const torch::AutoGradMode with_gradients(!shape.forward_only);
  const torch::Tensor x = input.detach().requires_grad_(!shape.forward_only);
  const torch::Tensor w = weight.detach().requires_grad_(!shape.forward_only);
  const std::vector<std::int64_t> ones(3, 1), zeros(3, 0);
  torch::Tensor y =
      torch::convolution(x, w, {}, shape.stride, shape.padding, ones, shape.transposed, zeros, 1);
  if (shape.forward_only) return {.output = y};
  y.backward(gradient.to(y.scalar_type()));
  return {y.detach(), x.grad(), w.grad()};
}

bool close(const torch::Tensor& reduced, const torch::Tensor& exact) {
  const torch::Tensor difference = reduced.to(torch::kFloat32) - exact;
  const double error =
      difference.norm().item<double>() / std::max(exact.norm().item<double>(), 1e-20);
  return error <= kTolerance;  // false for NaN
}

// The same parity and at least 8 voxels an axis, so that the kernel meets the same borders.
std::vector<std::int64_t> affordable(std::vector<std::int64_t> input) {
  const auto elements = [&] { return input[0] * input[1] * input[2] * input[3] * input[4]; };
  for (bool shrunk = true; shrunk && elements() > kLargestChecked;) {
    shrunk = false;
    for (int axis = 2; axis < 5; ++axis) {
      if (input[axis] < 18 || elements() <= kLargestChecked) continue;
      input[axis] = input[axis] / 4 * 2 + input[axis] % 2;
      shrunk = true;
    }
  }
  return input;
}

// What stands for all sizes of an input in prediction.
KernelShape representative(KernelShape shape) {
  shape.input[0] = std::min<std::int64_t>(shape.input[0], 2);
  const std::int64_t longest = shape.input[1] <= 32 ? 16 : 8;
  for (std::size_t axis = 2; axis < 5; ++axis)
    if (shape.input[axis] > longest) shape.input[axis] = longest + shape.input[axis] % 2;
  return shape;
}

// The weight gradient of which a check could miss the fault, because it comes and goes.
bool known_bad(const KernelShape& shape) {
  return !shape.forward_only && shape.device.is_cpu() && shape.dtype == torch::kBFloat16 &&
         shape.channels_last && shape.input[2] * shape.input[3] * shape.input[4] <= 64;
}

bool agree(const KernelShape& shape, const Results& reduced, const Results& exact) {
  return close(reduced.output, exact.output) &&
         (shape.forward_only || (close(reduced.input_gradient, exact.input_gradient) &&
                                 close(reduced.weight_gradient, exact.weight_gradient)));
}

using Key = std::tuple<bool, std::vector<std::int64_t>, std::vector<std::int64_t>,
                       std::vector<std::int64_t>, int, int, bool, bool>;

Key key_of(const KernelShape& shape) {
  return {shape.transposed,
          shape.input,
          shape.weight,
          shape.stride,
          static_cast<int>(shape.dtype),
          static_cast<int>(shape.device.type()) * 256 + shape.device.index(),
          shape.channels_last,
          shape.forward_only};
}

}  // namespace

Precision parse_precision(const std::string& name, c10::DeviceType device) {
  if (name == "fp32") return Precision::kFp32;
  if (name == "bf16") return Precision::kBf16;
  if (name != "fp16")
    throw UsageError(setting_name("execution.precision") + ": found \"" + shortened(name) +
                     "\", expected fp32, bf16 or fp16");
  if (device == c10::kCPU)
    throw UsageError(setting_to("execution.precision", "fp16") +
                     " needs a GPU; on the CPU use bf16 or fp32");
  return Precision::kFp16;
}

std::string to_string(Precision precision) {
  return precision == Precision::kFp32 ? "fp32" : precision == Precision::kBf16 ? "bf16" : "fp16";
}

at::ScalarType dtype_of(Precision precision) {
  return precision == Precision::kFp32   ? torch::kFloat32
         : precision == Precision::kBf16 ? torch::kBFloat16
                                         : torch::kFloat16;
}

Bf16Support bf16_support(c10::Device device) {
  if (!device.is_cpu()) {
    const bool is_fast = at::detail::getCUDAHooks().supportsBFloat16ConvolutionWithCuDNNv8();
    return {is_fast,
            is_fast ? "this GPU has bf16 convolutions" : "this GPU has no bf16 convolutions"};
  }
#ifdef __x86_64__
  // Every CPU with AMX has these instructions as well.
  if (__builtin_cpu_supports("avx512bf16") != 0)
    return {true, "this CPU multiplies bf16 (AVX512-BF16)"};
#endif
  return {false, "this CPU does not multiply bf16 itself"};
}

PrecisionScope::PrecisionScope(Precision precision, c10::Device device)
    : device_(device.type()), active_(precision != Precision::kFp32) {
  if (!active_) return;
  before_ = at::autocast::is_autocast_enabled(device_);
  dtype_before_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(device_, dtype_of(precision));
  at::autocast::increment_nesting();
}

PrecisionScope::~PrecisionScope() {
  if (!active_) return;
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, before_);
  at::autocast::set_autocast_dtype(device_, dtype_before_);
}

bool check_kernel(const KernelShape& shape, double fault) {
  const c10::InferenceMode with_gradients(false);  // the caller may be predicting
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const auto size = affordable(shape.input);
  const auto layout =
      shape.channels_last ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::Contiguous;
  const std::int64_t voxels = size[2] * size[3] * size[4];
  const int rounds = shape.forward_only ? 2 : voxels <= kSmallVoxels ? 24 : 1;
  for (int round = 0; round < rounds; ++round) {
    const auto generator =
        at::make_generator<at::CPUGeneratorImpl>(static_cast<std::uint64_t>(round) + 1);
    const auto draw = [&](const std::vector<std::int64_t>& sizes) {
      return torch::randn(sizes, generator).to(shape.device).to(shape.dtype).contiguous(layout);
    };
    const torch::Tensor input = draw(size);
    const torch::Tensor weight = draw(shape.weight);
    const torch::Tensor gradient =
        draw(output_sizes(size, shape.weight, {shape.stride, shape.padding, shape.transposed}));
    Results reduced = run_kernel(shape, input, weight, gradient);
    torch::Tensor& last = shape.forward_only ? reduced.output : reduced.weight_gradient;
    if (fault != 0) last[0][0][0][0][0] += fault;
    const Results exact =
        run_kernel(shape, input.to(torch::kFloat32), weight.to(torch::kFloat32), gradient);
    if (!agree(shape, reduced, exact)) return false;
  }
  return true;
}

bool kernel_agrees(const KernelShape& asked) {
  static std::mutex mutex;
  static std::map<Key, bool> verdicts;
  const KernelShape shape = asked.forward_only ? representative(asked) : asked;
  const std::lock_guard lock(mutex);
  const auto [entry, fresh] = verdicts.try_emplace(key_of(shape), false);
  if (!fresh) return entry->second;
  if (!known_bad(shape)) entry->second = check_kernel(shape);
  if (!entry->second) {
    log_warning_once(c10::str(
        "the ", c10::toString(shape.dtype), " convolution of ", torch::IntArrayRef(shape.input),
        " with ", torch::IntArrayRef(shape.weight), " is not trusted here: it runs in fp32"));
  }
  return entry->second;
}

}  // namespace lamp
