// The few SVG elements that the pictures are made of.
#pragma once

#include <string>

namespace lamp {

struct SvgBox {
  double x, y, width, height;
};

// With a title it shows on hovering.
std::string svg_rectangle(const SvgBox& box, const std::string& fill,
                          const std::string& title = "");
// & < > of the text become entities. `more`: further attributes, beginning with a space.
std::string svg_text(double x, double y, const std::string& text, const std::string& more = "");
std::string svg_line(double x1, double y1, double x2, double y2, const std::string& more = "");

// 1, 2 or 5 times a power of ten: about ten of them from 0 to `end`.
double svg_tick_step(double end);

}  // namespace lamp
