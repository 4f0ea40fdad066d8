// Numbers as people read them. (fmt is not used outside log.cpp: torch's wheel carries another
// version's headers.)
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace lamp {

struct Size3;

// "0.123" for fixed(0.12345, 3).
std::string fixed(double value, int digits);
// "0.30303" or "1e-07": what six digits say of a measurement.
std::string six_digits(double value);
// The shortest text that reads back as the same double.
std::string shortest(double value);
// "1 stage", "2 stages", "3 micro-batches", "4 entries".
std::string counted_text(std::int64_t count, const std::string& noun);
template <std::integral Count>
std::string counted(Count count, const std::string& noun) {
  return counted_text(static_cast<std::int64_t>(count), noun);
}
// "3.2 GiB", "512 B".
std::string bytes_text(std::int64_t bytes);
// The same rounded up, for what is needed: whoever takes the text at its word has enough.
std::string need_bytes_text(std::int64_t bytes);
// Bytes of "8GiB", "500MB", "1.5g" or a plain number. Throws UsageError that names `what`.
std::int64_t parse_bytes(const std::string& text, const std::string& what);
// The same of a memory: a plain number of less than a MiB surely lacks its unit.
std::int64_t parse_memory(const std::string& text, const std::string& what);
// A rate such as "100T", "19.5TFLOPS", "50GB/s" or "1e12", in units a second. Throws UsageError
// that names `what`.
double parse_rate(const std::string& text, const std::string& what);
// Bytes a second of "50GB/s", "25G" or, in bits, "400Gb/s" and "400Gbit/s". Throws UsageError that
// names `what`.
double parse_bandwidth(const std::string& text, const std::string& what);
// Operations a second of "100T" or "19.5TFLOPS". Throws UsageError that names `what`.
double parse_flops(const std::string& text, const std::string& what);
// Three numbers of voxels: "64,64,48" as options take it, or with "x" in between.
std::string size_text(const Size3& size, const std::string& between = ",");
// "1:05" or "2:00:09".
std::string clock_text(double seconds);

// "a, b, c" of texts or whole numbers; with " or " before the last one "a, b or c".
template <typename Words>
std::string joined(const Words& words, std::string_view between, std::string_view last) {
  std::string list;
  std::size_t place = 0;
  for (const auto& word : words) {
    if (place > 0) list += place + 1 == std::size(words) ? last : between;
    ++place;
    if constexpr (std::integral<std::decay_t<decltype(word)>>)
      list += std::to_string(word);
    else
      list += word;
  }
  return list;
}
template <typename Words>
std::string joined(const Words& words, std::string_view between = ", ") {
  return joined(words, between, between);
}
// "a, b and 7 more": no more than the first `most`.
std::string joined_first(std::vector<std::string> words, std::size_t most);

// ASCII letters in lower case; other bytes as they are.
std::string lower(std::string_view text);

// A text that may be of any length, as messages quote it: no more than its first `most` bytes and
// "...", no character of UTF-8 cut in two.
std::string shortened(const std::string& text, std::size_t most = 80);

// The text with control characters written out ("\\n", "\\x1b") and characters that nobody sees
// named ("<U+202E>"), so that a file's name can neither break a message into lines, nor command the
// terminal, nor turn what stands around it.
std::string printable(const std::string& text);

}  // namespace lamp
