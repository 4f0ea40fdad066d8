// Every dot becomes 2 x 2 pixels, with corners filled where two dots touch over a corner:
// Mazzoleni's Scale2x, which makes stairs into slopes.
#include "lamp/preview/raster_text.h"

#include <algorithm>
#include <sstream>

#include "lamp/preview/raster_font.h"

namespace lamp {
namespace {

// Printable ASCII only.
std::string drawable(const std::string& text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;  // goes on a character of UTF-8
    result += byte >= kFirstGlyph && byte < 0x7F ? c : '?';
  }
  return result;
}

bool has_dot(const Glyph& glyph, int column, int row) {
  if (column < 0 || column >= kGlyphColumns || row < 0 || row >= kGlyphRows) return false;
  return (glyph[static_cast<std::size_t>(row)] >> (kGlyphColumns - 1 - column)) & 1;
}

void draw_dot(Raster& raster, int x, int y, const Glyph& glyph, int column, int row, Ink ink) {
  const bool here = has_dot(glyph, column, row);
  const bool above = has_dot(glyph, column, row - 1), below = has_dot(glyph, column, row + 1);
  const bool left = has_dot(glyph, column - 1, row), right = has_dot(glyph, column + 1, row);
  const auto corner = [&](bool vertical, bool horizontal, int dx, int dy) {
    const bool smooth = above != below && left != right && vertical == horizontal;
    if (smooth ? vertical : here) raster.set(x + 2 * column + dx, y + 2 * row + dy, ink);
  };
  corner(above, left, 0, 0);
  corner(above, right, 1, 0);
  corner(below, left, 0, 1);
  corner(below, right, 1, 1);
}

}  // namespace

void draw_text(Raster& raster, int x, int y, const std::string& text, Ink ink) {
  for (const char c : drawable(text)) {
    const Glyph& glyph = kGlyphs[static_cast<std::size_t>(c - kFirstGlyph)];
    for (int row = 0; row < kGlyphRows; ++row)
      for (int column = 0; column < kGlyphColumns; ++column)
        draw_dot(raster, x, y, glyph, column, row, ink);
    x += kLetterWidth;
  }
}

int text_width(const std::string& text) {
  return kLetterWidth * static_cast<int>(drawable(text).size());
}

std::string cut_text(const std::string& text, int letters) {
  const std::string whole = drawable(text);
  const auto most = static_cast<std::size_t>(std::max(letters, 0));
  if (whole.size() <= most) return whole;
  return most < 3 ? whole.substr(0, most) : whole.substr(0, most - 3) + "...";
}

std::vector<std::string> wrapped_text(const std::string& text, int letters) {
  std::vector<std::string> lines;
  std::istringstream words(drawable(text));
  std::string line;
  for (std::string word; words >> word;) {
    word = cut_text(word, letters);
    if (!line.empty() && line.size() + 1 + word.size() > static_cast<std::size_t>(letters)) {
      lines.push_back(line);
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty()) lines.push_back(line);
  return lines;
}

}  // namespace lamp
