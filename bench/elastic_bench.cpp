// Elastic displacements of a 128-cube: the coarse field beside the plain way, full-size noise
// filtered by a Gaussian (separable convolutions with zeros outside and a kernel cut at 3 sigma, as
// MONAI does it). Rounds take turns; prints one JSON document with every round and the medians.
// Usage: elastic_bench [size] [rounds]
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <numbers>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/data/elastic.h"

namespace lamp {
namespace {

torch::Tensor plain_field(std::int64_t size, const ElasticOptions& options) {
  const double sigma = options.sigma_voxels;
  const auto tail = static_cast<std::int64_t>(3 * sigma + 0.5);
  const std::int64_t taps = 2 * tail + 1;
  const torch::Tensor offsets = torch::arange(-tail, tail + 1, torch::kFloat32);
  const torch::Tensor kernel = torch::exp(-offsets.square() / (2 * sigma * sigma)) /
                               (std::sqrt(2 * std::numbers::pi) * sigma);
  torch::Tensor field = torch::rand({3, 1, size, size, size}).mul_(2).sub_(1);
  field = torch::conv3d(field, kernel.view({1, 1, taps, 1, 1}), {}, 1, {tail, 0, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, taps, 1}), {}, 1, {0, tail, 0});
  field = torch::conv3d(field, kernel.view({1, 1, 1, 1, taps}), {}, 1, {0, 0, tail});
  return field.squeeze(1).mul_(options.magnitude);
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

Json compare(std::int64_t size, std::int64_t rounds, const ElasticOptions& options) {
  std::vector<double> plain, coarse;
  torch::Tensor a = plain_field(size, options), b = coarse_field(size, options, 0);  // warm-up
  for (std::int64_t round = 0; round < rounds; ++round) {
    plain.push_back(seconds_of([&] { a = plain_field(size, options); }));
    coarse.push_back(
        seconds_of([&] { b = coarse_field(size, options, static_cast<std::uint64_t>(round)); }));
  }
  return {{"sigma_voxels", options.sigma_voxels},
          {"magnitude", options.magnitude},
          {"plain_seconds", plain},
          {"coarse_seconds", coarse},
          {"plain_median", median(plain)},
          {"coarse_median", median(coarse)},
          {"speedup", median(plain) / median(coarse)},
          {"plain_stddev_voxels", a.square().mean().sqrt().item<double>()},
          {"coarse_stddev_voxels", b.square().mean().sqrt().item<double>()},
          {"derived_stddev_voxels_inside", elastic_stddev(options)}};
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
