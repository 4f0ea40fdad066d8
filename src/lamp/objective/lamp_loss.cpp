// Forward: four sums for each sample and class. Backward, from dL/dp_c = b_c + a_c [c is the label]
// plus the focal part, which touches only the label's class t:
//   dL/dz_c = p_c (b_c - r) + q [c = t],   r = q + sum_c b_c p_c,   q = p_t (a_t + focal'(p_t))
#include "lamp/objective/lamp_loss.h"

#include <torch/autograd.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <vector>

namespace lamp {
namespace {

constexpr double kLampSmooth = 1e-5;
// Voxels taken together: small enough that the temporaries of many classes stay small, large enough
// to keep a GPU busy.
constexpr std::int64_t kSlabVoxels = std::int64_t{1} << 20;

// The voxels of one slab of one sample that a scan showed. Everything of compute_type.
struct Slab {
  std::int64_t sample;
  std::int64_t first, voxels;           // of the slab within the sample, with those not seen
  std::optional<torch::Tensor> places;  // [v] int64 within the slab; none = v is all of it
  torch::Tensor p;                      // [C, v] softmax
  torch::Tensor index;                  // [1, v] int64, the label
  torch::Tensor p_label;                // [1, v] probability of the label
  torch::Tensor log_label;  // [1, v] its logarithm, finite where the probability underflows
};

struct Slabs {
  torch::Tensor logits;  // [N, C, V]
  torch::Tensor labels;  // [N, V]

  Slabs(const torch::Tensor& all_logits, const torch::Tensor& all_labels)
      : logits(all_logits.flatten(2)), labels(all_labels.flatten(1)) {}

  void for_each(const std::function<void(const Slab&)>& body) const {
    const std::int64_t voxels = logits.size(2);
    for (std::int64_t n = 0; n < logits.size(0); ++n) {
      for (std::int64_t first = 0; first < voxels; first += kSlabVoxels) {
        const std::int64_t count = std::min(kSlabVoxels, voxels - first);
        const SeenVoxels seen =
            seen_voxels(logits[n].narrow(1, first, count), labels[n].narrow(0, first, count));
        torch::Tensor p = torch::log_softmax(seen.logits, 0, compute_type(logits));
        const torch::Tensor index = seen.labels.unsqueeze(0);
        const torch::Tensor log_label = p.gather(0, index);
        p.exp_();
        body({n, first, count, seen.places, p, index, log_label.exp(), log_label});
      }
    }
  }
};

struct ClassSums {
  torch::Tensor overlap, predicted, labelled, focal;  // [N, C]
  torch::Tensor voxels;                               // [N, 1], 1 where no scan showed any

  explicit ClassSums(const LossInput& input) {
    const torch::Tensor &logits = input.logits, &labels = input.labels;
    const std::int64_t classes = logits.size(1);
    const auto options = logits.options().dtype(compute_type(logits));
    const std::array<std::int64_t, 2> shape = {logits.size(0), classes};
    overlap = torch::zeros(shape, options);
    predicted = torch::zeros(shape, options);
    labelled = torch::zeros(shape, options);
    focal = torch::zeros(shape, options);
    Slabs(logits, labels).for_each([&](const Slab& slab) {
      predicted[slab.sample] += slab.p.sum(1);
      const torch::Tensor penalty = (1 - slab.p_label).square_().mul_(slab.log_label).neg_();
      for (std::int64_t c = 0; c < classes; ++c) {
        const torch::Tensor y = indicator(slab.index, c, slab.p.scalar_type());
        labelled[slab.sample][c] += y.sum();
        overlap[slab.sample][c] += (y * slab.p_label).sum();
        focal[slab.sample][c] += (y * penalty).sum();
      }
    });
    std::vector<double> counts;
    for (std::int64_t n = 0; n < logits.size(0); ++n)
      counts.push_back(divisor(seen_count(input, n)));
    voxels = torch::tensor(counts, torch::kFloat64).unsqueeze(1).to(options);
    if (input.slab != nullptr) complete(*input.slab);
  }

