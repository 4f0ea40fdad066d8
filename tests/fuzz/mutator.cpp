// Every choice comes from the input's own random numbers, so that an input can be made again.
#include "fuzz/mutator.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <limits>

namespace lamp::fuzz {
namespace {

constexpr std::size_t kHeaderBytes = 1024;  // where most of what is parsed lies
constexpr int kMostDamages = 6;
constexpr int kOneInLarge = 150;  // inputs that are blown up to some MiB

// 0 ... limit - 1, small ones as often as all others.
std::size_t place(std::size_t limit, Random& random) {
  if (limit == 0) return 0;
  const std::size_t near = random.below(2) == 0 ? std::min(limit, kHeaderBytes) : limit;
  return static_cast<std::size_t>(random.below(static_cast<std::int64_t>(near)));
}

std::size_t length(std::size_t limit, Random& random) {
  const std::size_t most = std::min<std::size_t>(limit, std::size_t{1} << random.below(12));
  return most == 0 ? 0
                   : 1 + static_cast<std::size_t>(random.below(static_cast<std::int64_t>(most)));
}

template <typename T>
void put(std::string& bytes, std::size_t at, T value, Random& random) {
  std::array<char, sizeof(T)> raw;
  std::memcpy(raw.data(), &value, sizeof value);
  if (random.below(4) == 0) std::reverse(raw.begin(), raw.end());
  if (at + sizeof value > bytes.size()) return;
  std::copy(raw.begin(), raw.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

std::int64_t extreme_whole(Random& random) {
  constexpr std::array<std::int64_t, 8> kCorners = {0,
                                                    1,
                                                    std::int64_t{1} << 7,
                                                    std::int64_t{1} << 15,
                                                    std::int64_t{1} << 31,
                                                    std::int64_t{1} << 32,
                                                    std::int64_t{1} << 62,
                                                    std::numeric_limits<std::int64_t>::min()};
  const auto corner =
      static_cast<std::uint64_t>(kCorners[static_cast<std::size_t>(random.below(8))]);
  const auto number = corner + static_cast<std::uint64_t>(random.below(5)) - 2;
  return static_cast<std::int64_t>(random.below(2) == 0 ? number : -number);
}

double extreme_real(Random& random) {
  using Limits = std::numeric_limits<double>;
  const std::array<double, 10> values = {0.0,
                                         -0.0,
                                         -1.0,
                                         1e-30,
                                         3e38,
                                         1e300,
                                         Limits::infinity(),
                                         -Limits::infinity(),
                                         Limits::quiet_NaN(),
                                         Limits::denorm_min()};
  return values[static_cast<std::size_t>(random.below(10))];
}

void put_number(std::string& bytes, Random& random) {
  std::size_t at = place(bytes.size(), random);
  if (random.below(2) == 0) at -= at % 4;
  switch (random.below(5)) {
    case 0:
      return put(bytes, at, static_cast<std::int16_t>(extreme_whole(random)), random);
    case 1:
      return put(bytes, at, static_cast<std::int32_t>(extreme_whole(random)), random);
    case 2:
      return put(bytes, at, extreme_whole(random), random);
    case 3:
      return put(bytes, at, static_cast<float>(extreme_real(random)), random);
    default:
      return put(bytes, at, extreme_real(random), random);
  }
}

// A number written in digits becomes another.
void rewrite_number(std::string& bytes, Random& random) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(place(bytes.size(), random));
  const auto first = std::find_if(from, bytes.end(), is_digit);
  const auto last = std::find_if_not(first, bytes.end(), is_digit);
  if (first == bytes.end()) return;
  constexpr std::array kTexts = {"-1",
                                 "1e308",
                                 "1e-320",
                                 "nan",
                                 "0.5",
                                 "1e400",
                                 "99999999999999999999",
                                 "00",
                                 "1e999999999",
                                 "-0",
                                 "0x10",
                                 "1.7976931348623157e308"};
  const std::int64_t choice = random.below(2 * std::ssize(kTexts));
  bytes.replace(first, last,
                choice < std::ssize(kTexts) ? kTexts[static_cast<std::size_t>(choice)]
                                            : std::to_string(extreme_whole(random)));
}

// Start and length of a line, with its end.
std::pair<std::size_t, std::size_t> some_line(const std::string& bytes, Random& random) {
  const std::size_t inside = place(bytes.size(), random);
  const std::size_t before = inside == 0 ? std::string::npos : bytes.rfind('\n', inside - 1);
  const std::size_t start = before == std::string::npos ? 0 : before + 1;
  const std::size_t end = std::min(bytes.find('\n', start), bytes.size() - 1);
  return {start, bytes.empty() ? 0 : end + 1 - start};
}

void change_line(std::string& bytes, Random& random) {
  const auto [start, count] = some_line(bytes, random);
  const std::string line = bytes.substr(start, count);
  if (random.below(3) != 0) bytes.erase(start, count);
  if (random.below(3) != 0) bytes.insert(some_line(bytes, random).first, line);
}

void repeat_chunk(std::string& bytes, std::size_t target, Random& random) {
  const std::size_t at = place(bytes.size(), random);
  const std::string chunk = bytes.substr(at, length(bytes.size() - at, random));
  if (chunk.empty()) return;
  std::string repeated;
  do repeated += chunk;
  while (repeated.size() < target);
  bytes.insert(at, repeated);
}

void cut(std::string& bytes, Random& random) {
  const std::size_t at = place(bytes.size(), random);
  if (random.below(3) == 0)
    bytes.resize(at);
  else
    bytes.erase(at, length(bytes.size() - at, random));
}

void insert_noise(std::string& bytes, Random& random) {
  std::string noise(length(64, random), '\0');
  for (char& c : noise) c = static_cast<char>(random.bits());
  bytes.insert(place(bytes.size() + 1, random), noise);
}

}  // namespace

void Mutator::insert_word(std::string& bytes, Random& random) const {
  if (words_.empty()) return;
  const std::string& word = words_[static_cast<std::size_t>(random.below(std::ssize(words_)))];
  const std::size_t at = place(bytes.size() + 1, random);
  bytes.replace(at, random.below(2) == 0 ? 0 : word.size(), word);
}

void Mutator::splice(std::string& bytes, Random& random) const {
  const FuzzFiles& other = seeds_[static_cast<std::size_t>(random.below(std::ssize(seeds_)))];
  const std::string& from = other[static_cast<std::size_t>(random.below(std::ssize(other)))].bytes;
  const std::size_t start = place(from.size(), random), at = place(bytes.size() + 1, random);
  const std::string chunk = from.substr(start, length(from.size() - start, random));
  bytes.replace(at, random.below(2) == 0 ? 0 : chunk.size(), chunk);
}

void Mutator::mutate(std::string& bytes, Random& random) const {
  switch (random.below(12)) {
    case 0:
    case 1:
      if (!bytes.empty())
        bytes[place(bytes.size(), random)] ^= static_cast<char>(1 << random.below(8));
      return;
    case 2:
      if (!bytes.empty()) bytes[place(bytes.size(), random)] = static_cast<char>(random.bits());
      return;
    case 3:
      return put_number(bytes, random);
    case 4:
      return cut(bytes, random);
    case 5:
      return insert_noise(bytes, random);
    case 6:
      return splice(bytes, random);
    case 7:
    case 8:
      return rewrite_number(bytes, random);
    case 9:
      return insert_word(bytes, random);
    case 10:
      return change_line(bytes, random);
    default:
      return repeat_chunk(bytes, 0, random);
  }
}

FuzzFiles Mutator::input(Random& random) const {
  FuzzFiles files = seeds_[static_cast<std::size_t>(random.below(std::ssize(seeds_)))];
  const std::int64_t damages = random.below(random.below(2) == 0 ? 3 : kMostDamages + 1);
  for (std::int64_t i = 0; i < damages; ++i)
    mutate(files[static_cast<std::size_t>(random.below(std::ssize(files)))].bytes, random);
  if (random.below(kOneInLarge) == 0)
    repeat_chunk(files.front().bytes, kLargestInput >> random.below(8), random);
  for (FuzzFile& file : files)
    if (file.bytes.size() > kLargestInput) file.bytes.resize(kLargestInput);
  return files;
}

}  // namespace lamp::fuzz
