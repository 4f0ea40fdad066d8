// Accents in file names: "é" may be one character or an e with a mark behind it. macOS writes the
// second, everything else the first, and both look alike to people.
#pragma once

#include <string>

namespace lamp {

// UTF-8 text with every accented character taken apart and marks in canonical order (Unicode's form
// NFD, for the Latin, Greek, Cyrillic, Arabic, Devanagari, Japanese and Korean scripts): equal for
// two ways to write one name. Bytes that are no UTF-8 stay as they are.
std::string decomposed(const std::string& text);

// Well-formed UTF-8 (no overlong forms, surrogates or values beyond U+10FFFF)?
bool is_utf8(const std::string& text);

}  // namespace lamp
