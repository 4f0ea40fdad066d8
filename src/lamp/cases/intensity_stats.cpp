// Floats are ordered like integers once their bits are turned, so that counting is one array.
#include "lamp/cases/intensity_stats.h"

#include <torch/types.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <utility>

#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr int kDropped = 12;  // of a float's 32 bits; 20 stay: sign, exponent, 11 of the mantissa
constexpr std::uint32_t kKeys = std::uint32_t{1} << (32 - kDropped);
constexpr std::uint32_t kSign = 0x80000000U;
constexpr double kPercentiles[] = {0.5, 5, 25, 50, 75, 95, 99.5};

std::uint32_t key_of(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value + 0.0F);  // -0 becomes 0
  return ((bits & kSign) != 0 ? ~bits : bits | kSign) >> kDropped;
}

struct Bin {
  std::int64_t count = 0;
  double sum = 0;
  Bin& operator+=(const Bin& other) {
    count += other.count;
    sum += other.sum;
    return *this;
  }
};

// One pass over the voxels of a class.
class Counter {
 public:
  void add(float value) {
    if (!std::isfinite(value)) return;
    Bin& bin = bins_[key_of(value)];
    ++bin.count;
    bin.sum += value;
    ++total_;
    sum_ += value;
    square_sum_ += static_cast<double>(value) * value;
  }

  ValueCounts result() const {
    std::map<std::uint32_t, Bin> bins;
    for (std::uint32_t key = 0; key < kKeys; ++key)
      if (bins_[key].count > 0) bins.emplace_hint(bins.end(), key, bins_[key]);
    int coarser = 0;
    while (bins.size() > kMostBins) {
      ++coarser;
      std::map<std::uint32_t, Bin> wider;
      for (const auto& [key, bin] : bins) wider[key >> coarser << coarser] += bin;
      bins = std::move(wider);
    }
    ValueCounts found{.total = total_};
    for (const auto& [key, bin] : bins) {
      found.values.push_back(static_cast<float>(bin.sum / static_cast<double>(bin.count)));
      found.counts.push_back(bin.count);
    }
    if (total_ == 0) return found;
    found.mean = sum_ / static_cast<double>(total_);
    found.squares = std::max(0.0, square_sum_ - sum_ * found.mean);
    return found;
  }

 private:
  std::vector<Bin> bins_ = std::vector<Bin>(kKeys);
  std::int64_t total_ = 0;
  double sum_ = 0, square_sum_ = 0;
};

void pack(const ValueCounts& counts, std::vector<std::int64_t>& out) {
  out.push_back(static_cast<std::int64_t>(counts.values.size()));
  out.push_back(counts.total);
  out.push_back(std::bit_cast<std::int64_t>(counts.mean));
  out.push_back(std::bit_cast<std::int64_t>(counts.squares));
  for (const float value : counts.values) out.push_back(std::bit_cast<std::int32_t>(value));
  out.insert(out.end(), counts.counts.begin(), counts.counts.end());
}

// Takes numbers from the front.
ValueCounts unpack(const std::int64_t*& next, const std::int64_t* end) {
  TORCH_CHECK(end - next >= 4 && next[0] >= 0 && next[0] <= static_cast<std::int64_t>(kMostBins) &&
                  end - next >= 4 + 2 * next[0],
              "counted values that end too early");
  const std::int64_t bins = next[0];
  ValueCounts counts{.total = next[1],
                     .mean = std::bit_cast<double>(next[2]),
                     .squares = std::bit_cast<double>(next[3])};
  next += 4;
  for (std::int64_t i = 0; i < bins; ++i)
    counts.values.push_back(std::bit_cast<float>(static_cast<std::int32_t>(*next++)));
  counts.counts.assign(next, next + bins);
  next += bins;
  return counts;
}

}  // namespace

double ValueCounts::quantile(double share) const {
  TORCH_CHECK(total > 0, "a quantile of no values");
  const double wanted = share * static_cast<double>(total);
  std::int64_t seen = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    seen += counts[i];
    if (static_cast<double>(seen) >= wanted) return values[i];
  }
  return values.back();
}

double ValueCounts::share_at_most(double value) const {
  std::int64_t seen = 0;
  for (std::size_t i = 0; i < values.size() && values[i] <= value; ++i) seen += counts[i];
  return total > 0 ? static_cast<double>(seen) / static_cast<double>(total) : 0;
}

double ValueCounts::share_at_least(double value) const {
  std::int64_t seen = 0;
  for (std::size_t i = values.size(); i-- > 0 && values[i] >= value;) seen += counts[i];
  return total > 0 ? static_cast<double>(seen) / static_cast<double>(total) : 0;
}

