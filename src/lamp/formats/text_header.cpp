// Every limit is far above what any writer makes and below what other readers' buffers hold.
#include "lamp/formats/text_header.h"

#include <algorithm>
#include <charconv>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/regular_file.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::size_t kMostHeaderBytes = 1 << 20;
// MetaIO's own record holds a name of 254 bytes and a value of 32 KiB.
constexpr std::size_t kMostNameBytes = 254;

bool is_text(char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; }

template <typename T>
bool parse_whole(std::string_view text, T& number) {
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> result;
  while (!(text = trimmed(text)).empty()) {
    result.push_back(text.substr(0, text.find_first_of(" \t\r")));
    text.remove_prefix(result.back().size());
  }
  return result;
}

bool parse_number(std::string_view text, double& number) { return parse_whole(text, number); }

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMost = 60;
  return "\"" + printable(std::string(text.substr(0, kMost))) +
         (text.size() > kMost ? "...\"" : "\"");
}

TextHeader::TextHeader(const std::filesystem::path& path)
    : path_(path), start_(RegularFile(path).start(kMostHeaderBytes)) {}

bool TextHeader::next_line(std::string_view& line) {
  if (position_ >= start_.size()) return false;
  const std::size_t end = start_.find('\n', position_);
  if (end == std::string::npos && start_.size() == kMostHeaderBytes) return false;
  line = std::string_view(start_).substr(position_, end - position_);
  if (line.ends_with('\r')) line.remove_suffix(1);
  position_ = end == std::string::npos ? start_.size() : end + 1;
  return true;
}

void TextHeader::add(std::string_view name, std::string_view value) {
  name = trimmed(name);
  if (name.size() > kMostNameBytes || !std::all_of(name.begin(), name.end(), is_text)) {
    refuse({.found = "a field name of " + std::to_string(name.size()) + " bytes (" +
                     in_quotes(name) + ")",
            .expected = "at most " + std::to_string(kMostNameBytes) + " and no control characters",
            .fix = "the header is damaged, get the file again"});
  }
  if (!fields_.emplace(name, trimmed(value)).second)
    refuse({.found = "its header says " + in_quotes(name) + " twice", .fix = "correct the header"});
}

const std::string& TextHeader::get(const std::string& name) const {
  static const std::string kNone;
  const auto found = fields_.find(name);
  return found == fields_.end() ? kNone : found->second;
}

std::vector<double> TextHeader::numbers(const std::string& name, std::size_t count) const {
  std::vector<double> result;
  for (const std::string_view word : words(get(name))) {
    double number = 0;
    if (!parse_number(word, number)) break;
    result.push_back(number);
  }
  if (result.size() == count && words(get(name)).size() == count) return result;
  refuse({.found = name + " " + in_quotes(get(name)),
          .expected = counted(count, "number"),
          .fix = "correct the header"});
}

std::vector<std::int64_t> TextHeader::whole_numbers(const std::string& name) const {
  std::vector<std::int64_t> result;
  for (const std::string_view word : words(get(name))) {
    std::int64_t number = 0;
    if (!parse_whole(word, number))
      refuse({.found = name + " " + in_quotes(get(name)),
              .expected = "whole numbers",
              .fix = "correct the header"});
    result.push_back(number);
  }
  return result;
}

void TextHeader::warn(const std::string& what) const { log_warning(what + ": " + path_.string()); }

void TextHeader::refuse(Fault rest) const { cannot_read(path_.string(), std::move(rest)); }

}  // namespace lamp
