// Text in pictures: one size, one font (raster_font.h), ASCII.
#pragma once

#include <string>
#include <vector>

#include "lamp/preview/raster.h"

namespace lamp {

inline constexpr int kLetterWidth = 12;  // with the space behind it
inline constexpr int kLetterHeight = 18;
inline constexpr int kTextLine = 22;  // from one line to the next

// `x`, `y`: the upper left. What is not printable ASCII shows as "?", one for each character of
// UTF-8.
void draw_text(Raster& raster, int x, int y, const std::string& text, Ink ink);

// In pixels.
int text_width(const std::string& text);
// At most `letters` letters, the last three of which are "..." where something was cut off.
std::string cut_text(const std::string& text, int letters);
// Lines of at most `letters` letters, broken at spaces; a longer word is cut.
std::vector<std::string> wrapped_text(const std::string& text, int letters);

}  // namespace lamp
