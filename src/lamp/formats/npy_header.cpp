// A reader of the few words of Python that numpy writes: strings, whole numbers, tuples, True and
// False. Whatever else stands there is refused.
#include "lamp/formats/npy_header.h"

#include <charconv>
#include <set>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
// numpy itself writes some 118 bytes, and reads no more than 10,000 of an unknown file.
constexpr std::size_t kLongestHeader = kNpyStartBytes - 12;
constexpr std::size_t kMostAxes = 32;  // numpy's own limit until version 2

// What stood there, as one printable line.
std::string shown(std::string_view text) {
  std::string printable(text.substr(0, 40));
  for (char& c : printable)
    if (c < ' ' || c > '~') c = '?';
  return '"' + printable + (text.size() > 40 ? "...\"" : "\"");
}

// One pass over the dictionary, from left to right.
class DictionaryReader {
 public:
  DictionaryReader(std::string_view text, const std::string& file) : rest_(text), file_(file) {}

  NpyHeader read() {
    NpyHeader header;
    std::set<std::string> keys;
    expect('{');
    while (!take('}')) {
      const std::string key = string();
      if (!keys.insert(key).second)
        fail({.found = "the key " + shown(key) + " twice", .expected = "it once"});
      expect(':');
      read_value(key, header);
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!rest_.empty())
      fail({.found = shown(rest_) + " behind its header", .expected = "only spaces"});
    if (keys != std::set<std::string>{"descr", "fortran_order", "shape"})
      fail({.found = "a header without descr, fortran_order and shape", .expected = "all three"});
    return header;
  }

 private:
  void read_value(const std::string& key, NpyHeader& header) {
    if (key == "descr") {
      header.descr = descr();
    } else if (key == "fortran_order") {
      header.fortran_order = boolean();
    } else if (key == "shape") {
      header.shape = shape();
    } else {
      fail({.found = "the key " + shown(key) + " in its header",
            .expected = "descr, fortran_order and shape"});
    }
  }

  std::string descr() {
    skip_space();
    if (rest_.starts_with('['))
      fail({.found = "an array of records (" + shown(rest_) + ")",
            .expected = "one number a voxel",
            .fix = "save each field as an array of its own"});
    return string();
  }

  std::string string() {
    skip_space();
    const char quote = rest_.empty() ? '\0' : rest_.front();
    if (quote != '\'' && quote != '"')
      fail({.found = shown(rest_), .expected = "a string in its header"});
    const auto end = rest_.find(quote, 1);
    const std::string_view text = rest_.substr(1, end == rest_.npos ? end : end - 1);
    if (end == rest_.npos || text.find('\\') != text.npos)
      fail({.found = shown(rest_), .expected = "a plain string in its header"});
    rest_.remove_prefix(end + 1);
    return std::string(text);
  }

  bool boolean() {
    skip_space();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (!rest_.starts_with(word)) continue;
      rest_.remove_prefix(word.size());
      return value;
    }
    fail({.found = shown(rest_) + " as fortran_order", .expected = "True or False"});
  }

  std::vector<std::int64_t> shape() {
    std::vector<std::int64_t> sizes;
    expect('(');
    while (!take(')')) {
      sizes.push_back(size());
      if (sizes.size() > kMostAxes)
        fail({.found = "more than " + std::to_string(kMostAxes) + " axes"});
      if (take(',')) continue;
      expect(')');
      if (sizes.size() == 1)
        fail({.found = "a number in parentheses as shape", .expected = "a tuple such as (5,)"});
      break;
    }
    return sizes;
  }

  std::int64_t size() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error == std::errc::result_out_of_range || (error == std::errc() && value < 0))
      fail({.found = "the shape " + shown(rest_), .expected = "sizes from 0 to 2^63 - 1"});
    if (error != std::errc())
      fail({.found = shown(rest_) + " in its shape", .expected = "a whole number"});
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    if (rest_.starts_with('L')) rest_.remove_prefix(1);  // as Python 2 wrote it
    return value;
  }

  void skip_space() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' ||
                              rest_.front() == '\n' || rest_.front() == '\r'))
      rest_.remove_prefix(1);
  }

  bool take(char c) {
    skip_space();
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  void expect(char c) {
    if (!take(c))
      fail({.found = shown(rest_) + " in its header", .expected = "'" + std::string(1, c) + "'"});
  }

  [[noreturn]] void fail(Fault rest) const {
    if (rest.fix.empty()) rest.fix = "it is damaged or no .npy file, save it again with numpy";
    cannot_read(file_, std::move(rest));
  }

  std::string_view rest_;
  const std::string& file_;
};

std::size_t little_endian(std::string_view bytes) {
  std::size_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;)
    value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

NpyHeader parse_npy_header(std::string_view bytes, const std::string& file) {
  constexpr std::size_t kVersionEnd = 8;
  if (bytes.size() < kVersionEnd || !bytes.starts_with(kMagic))
    cannot_read(file, {.found = "no .npy file, but " + shown(bytes.substr(0, 8)) + " at its start",
                       .expected = "the word NUMPY",
                       .fix = "save it with numpy.save"});
  const int major = static_cast<unsigned char>(bytes[6]);
  const int minor = static_cast<unsigned char>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0)
    cannot_read(file, {.found = "version " + std::to_string(major) + "." + std::to_string(minor) +
                                " of the format",
                       .expected = "1.0, 2.0 or 3.0",
                       .fix = "save it again with numpy"});
  const std::size_t width = major == 1 ? 2 : 4;
  if (bytes.size() < kVersionEnd + width)
    cannot_read(file, {.found = "it ends within its header", .fix = "get the file again"});
  const std::size_t length = little_endian(bytes.substr(kVersionEnd, width));
  const std::size_t start = kVersionEnd + width;
  if (length > kLongestHeader)
    cannot_read(file, {.found = "a header of " + std::to_string(length) + " bytes",
                       .expected = "at most " + std::to_string(kLongestHeader),
                       .fix = "it is damaged or no array of numbers, save it again with numpy"});
  if (length > bytes.size() - start)
    cannot_read(file, {.found = "a header of " + std::to_string(length) + " bytes",
                       .expected = "as many behind it, not only " +
                                   std::to_string(bytes.size() - start) + ": the file is cut short",
                       .fix = "get it again"});
  NpyHeader header = DictionaryReader(bytes.substr(start, length), file).read();
  header.data_offset = start + length;
  return header;
}

}  // namespace lamp
