// The palette: greys, the labels' colours, the same paler.
#include "lamp/preview/raster.h"

#include <array>

#include "lamp/base/colours.h"

namespace lamp {
namespace {

// Those that stand out on grey come first; the second half, for data sets of many labels, is only
// chosen to be unlike the first.
constexpr std::array<const char*, kLabelColours> kLabelPalette = {
    kVermillion, kSkyBlue,  kYellow,   kBluishGreen, kReddishPurple, kOrange,   kDarkBlue,
    "#ff4fd8",   "#7cff4f", "#00e5e5", "#b18cff",    "#ff8a80",      "#c0a060", "#a0e0b0"};

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

PixelColour colour_of(const char* hex) {  // "#rrggbb"
  const auto byte = [hex](int at) {
    return static_cast<std::uint8_t>(16 * hex_digit(hex[at]) + hex_digit(hex[at + 1]));
  };
  return {byte(1), byte(3), byte(5)};
}

PixelColour paler(const PixelColour& colour) {
  const auto mixed = [](std::uint8_t value) {
    return static_cast<std::uint8_t>((value + 255) / 2);
  };
  return {mixed(colour.red), mixed(colour.green), mixed(colour.blue)};
}

std::vector<PixelColour> made_palette() {
  std::vector<PixelColour> palette;
  for (int i = 0; i < kGreyInks; ++i) {
    const auto value = static_cast<std::uint8_t>(i * 255 / (kGreyInks - 1));
    palette.push_back({value, value, value});
  }
  for (const char* hex : kLabelPalette) palette.push_back(colour_of(hex));
  for (const char* hex : kLabelPalette) palette.push_back(paler(colour_of(hex)));
  return palette;
}

int palette_place(std::int64_t label) {
  const std::int64_t place = (label - 1) % kLabelColours;
  return static_cast<int>(place < 0 ? place + kLabelColours : place);
}

}  // namespace

Ink label_ink(std::int64_t label) { return static_cast<Ink>(kGreyInks + palette_place(label)); }

Ink pale_label_ink(std::int64_t label) {
  return static_cast<Ink>(kGreyInks + kLabelColours + palette_place(label));
}

const std::vector<PixelColour>& picture_palette() {
  static const std::vector<PixelColour> palette = made_palette();
  return palette;
}

void Raster::fill(const PixelBox& box, Ink ink) {
  for (int y = box.y; y < box.y + box.height; ++y)
    for (int x = box.x; x < box.x + box.width; ++x) set(x, y, ink);
}

}  // namespace lamp
