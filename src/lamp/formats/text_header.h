// The text headers of NRRD and MetaImage as lines and fields, judged before anything believes them:
// libraries copy names and values into buffers of a fixed size, or stop at the first surprise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lamp/base/fault.h"

namespace lamp {

class TextHeader {
 public:
  // Reads the start of the file. Throws InputError as RegularFile does.
  explicit TextHeader(const std::filesystem::path& path);

  // The next line without its end; false behind the last one, or where the header is longer than
  // any real one (1 MiB).
  bool next_line(std::string_view& line);
  // Bytes up to and with the line read last.
  std::int64_t position() const { return static_cast<std::int64_t>(position_); }

  // A field, trimmed. Throws InputError for a name that is already there, too long or no text.
  void add(std::string_view name, std::string_view value);
  bool has(const std::string& name) const { return fields_.contains(name); }
  // "" if absent.
  const std::string& get(const std::string& name) const;

  // The field's `count` numbers. Throws InputError if it holds anything else.
  std::vector<double> numbers(const std::string& name, std::size_t count) const;
  // Sizes and the like; empty if the field is absent.
  std::vector<std::int64_t> whole_numbers(const std::string& name) const;

  const std::filesystem::path& path() const { return path_; }
  [[noreturn]] void refuse(Fault rest) const;  // as cannot_read does
  void warn(const std::string& what) const;    // with the file's name

 private:
  std::filesystem::path path_;
  std::string start_;
  std::size_t position_ = 0;
  std::map<std::string, std::string> fields_;
};

std::string_view trimmed(std::string_view text);
// Parts between white space.
std::vector<std::string_view> words(std::string_view text);
// The whole of `text` as a number ("nan" is one); false if it is none.
bool parse_number(std::string_view text, double& number);
// `text` between quotation marks, fit for a message: short and without control characters.
std::string in_quotes(std::string_view text);

}  // namespace lamp