ValueCounts operator+(const ValueCounts& a, const ValueCounts& b) {
  if (a.total == 0) return b;
  if (b.total == 0) return a;
  std::map<float, std::int64_t> bins;
  for (const ValueCounts* part : {&a, &b})
    for (std::size_t i = 0; i < part->values.size(); ++i) bins[part->values[i]] += part->counts[i];
  ValueCounts sum{.total = a.total + b.total};
  for (const auto& [value, count] : bins) {
    sum.values.push_back(value);
    sum.counts.push_back(count);
  }
  const double n = static_cast<double>(sum.total), apart = b.mean - a.mean;
  const double share = static_cast<double>(b.total) / n;
  sum.mean = a.mean + apart * share;
  sum.squares = a.squares + b.squares + apart * apart * static_cast<double>(a.total) * share;
  return sum;
}

ValueCounts above(const ValueCounts& counts, double value) {
  ValueCounts part;
  double sum = 0;
  for (std::size_t i = 0; i < counts.values.size(); ++i) {
    if (!(counts.values[i] > value)) continue;
    part.values.push_back(counts.values[i]);
    part.counts.push_back(counts.counts[i]);
    part.total += counts.counts[i];
    sum += static_cast<double>(counts.counts[i]) * counts.values[i];
  }
  if (part.total > 0) part.mean = sum / static_cast<double>(part.total);
  for (std::size_t i = 0; i < part.values.size(); ++i)
    part.squares += static_cast<double>(part.counts[i]) * std::pow(part.values[i] - part.mean, 2);
  return part;
}

ValueCounts count_edge(const torch::Tensor& volume,
                       const std::function<torch::Tensor(const torch::Tensor&)>& values) {
  Counter counter;
  torch::Tensor rest = volume;  // without the faces that were counted
  for (std::int64_t axis = 0; axis < 3 && rest.numel() > 0; ++axis) {
    const std::int64_t length = rest.size(axis);
    for (std::int64_t at = 0; at < length; at += std::max<std::int64_t>(length - 1, 1)) {
      torch::Tensor face = rest.select(axis, at);
      face = (values ? values(face) : face).cpu().contiguous();
      for (std::int64_t i = 0; i < face.numel(); ++i) counter.add(face.const_data_ptr<float>()[i]);
    }
    rest =
        rest.narrow(axis, std::min<std::int64_t>(1, length), std::max<std::int64_t>(length - 2, 0));
  }
  return counter.result();
}

Intensities count_intensities(const torch::Tensor& image, const torch::Tensor& label) {
  TORCH_CHECK(image.dim() == 4 && image.scalar_type() == torch::kFloat32 &&
                  (!label.defined() || image.sizes().slice(1) == label.sizes()),
              "values are counted in float32 [C, D, H, W] and labels [D, H, W], got ",
              image.sizes());
  Intensities found;
  for (std::int64_t c = 0; c < image.size(0); ++c) {
    Counter inside, outside;
    for (std::int64_t z = 0; z < image.size(1); ++z) {
      const torch::Tensor slice = image[c][z].cpu().contiguous();
      const torch::Tensor marks =
          label.defined() ? label[z].to(torch::kInt16).contiguous() : torch::Tensor();
      const float* value = slice.const_data_ptr<float>();
      const auto* mark = label.defined() ? marks.const_data_ptr<std::int16_t>() : nullptr;
      for (std::int64_t i = 0; i < slice.numel(); ++i) {
        if (mark == nullptr || mark[i] == 0)
          outside.add(value[i]);
        else if (mark[i] > 0)
          inside.add(value[i]);
      }
    }
    found.push_back({inside.result(), outside.result(), count_edge(image[c])});
  }
  return found;
}

torch::Tensor pack_intensities(const Intensities& intensities) {
  std::vector<std::int64_t> numbers;
  for (const ChannelIntensities& channel : intensities) {
    pack(channel.inside, numbers);
    pack(channel.outside, numbers);
  }
  return torch::tensor(numbers, torch::kInt64);
}

Intensities unpack_intensities(const torch::Tensor& packed) {
  Intensities intensities;
  if (!packed.defined() || packed.numel() == 0) return intensities;
  const torch::Tensor numbers = packed.contiguous();
  const auto* next = numbers.const_data_ptr<std::int64_t>();
  const auto* end = next + numbers.numel();
  while (next != end) {
    ChannelIntensities channel{.inside = unpack(next, end)};
    channel.outside = unpack(next, end);
    intensities.push_back(std::move(channel));
  }
  return intensities;
}

Json to_json(const ValueCounts& counts) {
  Json json = {{"voxels", counts.total}};
  if (counts.total == 0) return json;
  json["mean"] = counts.mean;
  json["sd"] = std::sqrt(counts.squares / static_cast<double>(counts.total));
  for (const double percent : kPercentiles)
    json["percentiles"][shortest(percent)] = counts.quantile(percent / 100);
  return json;
}

}  // namespace lamp
