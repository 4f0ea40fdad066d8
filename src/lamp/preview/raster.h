// A picture of one byte a pixel: greys for what was scanned, a few colours for what was drawn. Few
// colours make small files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace lamp {

// A place in the palette.
using Ink = std::uint8_t;

inline constexpr int kGreyInks = 128;  // black to white, evenly
inline constexpr Ink kBlackInk = 0;
inline constexpr Ink kWhiteInk = kGreyInks - 1;
inline constexpr Ink kPaleInk = 88;  // text of less weight, on black
inline constexpr Ink kFrameInk = 32;

// Of labels, by id, in full colour or paler; they repeat after kLabelColours.
inline constexpr int kLabelColours = 14;
Ink label_ink(std::int64_t label);
Ink pale_label_ink(std::int64_t label);

struct PixelColour {
  std::uint8_t red, green, blue;
};
// Of every ink that there is.
const std::vector<PixelColour>& picture_palette();

struct PixelBox {
  int x = 0, y = 0, width = 0, height = 0;  // from the upper left
};

class Raster {
 public:
  // Black.
  Raster(int width, int height)
      : width_(width),
        height_(height),
        pixels_(static_cast<std::size_t>(width) * static_cast<std::size_t>(height), kBlackInk) {}

  int width() const { return width_; }
  int height() const { return height_; }
  const Ink* row(int y) const { return pixels_.data() + place(0, y); }
  // What lies beyond the picture is not drawn.
  void set(int x, int y, Ink ink) {
    if (x >= 0 && x < width_ && y >= 0 && y < height_) pixels_[place(x, y)] = ink;
  }
  void fill(const PixelBox& box, Ink ink);

 private:
  std::size_t place(int x, int y) const {
    return static_cast<std::size_t>(y) * static_cast<std::size_t>(width_) +
           static_cast<std::size_t>(x);
  }

  int width_, height_;
  std::vector<Ink> pixels_;
};

}  // namespace lamp
