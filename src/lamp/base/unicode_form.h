// Characters in file names that deceive people.
//
// Accents: "é" may be one character or an e with a mark behind it. macOS writes the
// second, everything else the first, and both look alike to people.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace lamp {

// UTF-8 text with every accented character taken apart and marks in canonical order (Unicode's form
// NFD, for the Latin, Greek, Cyrillic, Arabic, Devanagari, Japanese and Korean scripts): equal for
// two ways to write one name. Bytes that are no UTF-8 stay as they are.
std::string decomposed(const std::string& text);

// A character that nobody sees, but that turns the text around it, joins or parts it, or makes two
// names look alike: direction marks and overrides, zero-width spaces and joiners, separators of
// lines, soft hyphens, tags, and the control characters above U+007F.
struct UnseenCharacter {
  std::string name;   // "U+202E"
  std::size_t bytes;  // that it takes in UTF-8
};
// The one that begins at this byte; nothing if another character does.
std::optional<UnseenCharacter> unseen_character_at(const std::string& text, std::size_t at);
// Whether U+200C and U+200D count: Persian and Indic names are spelled with them.
enum class Joiners { kUnseen, kAllowed };
// The first one in the text.
std::optional<UnseenCharacter> unseen_character(const std::string& text, Joiners joiners);

// Well-formed UTF-8 (no overlong forms, surrogates or values beyond U+10FFFF)?
bool is_utf8(const std::string& text);

}  // namespace lamp