 private:
  void complete(const LossSlab& slab) {
    const torch::Tensor all = slab.sum(torch::stack({overlap, predicted, labelled, focal}));
    overlap = all[0];
    predicted = all[1];
    labelled = all[2];
    focal = all[3];
  }
};

struct LampGradient {
  torch::Tensor a, b, f;  // [N, C]: factors of p y, of p and of the focal penalty
};

torch::Tensor logits_gradient(const torch::Tensor& logits, const torch::Tensor& labels,
                              const LampGradient& factors) {
  torch::Tensor gradient = torch::empty_like(logits, logits.suggest_memory_format());
  torch::Tensor flat = gradient.flatten(2);
  TORCH_INTERNAL_ASSERT(flat.is_alias_of(gradient));
  Slabs(logits, labels).for_each([&](const Slab& slab) {
    const torch::Tensor label = slab.index.squeeze(0);
    const torch::Tensor& p = slab.p_label;
    const torch::Tensor rest = 1 - p;
    // p times the derivative of -(1 - p)^2 log p, which stays finite where p vanishes
    torch::Tensor q = (2 * p * slab.log_label - rest).mul_(rest);
    q.mul_(factors.f[slab.sample].index_select(0, label));  // [1, v] by [v]
    q.add_(factors.a[slab.sample].index_select(0, label) * p);
    const torch::Tensor b = factors.b[slab.sample].unsqueeze(1);  // [C, 1]
    const torch::Tensor r = (b * slab.p).sum(0, /*keepdim=*/true).add_(q);
    torch::Tensor part = (b - r).mul_(slab.p);
    part.scatter_add_(0, slab.index, q);
    torch::Tensor out = flat[slab.sample].narrow(1, slab.first, slab.voxels);
    if (slab.places)
      out.zero_().index_copy_(1, *slab.places, part.to(out.scalar_type()));
    else
      out.copy_(part);
  });
  return gradient;
}

class LampFunction : public torch::autograd::Function<LampFunction> {
 public:
  static torch::Tensor forward(torch::autograd::AutogradContext* context,
                               const torch::Tensor& logits, const torch::Tensor& labels,
                               const torch::Tensor& weights, double dice_weight,
                               double focal_weight, const LossSlab* slab) {
    const ClassSums sums(LossInput{logits, labels, weights, slab});
    const torch::Tensor scale = weights / static_cast<double>(weights.numel());
    const torch::Tensor size = sums.predicted + sums.labelled + kLampSmooth;
    const torch::Tensor twice = 2 * sums.overlap + kLampSmooth;
    context->save_for_backward({logits, labels, scale * (-2 * dice_weight) / size,
                                scale * dice_weight * twice / size.square(),
                                scale * focal_weight / sums.voxels});
    return (scale * (dice_weight * (1 - twice / size) + focal_weight * sums.focal / sums.voxels))
        .sum();
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list outputs) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& above = outputs[0];
    const LampGradient factors{saved[2] * above, saved[3] * above, saved[4] * above};
    return {logits_gradient(saved[0], saved[1], factors), {}, {}, {}, {}, {}};
  }
};

}  // namespace

LampTerms lamp_terms(const torch::Tensor& logits, const torch::Tensor& labels) {
  check_loss_input(logits, labels);
  const torch::NoGradGuard no_grad;
  const ClassSums sums(LossInput{logits, labels, {}});
  return {1 - (2 * sums.overlap + kLampSmooth) / (sums.predicted + sums.labelled + kLampSmooth),
          sums.focal / sums.voxels};
}

torch::Tensor lamp_loss(const LossInput& input, double dice_weight, double focal_weight) {
  return LampFunction::apply(input.logits, input.labels, input.weights, dice_weight, focal_weight,
                             input.slab);
}

}  // namespace lamp
