// The picture of a pipeline step. Labels appear only where they fit.
#include "lamp/report/timeline_svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "lamp/base/colours.h"
#include "lamp/base/text.h"
#include "lamp/report/svg.h"

namespace lamp {
namespace {

constexpr double kNamesOfStages = 74;
constexpr double kNamesOfSlabs = 124;
constexpr double kTimelineRight = 76;   // waiting shares
constexpr double kTimelineTop = 64;     // title and legend
constexpr double kHeading = 22;         // above each of several panels
constexpr double kTimelineBottom = 46;  // axis
constexpr double kTimelinePlotWidth = 1000;
constexpr double kDigitWidth = 7;

struct Style {
  WorkKind kind;
  const char* colour;
  const char* ink;
};
constexpr std::array<Style, 5> kStyles = {{{WorkKind::kForward, kSkyBlue, "#000"},
                                           {WorkKind::kBackward, kOrange, "#000"},
                                           {WorkKind::kWeight, kBluishGreen, "#fff"},
                                           {WorkKind::kRecompute, kYellow, "#000"},
                                           {WorkKind::kTransfer, kReddishPurple, "#000"}}};

Style style_of(WorkKind kind) {
  return *std::find_if(kStyles.begin(), kStyles.end(),
                       [&](const Style& style) { return style.kind == kind; });
}

std::string number(double value) { return fixed(value, 2); }

// What a panel's rows say beside their bars.
struct Busy {
  double end = 0;               // of the last entry
  std::vector<double> seconds;  // by stage

  explicit Busy(const TimelinePanel& panel) : seconds(static_cast<std::size_t>(panel.stages), 0) {
    for (const TimelineEntry& entry : panel.timeline) {
      end = std::max(end, entry.end);
      if (entry.kind != WorkKind::kTransfer)
        seconds[static_cast<std::size_t>(entry.stage)] += entry.end - entry.start;
    }
  }
  double waits(std::size_t stage) const { return end > 0 ? 1 - seconds[stage] / end : 1; }
  std::string bubble() const {
    double sum = 0;
    for (std::size_t stage = 0; stage < seconds.size(); ++stage) sum += waits(stage);
    return "bubble " +
           fixed(100 * sum / static_cast<double>(std::max<std::size_t>(seconds.size(), 1)), 1) +
           " %";
  }
};

class TimelineDrawing {
 public:
  explicit TimelineDrawing(const TimelinePicture& picture) : picture_(picture) {
    int rows = 0;
    for (const TimelinePanel& panel : picture.panels) {
      rows += panel.stages;
      if (panel.slabs > 1) left_ = kNamesOfSlabs;
      busy_.emplace_back(panel);
      end_ = std::max(end_, busy_.back().end);
    }
    row_height_ = std::clamp(1200.0 / std::max(rows, 1), 3.0, 44.0);
    heading_ = picture.panels.size() > 1 ? kHeading : 0;
    bottom_ =
        kTimelineTop + row_height_ * rows + heading_ * static_cast<double>(picture.panels.size());
    if (end_ <= 0) end_ = 1;
  }

  std::string text() const {
    const double height = bottom_ + kTimelineBottom;
    const double width = left_ + kTimelinePlotWidth + kTimelineRight;
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width) +
                      "\" height=\"" + number(height) + "\" viewBox=\"0 0 " + number(width) + " " +
                      number(height) +
                      "\" font-family=\"sans-serif\" font-size=\"12\">\n"
                      "<defs><pattern id=\"wait\" width=\"6\" height=\"6\" "
                      "patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">"
                      "<rect width=\"6\" height=\"6\" fill=\"#f4f4f4\"/>"
                      "<rect width=\"1.2\" height=\"6\" fill=\"#cccccc\"/></pattern></defs>\n";
    svg += svg_rectangle({0, 0, width, height}, "#ffffff");
    svg += svg_text(left_, 22, picture_.title, " font-size=\"15\" font-weight=\"bold\"");
    svg += legend() + grid();
    double top = kTimelineTop;
    for (std::size_t p = 0; p < picture_.panels.size(); ++p) {
      const TimelinePanel& panel = picture_.panels[p];
      if (heading_ > 0) svg += svg_text(left_, top + 15, heading(p), " font-weight=\"bold\"");
      top += heading_;
      svg += rows(p, top) + bars(panel, top);
      top += row_height_ * panel.stages;
    }
    return svg + axis() + "</svg>\n";
  }

 private:
  double x(double time) const { return left_ + time / end_ * kTimelinePlotWidth; }
  double bar_height() const { return row_height_ * 0.72; }

  std::string heading(std::size_t panel) const {
    return picture_.panels[panel].name + ": " + shortest(std::stod(fixed(busy_[panel].end, 4))) +
           " " + picture_.unit + ", " + busy_[panel].bubble();
  }

