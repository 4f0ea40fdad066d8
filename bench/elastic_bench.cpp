// Elastic displacements of a 128-cube: the coarse field beside the plain way, full-size noise
// filtered by a Gaussian, one axis after the other, with zeros outside and a kernel cut at 3 sigma.
// The plain way comes twice: as torch convolutions, as MONAI does it, and as loops written with the
// same care as the coarse field's, which is the fairer contestant. Rounds take turns; prints one
// JSON document with every round and the medians.
// Usage: elastic_bench [size] [rounds]
#include <ATen/Parallel.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <numbers>
#include <vector>

#include "lamp/augment/elastic.h"
#include "lamp/base/json.h"

namespace lamp {
namespace {

constexpr std::int64_t kFields = 100;  // for the statistics

struct Kernel {
  std::int64_t tail = 0;
  torch::Tensor weights;  // [2 tail + 1] float32
};

Kernel gaussian(double sigma) {
  const auto tail = static_cast<std::int64_t>(3 * sigma + 0.5);
  const torch::Tensor offsets = torch::arange(-tail, tail + 1, torch::kFloat32);
  return {tail, torch::exp(-offsets.square() / (2 * sigma * sigma)) /
                    (std::sqrt(2 * std::numbers::pi) * sigma)};
}

torch::Tensor noise(std::int64_t size) {
  return torch::rand({3, size, size, size}).mul_(2).sub_(1);
}

torch::Tensor convolved_field(std::int64_t size, const ElasticOptions& options) {
  const auto [tail, kernel] = gaussian(options.sigma_voxels);
  torch::Tensor field = noise(size).unsqueeze(1);
  field = torch::conv3d(field, kernel.view({1, 1, -1, 1, 1}), {}, 1, {tail, 0, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, -1, 1}), {}, 1, {0, tail, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, 1, -1}), {}, 1, {0, 0, tail});
  return field.squeeze(1).mul_(options.magnitude);
}

// out[i] = sum over k of weights[k] * in[k * stride + i].
void weighted_sum(const float* in, std::int64_t stride, const float* weights, std::int64_t terms,
                  std::int64_t length, float* out) {
  constexpr std::int64_t kTile = 32;  // floats summed in registers
  std::int64_t at = 0;
  for (; at + kTile <= length; at += kTile) {
    float sum[kTile] = {};
    for (std::int64_t k = 0; k < terms; ++k)
      for (std::int64_t i = 0; i < kTile; ++i) sum[i] += weights[k] * in[k * stride + at + i];
    std::copy(sum, sum + kTile, out + at);
  }
  for (; at < length; ++at) {
    out[at] = 0;
    for (std::int64_t k = 0; k < terms; ++k) out[at] += weights[k] * in[k * stride + at];
  }
}

// Along z or y: whole rows are summed, and only those inside.
torch::Tensor filtered_rows(const torch::Tensor& field, const Kernel& kernel, std::int64_t stride,
                            std::int64_t period) {
  const std::int64_t width = field.size(3), size = width;
  torch::Tensor out = torch::empty_like(field);
  const float* in = field.data_ptr<float>();
  const float* weights = kernel.weights.data_ptr<float>();
  float* to = out.data_ptr<float>();
  at::parallel_for(0, field.numel() / width, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t place = row / period % size;  // along the axis
      const std::int64_t first = std::max<std::int64_t>(place - kernel.tail, 0);
      const std::int64_t last = std::min<std::int64_t>(place + kernel.tail + 1, size);
      weighted_sum(in + row * width + (first - place) * stride, stride,
                   weights + first - place + kernel.tail, last - first, width, to + row * width);
    }
  });
  return out;
}

// Along x: shifted copies of a row with zeros on both sides.
void filter_along_x(const torch::Tensor& field, const Kernel& kernel) {
  const std::int64_t width = field.size(3);
  float* values = field.data_ptr<float>();
  const float* weights = kernel.weights.data_ptr<float>();
  at::parallel_for(0, field.numel() / width, 16, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> padded(static_cast<std::size_t>(width + 2 * kernel.tail));
    for (std::int64_t row = begin; row < end; ++row) {
      std::copy(values + row * width, values + (row + 1) * width, padded.begin() + kernel.tail);
      weighted_sum(padded.data(), 1, weights, 2 * kernel.tail + 1, width, values + row * width);
    }
  });
}

