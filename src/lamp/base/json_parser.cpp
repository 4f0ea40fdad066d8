// The parser: nlohmann's lexer and grammar, but a tree of our own making, because the library's
// ordered objects look for every key among all before it (80,000 keys took 21 s), keep the last of
// two equal keys without a word, and nest until the stack ends.
#include "lamp/base/json_parser.h"

#include <iterator>
#include <unordered_map>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/mistaken_file.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

constexpr std::size_t kLargestJsonBytes = std::size_t{256} << 20;

// Walks over the text and counts its lines, so that a handler knows where it is.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, std::size_t* line) : at_(at), line_(line) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *line_ += *at_ == '\n' ? 1 : 0;
    ++at_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  std::size_t* line_;
};

// Builds the tree. A handler that returns false ends the parse; found() then says why.
class TreeBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit TreeBuilder(const std::size_t& line) : line_(line) {}

  Json take() { return std::move(root_); }
  const std::string& found() const { return found_; }
  const std::string& fix() const { return fix_; }

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return fail("binary data"); }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    const auto [before, is_new] = level.lines.emplace(name, line_);
    if (!is_new)
      return fail("the key \"" + printable(name.substr(0, 80)) + "\" stands twice, in line " +
                      std::to_string(before->second) + " and in line " + std::to_string(line_),
                  "remove one of them");
    level.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    return fail(error.what());
  }

 private:
  struct Level {
    Json* container;  // stays where it is: its parent grows only after it is closed
    std::string key;  // of the member to come
    std::unordered_map<std::string, std::size_t> lines;  // of the keys so far
  };

  bool fail(std::string found, std::string fix = "correct the file") {
    found_ = std::move(found);
    fix_ = std::move(fix);
    return false;
  }

  Json* place(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Level& level = levels_.back();
    if (level.container->is_array()) {
      auto& items = level.container->get_ref<Json::array_t&>();
      return &items.emplace_back(std::move(value));
    }
    auto& members = level.container->get_ref<Json::object_t&>();
    members.emplace_back(std::move(level.key), std::move(value));
    return &members.back().second;
  }

  bool add(Json value) {
    if (++values_ > kMostJsonValues)
      return fail("more than " + std::to_string(kMostJsonValues) + " values");
    place(std::move(value));
    return true;
  }

  bool open(Json container) {
    if (levels_.size() >= kDeepestJson)
      return fail("nested more than " + std::to_string(kDeepestJson) + " levels deep in line " +
                  std::to_string(line_));
    if (++values_ > kMostJsonValues)
      return fail("more than " + std::to_string(kMostJsonValues) + " values");
    levels_.push_back({.container = place(std::move(container))});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  const std::size_t& line_;
  Json root_;
  std::vector<Level> levels_;
  std::size_t values_ = 0;
  std::string found_, fix_;
};

void refuse_other_encodings(std::string_view text, const std::string& file) {
  const bool marked = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff");
  const bool zeros = text.size() >= 2 && (text[0] == '\0' || text[1] == '\0');
  if (marked || zeros)
    throw InputError({.file = file,
                      .what = "not valid JSON",
                      .found = "UTF-16 or UTF-32 text",
                      .expected = "UTF-8",
                      .fix = "save it as UTF-8 (Windows editors call that an encoding)"});
}

// An image would otherwise be a syntax error in its first byte.
Json read_expected(const std::filesystem::path& file, const char* expected) {
  if (const std::string other = mistaken_kind_of(file); !other.empty())
    cannot_read(file.string(), {.found = other, .expected = expected, .fix = "check the path"});
  return parse_json(read_file(file, kLargestJsonBytes), file.string());
}

// Without the library's own name and number in front, and without most of a long text that it
// quotes.
std::string shown_fault(std::string fault) {
  constexpr std::size_t kFirst = 200, kLast = 60;
  if (const auto end = fault.find("] "); fault.starts_with('[') && end != std::string::npos)
    fault = fault.substr(end + 2);
  if (fault.size() > kFirst + kLast)
    fault = fault.substr(0, kFirst) + " ... " + fault.substr(fault.size() - kLast);
  return printable(fault);
}

}  // namespace

Json parse_json(std::string_view text, const std::string& file) {
  refuse_other_encodings(text, file);
  std::size_t line = 1;
  TreeBuilder builder(line);
  const bool whole = Json::sax_parse(CountingIterator(text.data(), &line),
                                     CountingIterator(text.data() + text.size(), &line), &builder,
                                     nlohmann::detail::input_format_t::json, /*strict=*/true,
                                     /*ignore_comments=*/true);
  if (!whole)
    throw InputError({.file = file,
                      .what = "not valid JSON",
                      .found = shown_fault(builder.found()),
                      .fix = builder.fix()});
  return builder.take();
}

Json read_json(const std::filesystem::path& file) { return read_expected(file, "a JSON file"); }

Json read_settings_file(const std::filesystem::path& file) {
  try {
    return read_expected(file, "a configuration, a plan or an experiment in JSON");
  } catch (const InputError& error) {
    throw UsageError(error.what());
  }
}

}  // namespace lamp
