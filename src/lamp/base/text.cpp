// Formatting over std::to_chars and snprintf.
#include "lamp/base/text.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"
#include "lamp/base/unicode_form.h"

namespace lamp {

std::string fixed(double value, int digits) {
  char buffer[400];  // the largest double has 309 digits before the point
  const int length = std::snprintf(buffer, sizeof buffer, "%.*f", digits, value);
  return {buffer, static_cast<std::size_t>(length)};
}

std::string six_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value == 0 ? 0.0 : value);  // no "-0"
  return text;
}

std::string shortest(double value) {
  char buffer[64];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value).ptr;
  return {buffer, end};
}

namespace {

// rounded: to one digit behind the point, of a size in a unit larger than bytes.
std::string bytes_in_units(std::int64_t bytes, double (*rounded)(double)) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  if (unit == 0) return fixed(value, 0) + " B";
  return fixed(rounded(value), 1) + " " + kUnits[unit];
}

bool is_plain_number(const std::string& text) {
  return text.find_first_not_of("0123456789.+-eE ") == std::string::npos;
}

}  // namespace

std::string counted_text(std::int64_t count, const std::string& noun) {
  const std::string text = std::to_string(count) + " ";
  if (count == 1) return text + noun;
  if (noun.ends_with("try")) return text + noun.substr(0, noun.size() - 1) + "ies";
  const bool hisses = noun.ends_with("ss") || (noun.ends_with("ch") && noun != "epoch");
  return text + noun + (hisses ? "es" : "s");
}

std::string joined_first(std::vector<std::string> words, std::size_t most) {
  if (words.size() <= most) return joined(words);
  const std::size_t others = words.size() - most;
  words.resize(most);
  return joined(words) + " and " + std::to_string(others) + " more";
}

std::string bytes_text(std::int64_t bytes) {
  return bytes_in_units(bytes, [](double value) { return value; });
}

std::string need_bytes_text(std::int64_t bytes) {
  return bytes_in_units(bytes, [](double value) { return std::ceil(10 * value) / 10; });
}

std::string size_text(const Size3& size, const std::string& between) {
  return std::to_string(size[0]) + between + std::to_string(size[1]) + between +
         std::to_string(size[2]);
}

std::int64_t parse_bytes(const std::string& text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c)
    if (*c != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  double factor = 0;
  if (unit.empty() || unit == "b") factor = 1;
  const std::string prefixes = "kmgt";
  if (const auto power = unit.empty() ? std::string::npos : prefixes.find(unit[0]);
      power != std::string::npos) {
    const std::string rest = unit.substr(1);
    if (rest == "b") factor = std::pow(1000.0, power + 1.0);
    if (rest.empty() || rest == "ib") factor = std::pow(1024.0, power + 1.0);
  }
  if (error != std::errc() || factor == 0 || !(value > 0) || value * factor > 9e18)
    throw UsageError(what + ": found \"" + shortened(text) +
                     "\", expected a size such as 8GiB or 500MB");
  return static_cast<std::int64_t>(value * factor);
}

std::int64_t parse_memory(const std::string& text, const std::string& what) {
  constexpr std::int64_t kLeastPlain = std::int64_t{1} << 20;
  const std::int64_t bytes = parse_bytes(text, what);
  if (is_plain_number(text) && bytes < kLeastPlain)
    throw UsageError(what + ": found \"" + shortened(text) + "\", which would be " +
                     bytes_text(bytes) + "; give the unit, such as " + text + "GiB");
  return bytes;
}

double parse_rate(const std::string& text, const std::string& what) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit;
  for (const char* c = end; c != text.data() + text.size(); ++c)
    if (*c != ' ') unit += static_cast<char>(std::tolower(static_cast<unsigned char>(*c)));
  for (const std::string suffix : {"/s", "flops", "flop", "b"})
    if (unit.ends_with(suffix)) unit.resize(unit.size() - suffix.size());
  const bool binary = unit.size() == 2 && unit[1] == 'i';
  const std::string prefixes = "kmgtp";
  const auto power = unit.empty() ? std::string::npos : prefixes.find(unit[0]);
  const bool known = unit.empty() || (power != std::string::npos && (unit.size() == 1 || binary));
  const double factor =
      unit.empty() ? 1 : std::pow(binary ? 1024.0 : 1000.0, static_cast<double>(power) + 1);
  if (error != std::errc() || !known || !(value > 0) || !std::isfinite(value * factor))
    throw UsageError(what + ": found \"" + shortened(text) +
                     "\", expected a rate such as 100T or 50GB/s");
  return value * factor;
}

double parse_bandwidth(const std::string& text, const std::string& what) {
  constexpr double kLeastPlain = 1 << 20;
  if (is_plain_number(text) && parse_rate(text, what) < kLeastPlain)
    throw UsageError(what + ": found \"" + shortened(text) +
                     "\", which would be so many bytes a second; " + "give the unit, such as " +
                     text + "GB/s");
  std::string rest = text;
  double share = 1;
  // b is a bit by every standard, B a byte.
  for (const std::string bits : {"bits/s", "bit/s", "bps", "b/s", "bits", "bit", "b"})
    if (share == 1 && rest.ends_with(bits)) {
      rest.resize(rest.size() - bits.size());
      share = 1.0 / 8;
    }
  if (rest.ends_with("Bps")) rest.resize(rest.size() - 2);
  try {
    if (rest.find_first_of("fF") == std::string::npos) return share * parse_rate(rest, what);
  } catch (const UsageError&) {
    // The same, in this option's words.
  }
  throw UsageError(what + ": found \"" + shortened(text) +
                   "\", expected bytes a second such as 50GB/s, or bits: 400Gb/s");
}

double parse_flops(const std::string& text, const std::string& what) {
  if (text.find_first_of("bB") != std::string::npos)
    throw UsageError(what + ": found \"" + shortened(text) +
                     "\", expected operations a second such as 100T or 19.5TFLOPS");
  return parse_rate(text, what);
}

std::string clock_text(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  char buffer[64];
  if (whole < 3600)
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld", whole / 60, whole % 60);
  else
    std::snprintf(buffer, sizeof buffer, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60,
                  whole % 60);
  return buffer;
}

std::string shortened(const std::string& text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xc0) == 0x80) --most;
  return text.substr(0, most) + "...";
}

std::string printable(const std::string& text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const auto byte = static_cast<unsigned char>(c);
    if (const auto unseen = unseen_character_at(text, at)) {
      shown += "<" + unseen->name + ">";
      at += unseen->bytes - 1;
    } else if (byte >= 0x20 && byte != 0x7f) {
      shown += c;
    } else if (c == '\n') {
      shown += "\\n";
    } else if (c == '\t') {
      shown += "\\t";
    } else {
      shown += std::string("\\x") + "0123456789abcdef"[byte >> 4] + "0123456789abcdef"[byte & 15];
    }
  }
  return shown;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

}  // namespace lamp
