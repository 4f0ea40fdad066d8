// Slab after slab, so that memory does not grow with the volume.
#include "lamp/volume/resample.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "lamp/base/beyond_scan.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/volume/grid_sampler.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace {

constexpr std::int64_t kSlabVoxels = 1 << 20;
// Masks that differ by less are equal: their sums are rounded in float32.
constexpr float kTie = 1e-5F;

// Whole numbers of voxels of a grid made from another, by numbers that a file's header has given.
Size3 made_size(const Vector3& voxels, const Geometry& from) {
  constexpr double kMostVoxels = 1e15;                  // more than any memory holds
  if (voxels[0] * voxels[1] * voxels[2] < kMostVoxels)  // false for NaN
    return {static_cast<std::int64_t>(voxels[0]), static_cast<std::int64_t>(voxels[1]),
            static_cast<std::int64_t>(voxels[2])};
  throw DoesNotFit("resampling " + from.describe() + " would make " + six_digits(voxels[0]) + "x" +
                   six_digits(voxels[1]) + "x" + six_digits(voxels[2]) +
                   " voxels, more than any memory holds; ask for larger voxels "
                   "(data.spacing_mm) or correct the file's spacing");
}

// The best label so far of each voxel in a part of the output, [D, H, W] with rows in one piece.
struct Contest {
  torch::Tensor score;   // float32
  torch::Tensor winner;  // any integer type

  // Candidates come in rising order of label, so equals stay with the lower one.
  void enter(const torch::Tensor& candidate, std::int64_t label, float margin) const {
    AT_DISPATCH_INTEGRAL_TYPES(winner.scalar_type(), "contest", [&] {
      enter_rows<scalar_t>(candidate.contiguous(), static_cast<scalar_t>(label), margin);
    });
  }

  template <typename T>
  void enter_rows(const torch::Tensor& candidate, T label, float margin) const {
    const std::int64_t height = score.size(1), width = score.size(2);
    const std::int64_t slice_step = score.stride(0), row_step = score.stride(1);
    const float* in = candidate.data_ptr<float>();
    float* best = score.data_ptr<float>();
    T* won = winner.data_ptr<T>();
    at::parallel_for(0, score.size(0) * height, 1 + 65536 / width, [&](auto begin, auto end) {
      for (std::int64_t r = begin; r < end; ++r) {
        const std::int64_t start = r / height * slice_step + r % height * row_step;
        for (std::int64_t x = 0; x < width; ++x) {
          const float value = in[r * width + x];
          const bool wins = value > best[start + x] + margin;
          best[start + x] = wins ? value : best[start + x];
          won[start + x] = wins ? label : won[start + x];
        }
      }
    });
  }
};

torch::Tensor part_of(const torch::Tensor& volume, const Box& box) {
  return volume.slice(0, box.begin[2], box.end[2])
      .slice(1, box.begin[1], box.end[1])
      .slice(2, box.begin[0], box.end[0]);
}

void grow(Box& box, std::int64_t x_begin, std::int64_t x_end, std::int64_t y, std::int64_t z) {
  box.begin = {std::min(box.begin[0], x_begin), std::min(box.begin[1], y),
               std::min(box.begin[2], z)};
  box.end = {std::max(box.end[0], x_end), std::max(box.end[1], y + 1), std::max(box.end[2], z + 1)};
}

// The box of every label that is present, in one pass over the runs of equal voxels.
template <typename T>
std::map<std::int64_t, Box> label_boxes(const torch::Tensor& labels) {
  std::map<std::int64_t, Box> boxes;
  const T* voxel = labels.data_ptr<T>();
  const std::int64_t width = labels.size(2);
  for (std::int64_t z = 0; z < labels.size(0); ++z) {
    for (std::int64_t y = 0; y < labels.size(1); ++y, voxel += width) {
      for (std::int64_t x = 0, end = 0; x < width; x = end) {
        end = x + 1;
        while (end < width && voxel[end] == voxel[x]) ++end;
        grow(boxes.try_emplace(voxel[x], Box{{x, y, z}, {end, y + 1, z + 1}}).first->second, x, end,
             y, z);
      }
    }
  }
  return boxes;
}

