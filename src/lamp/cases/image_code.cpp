// Which type is enough follows from the values; that it is enough is proven slab by slab.
#include "lamp/cases/image_code.h"

#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "lamp/cases/preprocess.h"

namespace lamp {
namespace {

constexpr double kExactIntegers = 1 << 24;  // float32 holds every whole number up to here

struct Limits {
  float low = -std::numeric_limits<float>::infinity();
  float high = std::numeric_limits<float>::infinity();
};

// Whole numbers at or beyond the window: clipping to them first changes nothing.
Limits limits_of(const std::optional<std::array<double, 2>>& window) {
  if (!window) return {};
  return {static_cast<float>(std::floor((*window)[0])),
          static_cast<float>(std::ceil((*window)[1]))};
}

// The least and largest value within the limits, or nothing if one is no whole number.
std::optional<std::array<double, 2>> whole_range(const torch::Tensor& values,
                                                 const Limits& limits) {
  constexpr std::int64_t kBlock = 4096;
  const float* value = values.const_data_ptr<float>();
  float least = std::numeric_limits<float>::infinity(), most = -least;
  for (std::int64_t start = 0, count = values.numel(); start < count; start += kBlock) {
    bool whole = true;
    for (std::int64_t i = start; i < std::min(start + kBlock, count); ++i) {
      const float v = std::min(std::max(value[i], limits.low), limits.high);
      whole &= v == std::nearbyint(v);  // false for NaN
      least = std::min(least, v);
      most = std::max(most, v);
    }
    if (!whole) return std::nullopt;
  }
  if (!(std::abs(least) < kExactIntegers && std::abs(most) < kExactIntegers)) return std::nullopt;
  return std::array<double, 2>{least, most};
}

template <typename T>
torch::Tensor stored_as(const torch::Tensor& values, const Limits& limits, double offset,
                        torch::ScalarType type) {
  torch::Tensor stored = torch::empty(values.sizes(), type);
  const float* from = values.const_data_ptr<float>();
  T* to = stored.data_ptr<T>();
  const auto shift = static_cast<std::int32_t>(offset);
  for (std::int64_t i = 0, count = values.numel(); i < count; ++i) {
    const float v = std::min(std::max(from[i], limits.low), limits.high);
    to[i] = static_cast<T>(static_cast<std::int32_t>(v) - shift);
  }
  return stored;
}

std::optional<CodedImage> as_integers(const torch::Tensor& values,
                                      const std::optional<std::array<double, 2>>& window) {
  if (values.numel() == 0) return std::nullopt;
  const Limits limits = limits_of(window);
  const auto range = whole_range(values, limits);
  if (!range) return std::nullopt;
  const auto [least, most] = *range;
  CodedImage coded{.code = {.window = window}};
  if (most - least <= 255) {
    coded.code.offset = least;
    coded.stored = stored_as<std::uint8_t>(values, limits, least, torch::kUInt8);
  } else if (most - least <= 65535) {
    coded.code.offset = least >= -32768 && most <= 32767 ? 0 : least + 32768;
    coded.stored = stored_as<std::int16_t>(values, limits, coded.code.offset, torch::kInt16);
  } else {
    return std::nullopt;
  }
  return coded;
}

torch::Tensor windowed(const torch::Tensor& values,
                       const std::optional<std::array<double, 2>>& window) {
  return window ? apply_window(values, *window) : values;
}

// Bits, because -0 equals 0.
bool decodes_to(const torch::Tensor& values, const std::optional<std::array<double, 2>>& window,
                const CodedImage& coded) {
  for (std::int64_t c = 0; c < values.size(0); ++c) {
    for (std::int64_t z = 0; z < values.size(1); ++z) {
      const torch::Tensor expected = windowed(values[c][z], window).contiguous();
      const torch::Tensor found = decode_image(coded.stored[c][z], coded.code).contiguous();
      if (std::memcmp(expected.const_data_ptr(), found.const_data_ptr(), expected.nbytes()) != 0)
        return false;
    }
  }
  return true;
}

}  // namespace

CodedImage encode_image(const torch::Tensor& values,
                        const std::optional<std::array<double, 2>>& window) {
  TORCH_CHECK(values.dim() == 4 && values.scalar_type() == torch::kFloat32,
              "an image to encode is [C, D, H, W] float32, got ", values.sizes(), " ",
              values.scalar_type());
  const torch::NoGradGuard no_grad;
  const torch::Tensor whole = values.contiguous();
  if (auto coded = as_integers(whole, window); coded && decodes_to(whole, window, *coded))
    return *std::move(coded);
  return {.stored = windowed(whole, window), .code = {}};
}

torch::Tensor decode_image(const torch::Tensor& stored, const ImageCode& code) {
  if (stored.scalar_type() == torch::kFloat32) return stored;
  const torch::NoGradGuard no_grad;
  torch::Tensor values = stored.to(torch::kFloat32);
  if (code.offset != 0) values.add_(code.offset);
  return windowed(values, code.window);
}

}  // namespace lamp