  std::string legend() const {
    double left = left_;
    std::string svg;
    const auto entry = [&](const std::string& name, const std::string& fill) {
      svg += svg_rectangle({left, 34, 14, 14}, fill) + svg_text(left + 19, 46, name);
      left += 34 + kDigitWidth * static_cast<double>(name.size());
    };
    const auto occurs = [&](WorkKind kind) {
      for (const TimelinePanel& panel : picture_.panels)
        for (const TimelineEntry& drawn : panel.timeline)
          if (drawn.kind == kind) return true;
      return false;
    };
    for (const Style& style : kStyles)
      if (occurs(style.kind)) entry(to_string(style.kind), style.colour);
    entry(busy_.size() == 1 ? "waiting (" + busy_.front().bubble() + ")" : "waiting (bubble)",
          "url(#wait)");
    return svg;
  }

  // Each row's hatched ground to the end of its panel's step, its name and its share of waiting;
  // names thin out where rows are low.
  std::string rows(std::size_t p, double top) const {
    const int every = std::max(1, static_cast<int>(std::ceil(15 / row_height_)));
    std::string svg;
    for (int stage = 0; stage < picture_.panels[p].stages; ++stage) {
      const double y = top + row_height_ * stage;
      svg += svg_rectangle({left_, y, std::max(x(busy_[p].end) - left_, 1.0), bar_height()},
                           "url(#wait)");
      if (stage % every != 0) continue;
      const double middle = y + bar_height() / 2 + 4;
      const double waits = busy_[p].waits(static_cast<std::size_t>(stage));
      svg +=
          svg_text(left_ - 8, middle, picture_.panels[p].row_name(stage), " text-anchor=\"end\"");
      svg += svg_text(left_ + kTimelinePlotWidth + 6, middle,
                      "waits " + fixed(100 * waits, 0) + " %", " fill=\"#555\"");
    }
    return svg;
  }

  std::string bars(const TimelinePanel& panel, double top) const {
    std::string svg;
    for (const TimelineEntry& bar : panel.timeline) {
      const Style style = style_of(bar.kind);
      const bool moves = bar.kind == WorkKind::kTransfer;
      const std::string label = std::to_string(bar.microbatch);
      const SvgBox box{x(bar.start), top + row_height_ * (bar.stage + (moves ? 0.77 : 0)),
                       std::max(x(bar.end) - x(bar.start) - 0.6, 0.3),
                       moves ? row_height_ * 0.16 : bar_height()};
      svg += svg_rectangle(box, style.colour,
                           to_string(bar.kind) + " " + label +
                               (moves ? " to " + panel.row_name(bar.to_stage) : "") + ": " +
                               shortest(bar.start) + " to " + shortest(bar.end));
      const double need = kDigitWidth * static_cast<double>(label.size()) + 3;
      if (!moves && box.width >= need && box.height >= 11)
        svg += svg_text(box.x + box.width / 2, box.y + box.height / 2 + 4, label,
                        std::string(" text-anchor=\"middle\" fill=\"") + style.ink + "\"");
    }
    return svg;
  }

  template <typename Draw>
  void at_ticks(const Draw& draw) const {
    const double step = svg_tick_step(end_);
    for (int k = 0; k * step <= end_ * 1.0001; ++k) draw(k * step);
  }

  // So that moments of two panels can be compared.
  std::string grid() const {
    std::string svg;
    if (picture_.panels.size() > 1)
      at_ticks([&](double time) {
        svg += svg_rectangle({x(time), kTimelineTop, 1, bottom_ - kTimelineTop}, "#dddddd");
      });
    return svg;
  }

  std::string axis() const {
    const double line = bottom_ + 2;
    std::string svg = svg_rectangle({left_, line, kTimelinePlotWidth, 1}, "#000000");
    at_ticks([&](double time) {
      svg += svg_rectangle({x(time), line, 1, 5}, "#000000");
      svg += svg_text(x(time), line + 18, shortest(std::stod(fixed(time, 9))),
                      " text-anchor=\"middle\"");
    });
    return svg + svg_text(left_ + kTimelinePlotWidth / 2, line + 36, "time (" + picture_.unit + ")",
                          " text-anchor=\"middle\"");
  }

  const TimelinePicture& picture_;
  std::vector<Busy> busy_;  // by panel
  double left_ = kNamesOfStages;
  double row_height_ = 0;
  double heading_ = 0;
  double bottom_ = 0;  // of the last panel
  double end_ = 0;
};

}  // namespace

std::string timeline_svg(const TimelinePicture& picture) { return TimelineDrawing(picture).text(); }

}  // namespace lamp
