#include "lamp/report/svg.h"

#include <cmath>

#include "lamp/base/text.h"

namespace lamp {
namespace {

std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + fixed(value, 2) + "\"";
}

// & < > as entities.
std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '&')
      safe += "&amp;";
    else if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else
      safe += c;
  }
  return safe;
}

}  // namespace

std::string svg_rectangle(const SvgBox& box, const std::string& fill, const std::string& title) {
  const std::string start = "<rect" + attribute("x", box.x) + attribute("y", box.y) +
                            attribute("width", box.width) + attribute("height", box.height) +
                            " fill=\"" + fill + "\"";
  if (title.empty()) return start + "/>\n";
  return start + "><title>" + escaped(title) + "</title></rect>\n";
}

std::string svg_text(double x, double y, const std::string& text, const std::string& more) {
  return "<text" + attribute("x", x) + attribute("y", y) + more + ">" + escaped(text) + "</text>\n";
}

std::string svg_line(double x1, double y1, double x2, double y2, const std::string& more) {
  return "<line" + attribute("x1", x1) + attribute("y1", y1) + attribute("x2", x2) +
         attribute("y2", y2) + more + "/>\n";
}

double svg_tick_step(double end) {
  const double rough = end / 10;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * 0.999) return factor * power;
  return 10 * power;
}

}  // namespace lamp
