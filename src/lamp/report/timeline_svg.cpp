// The picture of a pipeline step. Colours are Okabe and Ito's, which colour-blind readers can tell
// apart; labels appear only where they fit.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "lamp/base/text.h"
#include "lamp/report/timeline.h"

namespace lamp {
namespace {

constexpr double kLeft = 74;    // stage names
constexpr double kRight = 76;   // waiting shares
constexpr double kTop = 64;     // title and legend
constexpr double kBottom = 46;  // axis
constexpr double kPlotWidth = 1000;
constexpr double kDigitWidth = 7;

struct Style {
  const char* kind;
  const char* colour;
  const char* ink;
};
constexpr std::array<Style, 5> kStyles = {{{"forward", "#56b4e9", "#000"},
                                           {"backward", "#e69f00", "#000"},
                                           {"weight", "#009e73", "#fff"},
                                           {"recompute", "#f0e442", "#000"},
                                           {"transfer", "#cc79a7", "#000"}}};

Style style_of(const std::string& kind) {
  for (const Style& style : kStyles)
    if (kind == style.kind) return style;
  return {"", "#999999", "#000"};
}

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

std::string number(double value) { return fixed(value, 2); }

struct Box {
  double x, y, width, height;
};

std::string rectangle(const Box& box, const std::string& fill, const std::string& title = "") {
  const std::string start = "<rect x=\"" + number(box.x) + "\" y=\"" + number(box.y) +
                            "\" width=\"" + number(box.width) + "\" height=\"" +
                            number(box.height) + "\" fill=\"" + fill + "\"";
  return title.empty() ? start + "/>\n" : start + "><title>" + title + "</title></rect>\n";
}

std::string text_at(double x, double y, const std::string& text, const std::string& more = "") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\"" + more + ">" + escaped(text) +
         "</text>\n";
}

// 1, 2 or 5 times a power of ten: about ten of them on the axis.
double tick_step(double end) {
  const double rough = end / 10;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= rough * 0.999) return factor * power;
  return 10 * power;
}

class Drawing {
 public:
  explicit Drawing(const TimelinePicture& picture)
      : picture_(picture),
        row_height_(std::clamp(1200.0 / std::max(picture.stages, 1), 3.0, 44.0)),
        busy_(static_cast<std::size_t>(picture.stages), 0) {
    for (const TimelineBar& bar : picture.bars) {
      end_ = std::max(end_, bar.end_s);
      if (bar.kind != "transfer")
        busy_[static_cast<std::size_t>(bar.stage)] += bar.end_s - bar.start_s;
    }
    if (end_ <= 0) end_ = 1;
  }

  std::string text() const {
    const double height = kTop + row_height_ * picture_.stages + kBottom;
    const double width = kLeft + kPlotWidth + kRight;
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) +
                      "\" height=\"" + number(height) + "\" viewBox=\"0 0 " + number(width) + " " +
                      number(height) +
                      "\" font-family=\"sans-serif\" font-size=\"12\">\n"
                      "<defs><pattern id=\"wait\" width=\"6\" height=\"6\" "
                      "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
                      "<rect width=\"6\" height=\"6\" fill=\"#f4f4f4\"/>"
                      "<rect width=\"1.2\" height=\"6\" fill=\"#cccccc\"/></pattern></defs>\n";
    svg += rectangle({0, 0, width, height}, "#ffffff");
    svg += text_at(kLeft, 22, picture_.title, " font-size=\"15\" font-weight=\"bold\"");
    return svg + legend() + rows() + bars() + axis() + "</svg>\n";
  }

 private:
  double x(double time) const { return kLeft + time / end_ * kPlotWidth; }
  double y(int stage) const { return kTop + row_height_ * stage; }
  double bar_height() const { return row_height_ * 0.72; }

  std::string legend() const {
    double left = kLeft;
    std::string svg;
    const auto entry = [&](const std::string& name, const std::string& fill) {
      svg += rectangle({left, 34, 14, 14}, fill) + text_at(left + 19, 46, name);
      left += 34 + kDigitWidth * static_cast<double>(name.size());
    };
    for (const Style& style : kStyles) {
      const bool occurs = std::any_of(picture_.bars.begin(), picture_.bars.end(),
                                      [&](const auto& bar) { return bar.kind == style.kind; });
      if (occurs) entry(style.kind, style.colour);
    }
    double busy = 0;
    for (const double seconds : busy_) busy += seconds;
    const double waiting = 1 - busy / (end_ * std::max(picture_.stages, 1));
    entry("waiting (bubble " + fixed(100 * waiting, 1) + " %)", "url(#wait)");
    return svg;
  }

  // A row's hatched ground, its name and its share of waiting; names thin out where rows are low.
  std::string rows() const {
    const int every = std::max(1, static_cast<int>(std::ceil(15 / row_height_)));
    std::string svg;
    for (int stage = 0; stage < picture_.stages; ++stage) {
      svg += rectangle({kLeft, y(stage), kPlotWidth, bar_height()}, "url(#wait)");
      if (stage % every != 0) continue;
      const double middle = y(stage) + bar_height() / 2 + 4;
      const double waits = 1 - busy_[static_cast<std::size_t>(stage)] / end_;
      svg += text_at(kLeft - 8, middle, "stage " + std::to_string(stage), " text-anchor=\"end\"");
      svg += text_at(kLeft + kPlotWidth + 6, middle, "waits " + fixed(100 * waits, 0) + " %",
                     " fill=\"#555\"");
    }
    return svg;
  }

  std::string bars() const {
    std::string svg;
    for (const TimelineBar& bar : picture_.bars) {
      const Style style = style_of(bar.kind);
      const bool moves = bar.kind == "transfer";
      const std::string label = std::to_string(bar.microbatch);
      const Box box{x(bar.start_s), y(bar.stage) + (moves ? row_height_ * 0.77 : 0),
                    std::max(x(bar.end_s) - x(bar.start_s) - 0.6, 0.3),
                    moves ? row_height_ * 0.16 : bar_height()};
      svg += rectangle(box, style.colour,
                       escaped(bar.kind) + " " + label +
                           (moves ? " to stage " + std::to_string(bar.to_stage) : "") + ": " +
                           shortest(bar.start_s) + " to " + shortest(bar.end_s));
      const double need = kDigitWidth * static_cast<double>(label.size()) + 3;
      if (!moves && box.width >= need && box.height >= 11)
        svg += text_at(box.x + box.width / 2, box.y + box.height / 2 + 4, label,
                       std::string(" text-anchor=\"middle\" fill=\"") + style.ink + "\"");
    }
    return svg;
  }

  std::string axis() const {
    const double line = y(picture_.stages) + 2;
    const double step = tick_step(end_);
    std::string svg = rectangle({kLeft, line, kPlotWidth, 1}, "#000000");
    for (int k = 0; k * step <= end_ * 1.0001; ++k) {
      svg += rectangle({x(k * step), line, 1, 5}, "#000000");
      svg += text_at(x(k * step), line + 18, shortest(std::stod(fixed(k * step, 9))),
                     " text-anchor=\"middle\"");
    }
    return svg + text_at(kLeft + kPlotWidth / 2, line + 36, "time (" + picture_.unit + ")",
                         " text-anchor=\"middle\"");
  }

  const TimelinePicture& picture_;
  double row_height_;
  std::vector<double> busy_;  // by stage
  double end_ = 0;
};

}  // namespace

std::string timeline_svg(const TimelinePicture& picture) { return Drawing(picture).text(); }

}  // namespace lamp