std::map<std::int64_t, Box> label_boxes_of(const torch::Tensor& labels) {
  return AT_DISPATCH_INTEGRAL_TYPES(labels.scalar_type(), "label_boxes",
                                    [&] { return label_boxes<scalar_t>(labels); });
}

torch::Tensor resample_labels(const torch::Tensor& labels, const GridSampler& sampler,
                              const Geometry& to) {
  const Shape3 shape = to.size.dhw();
  const Contest contest{.score = torch::zeros(shape, torch::kFloat32),
                        .winner = torch::zeros(shape, labels.options())};
  for (const auto& [label, source] : label_boxes_of(labels)) {
    for (const Box& slab : sampler.slabs(kSlabVoxels)) {
      const Box box = sampler.reached(slab, source);
      if (box.empty()) continue;
      const Contest part{part_of(contest.score, box), part_of(contest.winner, box)};
      part.enter(sampler.sample_mask(labels, label, box), label, kTie);
    }
  }
  return contest.winner;
}

// Of a number of voxels: spacings carry this much noise at most where a file holds them as decimal
// text, float32 or the lengths of an oblique matrix's columns. A half is then always rounded up, so
// that the same scan has the same grid in every format.
constexpr double kHeaderNoise = 1e-3;

void check_shape(const torch::Tensor& voxels, const Geometry& grid) {
  TORCH_CHECK(voxels.dim() == 4 && voxels.size(1) == grid.size[2] &&
                  voxels.size(2) == grid.size[1] && voxels.size(3) == grid.size[0],
              "voxels of shape ", voxels.sizes(), " on a grid of ", grid.describe());
}

}  // namespace

Geometry with_spacing(const Geometry& grid, std::array<double, 3> spacing_mm) {
  Geometry result = grid;
  Vector3 first;  // the new first voxel's centre as an index of the old grid
  Vector3 extent, voxels;
  for (int a = 0; a < 3; ++a) {
    TORCH_CHECK(spacing_mm[a] > 0, "spacing ", spacing_mm[a], " mm, expected a positive number");
    extent[a] = static_cast<double>(grid.size[a]) * grid.spacing_mm[a];
    voxels[a] = std::max(1.0, std::floor(extent[a] / spacing_mm[a] + 0.5 + kHeaderNoise));
  }
  result.size = made_size(voxels, grid);
  for (int a = 0; a < 3; ++a) {
    if (result.size[a] != grid.size[a]) result.spacing_mm[a] = extent[a] / voxels[a];
    first[a] = (result.spacing_mm[a] / grid.spacing_mm[a] - 1) / 2;
  }
  result.origin_mm = grid.point(first);
  return result;
}

Geometry orthonormal_cover(const Geometry& grid) {
  if (orthonormality_error(grid.direction) < 1e-9) return grid;
  Geometry cover = grid;
  cover.direction = nearest_orthonormal(grid.direction);
  const Matrix3 to_axes = inverted(cover.direction);
  Vector3 low, high;
  low.fill(std::numeric_limits<double>::infinity());
  high.fill(-std::numeric_limits<double>::infinity());
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 edge;
    for (int a = 0; a < 3; ++a)
      edge[a] = ((corner >> a) & 1 ? static_cast<double>(grid.size[a]) : 0) - 0.5;
    const Vector3 along = product(to_axes, grid.point(edge));
    for (int a = 0; a < 3; ++a) {
      low[a] = std::min(low[a], along[a]);
      high[a] = std::max(high[a], along[a]);
    }
  }
  Vector3 voxels, first;  // first: in the cover's axes, mm
  for (int a = 0; a < 3; ++a) {
    voxels[a] = std::ceil((high[a] - low[a]) / grid.spacing_mm[a] - 1e-6);
    first[a] = (low[a] + high[a] - (voxels[a] - 1) * grid.spacing_mm[a]) / 2;
  }
  cover.size = made_size(voxels, grid);
  cover.origin_mm = product(cover.direction, first);
  return cover;
}

