// Horizontal bars, since the names of rows are long.
#include "lamp/report/bar_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lamp/base/colours.h"
#include "lamp/base/text.h"
#include "lamp/report/svg.h"

namespace lamp {
namespace {

constexpr double kLeastLeft = 120;  // names
constexpr double kLetter = 7;       // as wide as a letter is at most in the mean
constexpr double kBarRight = 110;   // figures
constexpr double kBarTop = 44;
constexpr double kBarBottom = 50;
constexpr double kBarPlotWidth = 560;
constexpr double kRow = 30;
constexpr double kBarHeight = 18;
constexpr const char* kBarColour = kSkyBlue;
constexpr const char* kDotColour = kDarkBlue;

// Letters of UTF-8 text: bytes that continue one do not count.
double letters_of(const std::string& text) {
  return static_cast<double>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

class BarDrawing {
 public:
  explicit BarDrawing(const BarPlot& plot) : plot_(plot) {
    for (const PlotBar& bar : plot.bars)
      left_ = std::max(left_, kLetter * letters_of(bar.name) + 16);
    for (const PlotBar& bar : plot.bars)
      for (const double value : bar.values)
        if (std::isfinite(value)) end_ = std::max(end_, value);
    end_ = end_ > 0 ? end_ * 1.05 : 1;
  }

  std::string text() const {
    const double height = y(plot_.bars.size()) + kBarBottom,
                 width = left_ + kBarPlotWidth + kBarRight;
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + fixed(width, 0) +
                      "\" height=\"" + fixed(height, 0) +
                      "\" font-family=\"sans-serif\" font-size=\"12\">\n";
    svg += svg_rectangle({0, 0, width, height}, "#ffffff");
    svg += svg_text(16, 24, plot_.title, " font-size=\"15\" font-weight=\"bold\"");
    svg += axis();
    for (std::size_t row = 0; row < plot_.bars.size(); ++row) svg += bar(row);
    return svg + "</svg>\n";
  }

 private:
  double x(double value) const { return left_ + value / end_ * kBarPlotWidth; }
  double y(std::size_t row) const { return kBarTop + kRow * static_cast<double>(row); }

  std::string axis() const {
    const double bottom = y(plot_.bars.size());
    const double step = svg_tick_step(end_);
    std::string svg;
    for (int k = 0; k * step <= end_; ++k) {
      svg += svg_line(x(k * step), kBarTop - 4, x(k * step), bottom, " stroke=\"#dddddd\"");
      svg += svg_text(x(k * step), bottom + 16, shortest(std::stod(fixed(k * step, 9))),
                      " text-anchor=\"middle\"");
    }
    svg += svg_line(left_, bottom, left_ + kBarPlotWidth, bottom, " stroke=\"#000\"");
    return svg +
           svg_text(left_ + kBarPlotWidth / 2, bottom + 36, plot_.axis, " text-anchor=\"middle\"");
  }

  std::string bar(std::size_t row) const {
    const PlotBar& bar = plot_.bars[row];
    const double middle = y(row) + kBarHeight / 2;
    std::string svg = svg_text(left_ - 8, middle + 4, bar.name, " text-anchor=\"end\"");
    const double mean = mean_of(bar.values), spread = deviation_of(bar.values);
    if (!std::isfinite(mean)) return svg + svg_text(left_ + 6, middle + 4, "not there yet");
    const double from = x(std::max(mean - spread, 0.0));
    const double to = std::min(x(mean + spread), left_ + kBarPlotWidth);
    svg += svg_rectangle({left_, y(row), x(mean) - left_, kBarHeight}, kBarColour);
    svg += svg_line(from, middle, to, middle, " stroke=\"#000\" stroke-width=\"1.5\"");
    for (const double value : bar.values)
      svg += "<circle cx=\"" + fixed(x(value), 2) + "\" cy=\"" + fixed(middle, 2) +
             "\" r=\"3\" fill=\"" + kDotColour + "\"/>\n";
    const int digits = mean >= 10 ? 1 : 2;
    return svg + svg_text(left_ + kBarPlotWidth + 8, middle + 4,
                          fixed(mean, digits) + " ± " + fixed(spread, digits));
  }

  const BarPlot& plot_;
  double end_ = 0;
  double left_ = kLeastLeft;
};

}  // namespace

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double deviation_of(const std::vector<double>& values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  if (values.size() == 1) return 0;
  const double mean = mean_of(values);
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

std::string bar_plot_svg(const BarPlot& plot) { return BarDrawing(plot).text(); }

}  // namespace lamp
