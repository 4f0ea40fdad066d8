// Names are cut into words at separators and at the capitals of CamelCase.
#include "lamp/dataset/sided_labels.h"

#include <algorithm>
#include <cctype>
#include <string_view>

#include "lamp/base/text.h"

namespace lamp {
namespace {

bool separator(char c) {
  return std::string_view("_-.,;:/()[]").find(c) != std::string_view::npos ||
         std::isspace(static_cast<unsigned char>(c));
}
bool upper(char c) { return std::isupper(static_cast<unsigned char>(c)) != 0; }

struct Word {
  std::size_t start = 0, length = 0;
};

std::vector<Word> words_of(const std::string& name) {
  std::vector<Word> words;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (separator(name[i])) continue;
    const bool starts = i == 0 || separator(name[i - 1]) || (upper(name[i]) && !upper(name[i - 1]));
    if (starts) words.push_back({i, 0});
    ++words.back().length;
  }
  return words;
}

// Where the whole word stands between separators (or the name's ends) a single letter may be a
// side; in CamelCase it may not ("VertebraL", "RVentricle").
bool stands_alone(const std::string& name, const Word& word) {
  const std::size_t end = word.start + word.length;
  return (word.start == 0 || separator(name[word.start - 1])) &&
         (end == name.size() || separator(name[end]));
}

std::string with_case_of(const std::string& model, std::string text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool capital = upper(model[std::min(i, model.size() - 1)]);
    text[i] = static_cast<char>(capital ? std::toupper(text[i]) : std::tolower(text[i]));
  }
  return text;
}

struct Sides {
  std::string_view left, right;
  bool whole_name;  // also as a part of a CamelCase name, and at any place
};
constexpr Sides kSides[] = {{"left", "right", true},
                            {"links", "rechts", true},
                            {"sinister", "dexter", true},
                            {"sinistra", "destra", true},
                            {"izquierda", "derecha", true},
                            {"izquierdo", "derecho", true},
                            {"sinistro", "destro", true},
                            {"lh", "rh", false},
                            {"lt", "rt", false},
                            {"l", "r", false}};

// The opposite of a word that names a side, else empty.
std::string opposite(const std::string& word, bool abbreviation_allowed) {
  std::string small = word;
  small = lower(small);
  for (const Sides& sides : kSides) {
    if (!sides.whole_name && !abbreviation_allowed) continue;
    if (small == sides.left) return with_case_of(word, std::string(sides.right));
    if (small == sides.right) return with_case_of(word, std::string(sides.left));
  }
  return "";
}

}  // namespace

std::string mirrored_name(const std::string& name) {
  const std::vector<Word> words = words_of(name);
  for (std::size_t i = 0; i < words.size(); ++i) {
    // A name of one letter is no side of anything.
    const bool abbreviation_allowed =
        words.size() > 1 && (i == 0 || i + 1 == words.size()) && stands_alone(name, words[i]);
    const std::string other =
        opposite(name.substr(words[i].start, words[i].length), abbreviation_allowed);
    if (!other.empty()) return std::string(name).replace(words[i].start, words[i].length, other);
  }
  return "";
}

std::vector<std::pair<int, int>> sided_pairs(const std::map<int, std::string>& labels) {
  std::map<std::string, int> ids;
  for (const auto& [id, name] : labels) ids[name] = id;
  std::vector<std::pair<int, int>> pairs;
  for (const auto& [id, name] : labels) {
    const auto twin = ids.find(mirrored_name(name));
    if (twin != ids.end() && id < twin->second) pairs.emplace_back(id, twin->second);
  }
  return pairs;
}

std::map<int, std::string> labels_without_twin(const std::map<int, std::string>& labels) {
  std::map<int, std::string> alone;
  for (const auto& [id, name] : labels) {
    const std::string twin = mirrored_name(name);
    const bool found =
        std::any_of(labels.begin(), labels.end(), [&](const auto& l) { return l.second == twin; });
    if (!twin.empty() && !found) alone.emplace(id, name);
  }
  return alone;
}

}  // namespace lamp