torch::Tensor looped_field(std::int64_t size, const ElasticOptions& options) {
  Kernel kernel = gaussian(options.sigma_voxels);
  torch::Tensor field = filtered_rows(noise(size), kernel, size * size, size);
  field = filtered_rows(field, kernel, size, 1);
  kernel.weights.mul_(options.magnitude);  // once
  filter_along_x(field, kernel);
  return field;
}

torch::Tensor coarse_field(std::int64_t size, const ElasticOptions& options, std::uint64_t seed) {
  Random random{seed};
  return ElasticField({size, size, size}, options, random).slices(0, size);
}

template <typename Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct Statistics {
  double deviation = 0;  // voxels, over the whole volume
  double length = 0;     // the sigma of exp(-d^2 / (4 sigma^2)), from neighbours along the axes
};

// Of many fields, since one holds only a few bumps.
template <typename Draw>
Statistics statistics(const Draw& draw) {
  double squares = 0, differences = 0;
  for (std::int64_t i = 0; i < kFields; ++i) {
    const torch::Tensor field = draw(i);
    squares += field.square().mean(torch::kFloat64).template item<double>();
    for (std::int64_t axis = 1; axis <= 3; ++axis)
      differences += field.diff(1, axis).square().mean(torch::kFloat64).template item<double>() / 3;
  }
  return {std::sqrt(squares / static_cast<double>(kFields)),
          std::sqrt(-0.25 / std::log(1 - differences / (2 * squares)))};
}

// As elastic.h derives it.
double derived_stddev(const ElasticOptions& options) {
  const double squared_kernel = 1 / (2 * std::sqrt(std::numbers::pi) * options.sigma_voxels);
  return options.magnitude * std::sqrt(std::pow(squared_kernel, 3) / 3);
}

Json compare(std::int64_t size, std::int64_t rounds, const ElasticOptions& options) {
  std::vector<double> convolved, looped, coarse;
  torch::manual_seed(1);
  torch::Tensor a = convolved_field(size, options);  // warm-up
  torch::manual_seed(1);
  torch::Tensor b = looped_field(size, options), c = coarse_field(size, options, 0);
  const double difference = (a - b).abs().max().item<double>();  // of the same noise
  for (std::int64_t round = 0; round < rounds; ++round) {
    convolved.push_back(seconds_of([&] { a = convolved_field(size, options); }));
    looped.push_back(seconds_of([&] { b = looped_field(size, options); }));
    coarse.push_back(
        seconds_of([&] { c = coarse_field(size, options, static_cast<std::uint64_t>(round)); }));
  }
  const Statistics plain = statistics([&](std::int64_t) { return looped_field(size, options); });
  const Statistics ours = statistics(
      [&](std::int64_t i) { return coarse_field(size, options, static_cast<std::uint64_t>(i)); });
  return {{"sigma_voxels", options.sigma_voxels},
          {"magnitude", options.magnitude},
          {"convolved_seconds", convolved},
          {"looped_seconds", looped},
          {"coarse_seconds", coarse},
          {"convolved_median", median(convolved)},
          {"looped_median", median(looped)},
          {"coarse_median", median(coarse)},
          {"speedup_over_convolved", median(convolved) / median(coarse)},
          {"speedup_over_looped", median(looped) / median(coarse)},
          {"convolved_looped_difference_voxels", difference},
          {"fields", kFields},
          {"looped_stddev_voxels", plain.deviation},
          {"coarse_stddev_voxels", ours.deviation},
          {"looped_length_voxels", plain.length},
          {"coarse_length_voxels", ours.length},
          {"derived_stddev_voxels_inside", derived_stddev(options)}};
}

int main(int argc, char** argv) {
  const std::int64_t size = argc > 1 ? std::atoll(argv[1]) : 128;
  const std::int64_t rounds = argc > 2 ? std::atoll(argv[2]) : 5;
  if (size < 1 || rounds < 1) {
    std::cerr << "usage: elastic_bench [size >= 1] [rounds >= 1]\n";
    return 2;
  }
  const torch::NoGradGuard no_grad;
  Json result = {{"bench", "elastic"}, {"size", size}, {"threads", at::get_num_threads()}};
  result["cases"] = {compare(size, rounds, {.sigma_voxels = 10, .magnitude = 1200}),
                     compare(size, rounds, {.sigma_voxels = 30, .magnitude = 900})};
  std::cout << dump_json(result) << "\n";
  return 0;
}

}  // namespace
}  // namespace lamp

int main(int argc, char** argv) { return lamp::main(argc, argv); }
