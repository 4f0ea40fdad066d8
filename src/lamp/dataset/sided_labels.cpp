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

// Where in a name a word means a side.
enum class Place {
  kAnywhere,  // also as a part of a CamelCase name
  kAlone,     // between separators
  kAtEnds     // likewise, first or last
};
struct Sides {
  std::string_view left, right;
  Place place;
};
// The first of a word's lines gives its opposite.
constexpr Sides kSides[] = {{"left", "right", Place::kAnywhere},
                            {"links", "rechts", Place::kAnywhere},
                            {"sinister", "dexter", Place::kAnywhere},
                            {"sinistra", "destra", Place::kAnywhere},
                            {"izquierda", "derecha", Place::kAnywhere},
                            {"izquierdo", "derecho", Place::kAnywhere},
                            {"sinistro", "destro", Place::kAnywhere},
                            {"gauche", "droit", Place::kAnywhere},
                            {"gauche", "droite", Place::kAnywhere},
                            {"lh", "rh", Place::kAlone},
                            {"lt", "rt", Place::kAtEnds},
                            {"sin", "dex", Place::kAtEnds},
                            {"l", "r", Place::kAtEnds}};

// The opposite of a word that names a side, else empty. `place`: the strictest one it stands at.
std::string opposite(const std::string& word, Place place) {
  std::string small = word;
  small = lower(small);
  for (const Sides& sides : kSides) {
    if (sides.place > place) continue;
    if (small == sides.left) return with_case_of(word, std::string(sides.right));
    if (small == sides.right) return with_case_of(word, std::string(sides.left));
  }
  return "";
}

// "kidneyR" of "kidneyL", else empty. By itself such a letter is no side ("VertebraL").
std::string other_last_capital(std::string name) {
  if (name.size() < 2 || !std::islower(static_cast<unsigned char>(name[name.size() - 2])))
    return "";
  if (name.back() != 'L' && name.back() != 'R') return "";
  name.back() = name.back() == 'L' ? 'R' : 'L';
  return name;
}

using Ids = std::map<std::string, int>;

Ids::const_iterator best_twin(const std::string& name, const Ids& ids) {
  const std::string mirrored = mirrored_name(name);
  const std::string other = mirrored.empty() ? other_last_capital(name) : mirrored;
  if (other.empty()) return ids.end();
  if (const auto twin = ids.find(other); twin != ids.end()) return twin;
  return std::find_if(ids.begin(), ids.end(),
                      [&](const auto& label) { return mirrored_name(label.first) == name; });
}

// The twin of a label among all, or none. French has two words for right and one for left, so that
// the twin's own mirror counts, too; but no label is the twin of two.
Ids::const_iterator twin_of(const std::string& name, const Ids& ids) {
  const auto twin = best_twin(name, ids);
  if (twin == ids.end()) return twin;
  const auto back = best_twin(twin->first, ids);
  return back != ids.end() && back->first == name ? twin : ids.end();
}

Ids ids_of(const std::map<int, std::string>& labels) {
  Ids ids;
  for (const auto& [id, name] : labels) ids[name] = id;
  return ids;
}

}  // namespace

std::string mirrored_name(const std::string& name) {
  const std::vector<Word> words = words_of(name);
  for (std::size_t i = 0; i < words.size(); ++i) {
    // A name of one letter is no side of anything.
    const bool alone = words.size() > 1 && stands_alone(name, words[i]);
    const bool at_end = i == 0 || i + 1 == words.size();
    const Place place = at_end ? Place::kAtEnds : Place::kAlone;
    const std::string other =
        opposite(name.substr(words[i].start, words[i].length), alone ? place : Place::kAnywhere);
    if (!other.empty()) return std::string(name).replace(words[i].start, words[i].length, other);
  }
  return "";
}

std::vector<std::pair<int, int>> sided_pairs(const std::map<int, std::string>& labels) {
  const Ids ids = ids_of(labels);
  std::vector<std::pair<int, int>> pairs;
  for (const auto& [id, name] : labels) {
    const auto twin = twin_of(name, ids);
    if (twin != ids.end() && id < twin->second) pairs.emplace_back(id, twin->second);
  }
  return pairs;
}

std::map<int, std::string> labels_without_twin(const std::map<int, std::string>& labels) {
  const Ids ids = ids_of(labels);
  std::map<int, std::string> alone;
  for (const auto& [id, name] : labels)
    if (!mirrored_name(name).empty() && twin_of(name, ids) == ids.end()) alone.emplace(id, name);
  return alone;
}

}  // namespace lamp
