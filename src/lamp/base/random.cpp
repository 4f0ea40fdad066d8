// SplitMix64 and the few distributions in use.
#include "lamp/base/random.h"

#include <cmath>
#include <numbers>

namespace lamp {
namespace {

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

constexpr std::uint64_t kGoldenGamma = 0x9e3779b97f4a7c15ULL;

}  // namespace

Random::Random(std::initializer_list<std::uint64_t> key) : state_(kGoldenGamma) {
  for (const std::uint64_t part : key)
    state_ = mix(state_ + kGoldenGamma + mix(part + kGoldenGamma));
}

std::uint64_t Random::bits() { return mix(state_ += kGoldenGamma); }

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

double Random::uniform(double low, double high) { return low + (high - low) * uniform(); }

double Random::normal() {
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::int64_t Random::below(std::int64_t count) {
  // The bias of a plain product is below count / 2^64.
  return static_cast<std::int64_t>(
      (static_cast<unsigned __int128>(bits()) * static_cast<std::uint64_t>(count)) >> 64);
}

}  // namespace lamp
