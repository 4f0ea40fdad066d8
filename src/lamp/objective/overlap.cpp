// Label maps are long runs of equal values, so the pass goes from run to run, not voxel by voxel.
#include "lamp/objective/overlap.h"

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <mutex>

namespace lamp {
namespace {

void include(VoxelBox& box, const VoxelBox& other) {
  if (other.empty()) return;
  if (box.empty()) {
    box = other;
    return;
  }
  for (int axis = 0; axis < 3; ++axis) {
    box.first[axis] = std::min(box.first[axis], other.first[axis]);
    box.last[axis] = std::max(box.last[axis], other.last[axis]);
  }
}

using Counts = std::map<std::int64_t, LabelOverlap>;

void add_run(Counts& counts, std::int64_t predicted, std::int64_t reference, const VoxelBox& run) {
  const std::int64_t length = run.last[2] - run.first[2];
  LabelOverlap& found = counts[predicted];
  found.n_pred += length;
  if (predicted == reference) found.true_positive += length;
  include(found.box, run);
  LabelOverlap& expected = counts[reference];
  expected.n_ref += length;
  if (predicted != reference) include(expected.box, run);
}

template <typename T>
Counts count_slices(const T* predicted, const T* reference, at::IntArrayRef sizes,
                    std::int64_t begin, std::int64_t end) {
  Counts counts;
  const std::int64_t height = sizes[1], width = sizes[2];
  for (std::int64_t z = begin; z < end; ++z) {
    for (std::int64_t y = 0; y < height; ++y) {
      const T* p = predicted + (z * height + y) * width;
      const T* r = reference + (z * height + y) * width;
      for (std::int64_t x = 0; x < width;) {
        const std::int64_t start = x;
        while (++x < width && p[x] == p[start] && r[x] == r[start]) {
        }
        add_run(counts, p[start], r[start], {{z, y, start}, {z + 1, y + 1, x}});
      }
    }
  }
  return counts;
}

void add_counts(Counts& sum, const Counts& part) {
  for (const auto& [label, more] : part) {
    LabelOverlap& total = sum[label];
    total.true_positive += more.true_positive;
    total.n_pred += more.n_pred;
    total.n_ref += more.n_ref;
    include(total.box, more.box);
  }
}

void check_maps(const torch::Tensor& predicted, const torch::Tensor& reference) {
  TORCH_CHECK(predicted.dim() == 3 && predicted.sizes() == reference.sizes(),
              "count_overlap: expected two [D, H, W] maps of one shape, got ", predicted.sizes(),
              " and ", reference.sizes());
  TORCH_CHECK(predicted.device().is_cpu() && reference.device().is_cpu(),
              "count_overlap: expected label maps on the CPU");
  TORCH_CHECK(at::isIntegralType(predicted.scalar_type(), false) &&
                  at::isIntegralType(reference.scalar_type(), false),
              "count_overlap: expected integers, got ", predicted.scalar_type(), " and ",
              reference.scalar_type());
}

}  // namespace

double LabelOverlap::dice() const {
  if (n_pred + n_ref == 0) return std::numeric_limits<double>::quiet_NaN();
  return 2.0 * static_cast<double>(true_positive) / static_cast<double>(n_pred + n_ref);
}

double LabelOverlap::iou() const {
  if (n_pred + n_ref == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(true_positive) / static_cast<double>(n_pred + n_ref - true_positive);
}

std::map<std::int64_t, LabelOverlap> count_overlap(const torch::Tensor& predicted,
                                                   const torch::Tensor& reference) {
  check_maps(predicted, reference);
  const auto type = at::promote_types(predicted.scalar_type(), reference.scalar_type());
  const torch::Tensor p = predicted.to(type).contiguous(), r = reference.to(type).contiguous();
  Counts counts;
  std::mutex mutex;
  AT_DISPATCH_INTEGRAL_TYPES(type, "count_overlap", [&] {
    const auto* found = p.const_data_ptr<scalar_t>();
    const auto* expected = r.const_data_ptr<scalar_t>();
    at::parallel_for(0, p.size(0), 4, [&](std::int64_t begin, std::int64_t end) {
      const Counts part = count_slices(found, expected, p.sizes(), begin, end);
      const std::lock_guard lock(mutex);
      add_counts(counts, part);
    });
  });
  for (auto& [label, overlap] : counts) overlap.voxels = p.numel();
  return counts;
}

}  // namespace lamp
