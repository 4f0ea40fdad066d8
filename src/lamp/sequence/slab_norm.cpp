// torch's kernels for statistics, for the transformation and for the sums of the backward pass;
// what goes between them are sums over slabs of a few numbers a channel.
#include "lamp/sequence/slab_norm.h"

#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/custom_class.h>
#include <torch/utils.h>

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "lamp/sequence/batch_norm.h"

namespace lamp {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kLeastValues = 1 << 15;  // for a thread

struct SlabNorm : torch::CustomClassHolder {
  std::shared_ptr<SlabGroup> group;
  torch::Tensor mean, variance;  // [C], of the volumes
  double count;                  // values a channel of the volumes
  double eps;
};

at::ScalarType statistics_type(const torch::Tensor& input) {
  return input.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

torch::Tensor by_channel(const torch::Tensor& factors) { return factors.view({1, -1, 1, 1, 1}); }

// How fp32 on a CPU lies in memory, if in one piece.
std::optional<at::MemoryFormat> common_layout(const torch::Tensor& input,
                                              const torch::Tensor& output) {
  const bool is_plain = input.is_cpu() && input.scalar_type() == torch::kFloat32 &&
                        output.scalar_type() == torch::kFloat32;
  for (const auto format : {at::MemoryFormat::ChannelsLast3d, at::MemoryFormat::Contiguous})
    if (is_plain && input.is_contiguous(format)) return format;
  return std::nullopt;
}

// Of the formula below, [C] each: a (dy - g - (x - mean) h).
struct GradientFactors {
  torch::Tensor mean, g, h, a;
};

// fp32 on a CPU, in one pass over memory where torch's operations would take several.
torch::Tensor in_one_pass(const torch::Tensor& output, const torch::Tensor& input,
                          const GradientFactors& factors, at::MemoryFormat format) {
  torch::Tensor result = torch::empty_like(input, format);
  const auto values = [](const torch::Tensor& of) { return of.const_data_ptr<float>(); };
  const float *dy = values(output), *x = values(input), *mean = values(factors.mean),
              *g = values(factors.g), *h = values(factors.h), *a = values(factors.a);
  float* to = result.mutable_data_ptr<float>();
  const std::int64_t channels = factors.a.numel();
  const bool last = format == at::MemoryFormat::ChannelsLast3d;
  const std::int64_t row = last ? channels : result.numel() / result.size(0) / channels;
  at::parallel_for(0, result.numel() / row, 1 + kLeastValues / row, [&](auto begin, auto end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t at = i * row, c = i % channels;
      if (last)
        for (std::int64_t k = 0; k < row; ++k)
          to[at + k] = (dy[at + k] - g[k] - (x[at + k] - mean[k]) * h[k]) * a[k];
      else
        for (std::int64_t k = 0; k < row; ++k)
          to[at + k] = (dy[at + k] - g[c] - (x[at + k] - mean[c]) * h[c]) * a[c];
    }
  });
  return result;
}

// With a = weight / sqrt(variance + eps), g and m the means over the volumes of dy and dy xhat, and
// h = m / sqrt(variance + eps):
//   dx = a (dy - g - xhat m) = a (dy - g - (x - mean) h).
torch::Tensor input_gradient(const SlabNorm& norm, const torch::Tensor& output,
                             const torch::Tensor& input, const torch::Tensor& weight,
                             const torch::Tensor& sums) {
  const torch::Tensor scale = (norm.variance.to(torch::kFloat64) + norm.eps).rsqrt();
  const torch::Tensor a = weight.defined() ? scale * weight : scale;
  const torch::Tensor g = sums[0] / norm.count, h = scale * sums[1] / norm.count;
  const auto type = statistics_type(input);
  const auto factor = [&](const torch::Tensor& values) { return values.to(type).contiguous(); };
  if (const auto format = common_layout(input, output); format && input.numel() > 0)
    return in_one_pass(output.contiguous(*format), input,
                       {factor(norm.mean), factor(g), factor(h), factor(a)}, *format);
  const torch::Tensor c = a * (norm.mean * h - g);
  torch::Tensor gradient = torch::addcmul(by_channel(factor(c)), input, by_channel(factor(-a * h)));
  return gradient.addcmul_(output, by_channel(factor(a))).to(input.scalar_type());
}

struct NormOnSlab : torch::autograd::Function<NormOnSlab> {
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const std::optional<torch::Tensor>& weight,
                               const std::optional<torch::Tensor>& bias,
                               const c10::intrusive_ptr<SlabNorm>& norm) {
    context->save_for_backward({input, weight.value_or(torch::Tensor())});
    context->saved_data["norm"] = c10::IValue::make_capsule(norm);
    return std::get<0>(torch::native_batch_norm(input, weight, bias, norm->mean, norm->variance,
                                                /*training=*/false, /*momentum=*/0, norm->eps));
  }