torch::Tensor resample(const torch::Tensor& voxels, const Geometry& from, const Geometry& to,
                       Interpolation interpolation) {
  check_shape(voxels, from);
  const GridSampler sampler(from, to);
  const bool label = interpolation == Interpolation::kLabel;
  const bool cubic = interpolation == Interpolation::kCubic;
  if (cubic && !sampler.aligned())
    log_warning_once("linear instead of cubic interpolation between grids of different direction");
  const auto type = label ? voxels.scalar_type() : torch::kFloat32;
  torch::Tensor result = torch::empty({voxels.size(0), to.size[2], to.size[1], to.size[0]}, type);
  for (std::int64_t c = 0; c < voxels.size(0); ++c) {
    if (label) {
      result[c].copy_(resample_labels(voxels[c].cpu().contiguous(), sampler, to));
      continue;
    }
    for (const Box& slab : sampler.slabs(kSlabVoxels))
      part_of(result[c], slab).copy_(sampler.sample(voxels[c], slab, cubic));
  }
  return result;
}

torch::Tensor mark_beyond(const torch::Tensor& labels, const Geometry& from, const Geometry& to) {
  check_shape(labels.unsqueeze(0), to);
  const GridSampler sampler(from, to);
  if (sampler.covered()) return labels;
  const torch::Tensor beyond = torch::empty(labels.sizes(), torch::kBool);
  for (const Box& slab : sampler.slabs(kSlabVoxels))
    part_of(beyond, slab).copy_(sampler.beyond(slab));
  return mark_no_scan(labels, beyond);
}

torch::Tensor resample_argmax(const torch::Tensor& scores, const Geometry& from,
                              const Geometry& to) {
  check_shape(scores, from);
  const torch::NoGradGuard no_grad;
  const GridSampler sampler(from, to);
  const auto type = scores.size(0) <= 256 ? torch::kUInt8 : torch::kInt16;
  TORCH_CHECK(scores.size(0) >= 1 && scores.size(0) <= 32768, "found ", scores.size(0),
              " classes, expected 1 to 32768");
  const torch::Tensor labels = torch::empty(to.size.dhw(), type);
  for (const Box& slab : sampler.slabs(kSlabVoxels)) {
    const torch::Tensor first =
        sampler.sample(scores[0], slab).clone(torch::MemoryFormat::Contiguous);
    const Contest contest{.score = first,
                          .winner = torch::zeros(first.sizes(), first.options().dtype(type))};
    for (std::int64_t c = 1; c < scores.size(0); ++c)
      contest.enter(sampler.sample(scores[c], slab), c, 0);
    part_of(labels, slab).copy_(contest.winner);
  }
  return labels;
}

torch::Tensor resample_softmax(const torch::Tensor& scores, const Geometry& from,
                               const Geometry& to) {
  check_shape(scores, from);
  const torch::NoGradGuard no_grad;
  const GridSampler sampler(from, to);
  const std::int64_t classes = scores.size(0);
  torch::Tensor result =
      torch::empty({classes, to.size[2], to.size[1], to.size[0]}, torch::kFloat32);
  for (const Box& slab : sampler.slabs(std::max<std::int64_t>(kSlabVoxels / classes, 1))) {
    std::vector<torch::Tensor> sampled;
    for (std::int64_t c = 0; c < classes; ++c) sampled.push_back(sampler.sample(scores[c], slab));
    const torch::Tensor probabilities = torch::stack(sampled).softmax(0);
    for (std::int64_t c = 0; c < classes; ++c) part_of(result[c], slab).copy_(probabilities[c]);
  }
  return result;
}

}  // namespace lamp