  static variable_list backward(AutogradContext* context, const variable_list& outputs) {
    const torch::NoGradGuard no_graph;
    const auto saved = context->get_saved_variables();
    const auto norm =
        c10::static_intrusive_pointer_cast<SlabNorm>(context->saved_data["norm"].toCapsule());
    const torch::Tensor &input = saved[0], &weight = saved[1];
    const auto [ignored, of_weight, of_bias] = torch::native_batch_norm_backward(
        outputs[0], input, weight, norm->mean, norm->variance, torch::Tensor(), torch::Tensor(),
        /*train=*/false, norm->eps, std::array<bool, 3>{false, true, true});
    const torch::Tensor sums = sum_over_slabs(
        *norm->group, torch::stack({of_bias.to(torch::kFloat64), of_weight.to(torch::kFloat64)}));
    torch::Tensor of_input;
    if (context->needs_input_grad(0))
      of_input = input_gradient(*norm, outputs[0], input, weight, sums);
    const bool affine = weight.defined();
    return {of_input, affine ? of_weight : torch::Tensor(), affine ? of_bias : torch::Tensor(),
            torch::Tensor()};
  }
};

std::optional<torch::Tensor> if_defined(const torch::Tensor& tensor) {
  return tensor.defined() ? std::optional(tensor) : std::nullopt;
}

}  // namespace

NormStatistics statistics_of_slabs(const torch::Tensor& input, const torch::Tensor& like,
                                   RunContext& run) {
  const torch::NoGradGuard no_graph;
  SlabGroup& group = *run.slabs;
  const torch::Tensor running =
      like.defined() ? like
                     : torch::empty({input.size(1)}, input.options().dtype(statistics_type(input)));
  const auto [mean, variance] = torch::batch_norm_update_stats(
      input.detach(), torch::zeros_like(running), torch::ones_like(running), /*momentum=*/1);
  const auto owned = group.cut().owned(run.planes);
  const std::int64_t plane = input.numel() / input.size(1) / input.size(group.axis());
  const torch::Tensor own = torch::stack({mean.to(torch::kFloat64), variance.to(torch::kFloat64)});
  const auto all =
      group.all_to_all(std::vector<torch::Tensor>(static_cast<std::size_t>(group.size()), own));
  std::vector<NormStatistics> parts;
  for (std::size_t slab = 0; slab < all.size(); ++slab) {
    const std::int64_t count = plane * owned[slab].count();
    parts.push_back({.norm = nullptr,
                     .count = count,
                     .mean = all[slab][0],
                     .deviation = all[slab][1] * static_cast<double>(count)});
  }
  return merged(parts);
}

torch::Tensor norm_on_slab(const torch::Tensor& input, const torch::Tensor& weight,
                           const torch::Tensor& bias, const NormStatistics& volume, double eps,
                           const std::shared_ptr<SlabGroup>& group) {
  auto norm = c10::make_intrusive<SlabNorm>();
  norm->group = group;
  norm->count = static_cast<double>(volume.count);
  norm->mean = volume.mean.to(statistics_type(input));
  norm->variance = (volume.deviation / norm->count).to(statistics_type(input));
  norm->eps = eps;
  return NormOnSlab::apply(input, if_defined(weight), if_defined(bias), norm);
}

}  // namespace lamp
