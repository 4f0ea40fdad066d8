// From the top: title, notes, the planes with their titles and letters, the legend.
#include "lamp/preview/case_picture.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "lamp/preview/plane_pixels.h"
#include "lamp/preview/png.h"
#include "lamp/preview/raster_text.h"

namespace lamp {
namespace {

constexpr int kMargin = 12;
constexpr int kSide = kLetterWidth + 8;  // for the letters beside a plane
constexpr int kPlaneGap = 24;
constexpr int kLeastPictureWidth = 720;  // room for text
constexpr int kHeaderGap = 10;
constexpr int kMostPlaneHeight = 440;
constexpr double kMostPixelsPerVoxel = 16;
constexpr int kLegendWidth = 288;  // of an entry
constexpr int kLegendSample = 30;
constexpr int kMostLegendRows = 6;
constexpr int kResultLine = 2;
constexpr int kReferenceLine = 1;

double sound_mm(double mm) { return std::isfinite(mm) && mm > 0 ? mm : 1; }
double width_mm(const PicturePlane& plane) { return plane.columns * sound_mm(plane.column_mm); }
double height_mm(const PicturePlane& plane) { return plane.rows * sound_mm(plane.row_mm); }

int pixels_of(double mm, double scale) {
  return static_cast<int>(std::clamp(std::round(mm * scale), 1.0, double{kMostPictureWidth}));
}

// With the letters at its sides and the title above it.
int cell_width(const PicturePlane& plane, double scale) {
  return std::max(pixels_of(width_mm(plane), scale) + 2 * kSide, text_width(plane.title));
}

int row_width(const CasePicture& picture, double scale) {
  int width = 2 * kMargin - kPlaneGap;
  for (const PicturePlane& plane : picture.planes) width += cell_width(plane, scale) + kPlaneGap;
  return width;
}

// Pixels a mm.
double picture_scale(const CasePicture& picture) {
  double high = 0, fine = 0;
  for (const PicturePlane& plane : picture.planes) {
    high = std::max(high, height_mm(plane));
    const double least = std::min(sound_mm(plane.column_mm), sound_mm(plane.row_mm));
    fine = fine > 0 ? std::min(fine, least) : least;
  }
  if (!(high > 0)) return 1;
  double scale = std::min(kMostPlaneHeight / high, kMostPixelsPerVoxel / fine);
  constexpr int kMostTries = 2000;  // down to where a plane is a pixel wide, whatever its mm
  for (int i = 0; i < kMostTries && row_width(picture, scale) > kMostPictureWidth; ++i)
    scale *= 0.99;
  return scale;
}

std::vector<std::string> header_lines(const CasePicture& picture, int width) {
  const int letters = (width - 2 * kMargin) / kLetterWidth;
  std::vector<std::string> lines = {cut_text(picture.title, letters)};
  for (const std::string& note : picture.notes)
    for (std::string& line : wrapped_text(note, letters)) lines.push_back(std::move(line));
  return lines;
}

bool has_both_maps(const CasePicture& picture) {
  return std::any_of(picture.planes.begin(), picture.planes.end(), [](const PicturePlane& plane) {
    return !plane.result.empty() && !plane.reference.empty();
  });
}

struct LegendEntry {
  std::string text;
  std::int64_t label = 0;  // 0 = no sample
};

std::set<std::int64_t> visible_labels(const CasePicture& picture) {
  std::set<std::int64_t> visible;
  for (const PicturePlane& plane : picture.planes)
    for (const auto* map : {&plane.result, &plane.reference})
      for (auto label = map->begin(); label != map->end(); ++label)
        if (label == map->begin() || *label != *(label - 1)) visible.insert(*label);
  return visible;
}

// The labels in view as far as there is room, and how many more there are.
std::vector<LegendEntry> legend_of(const CasePicture& picture, std::size_t room) {
  const std::set<std::int64_t> visible = visible_labels(picture);
  std::vector<LegendEntry> entries;
  for (const auto& [label, name] : picture.labels)
    if (label != 0 && visible.contains(label)) entries.push_back({name, label});
  const std::size_t all = picture.labels.size() - picture.labels.count(0);
  if (entries.size() == all && all <= room) return entries;
  entries.resize(std::min(entries.size(), room - 1));
  entries.push_back({"+ " + std::to_string(all - entries.size()) + " more"});
  return entries;
}

int legend_columns(int width) { return std::max(1, (width - 2 * kMargin) / kLegendWidth); }

std::vector<LegendEntry> legend_of(const CasePicture& picture, int width) {
  return legend_of(picture, static_cast<std::size_t>(legend_columns(width) * kMostLegendRows));
}

// The map as pixels.
std::vector<std::int32_t> scaled_labels(const std::vector<std::int32_t>& map,
                                        const PicturePlane& plane, const PixelBox& box) {
  const std::vector<int> columns = voxels_under(plane.columns, box.width);
  std::vector<std::int32_t> labels;
  for (const int row : voxels_under(plane.rows, box.height))
    for (const int column : columns)
      labels.push_back(map[static_cast<std::size_t>(row) * static_cast<std::size_t>(plane.columns) +
                           static_cast<std::size_t>(column)]);
  return labels;
}

class PictureDrawing {
 public:
  PictureDrawing(const CasePicture& picture, int grey_levels)
      : picture_(picture),
        layout_(picture_layout(picture)),
        levels_(grey_levels),
        raster_(layout_.width, layout_.height) {}

  Raster drawn() {
    int y = kMargin;
    for (const std::string& line : header_lines(picture_, layout_.width)) {
      draw_text(raster_, kMargin, y, line, y == kMargin ? kWhiteInk : kPaleInk);
      y += kTextLine;
    }
    for (std::size_t i = 0; i < picture_.planes.size(); ++i)
      draw_plane(picture_.planes[i], layout_.planes[i]);
    draw_legend();
    return std::move(raster_);
  }

 private:
  void draw_plane(const PicturePlane& plane, const PixelBox& box) {
    const int text_top = box.y - 2 * kTextLine;
    draw_text(raster_, box.x - kSide, text_top, plane.title, kWhiteInk);
    const int middle_x = box.x + (box.width - kLetterWidth) / 2 + 1;
    const int middle_y = box.y + (box.height - kLetterHeight) / 2 + 2;
    const auto letter = [&](int x, int y, char side) {
      draw_text(raster_, x, y, std::string(1, side), kWhiteInk);
    };
    letter(box.x - kSide + 5, middle_y, plane.sides[0]);
    letter(box.x + box.width + 6, middle_y, plane.sides[1]);
    letter(middle_x, box.y - kTextLine + 3, plane.sides[2]);
    letter(middle_x, box.y + box.height + 4, plane.sides[3]);
    raster_.fill({box.x - 1, box.y - 1, box.width + 2, box.height + 2}, kFrameInk);
    raster_.fill(box, kBlackInk);
    if (!plane.grey.empty()) draw_grey(plane, box);
    const bool both = !plane.result.empty() && !plane.reference.empty();
    if (!plane.result.empty())
      draw_outlines(scaled_labels(plane.result, plane, box), box, kResultLine, label_ink);
    if (!plane.reference.empty())
      draw_outlines(scaled_labels(plane.reference, plane, box), box,
                    both ? kReferenceLine : kResultLine, both ? pale_label_ink : label_ink);
  }

  void draw_grey(const PicturePlane& plane, const PixelBox& box) {
    const std::vector<float> greys =
        scaled_greys(plane.grey, plane.columns, plane.rows, box.width, box.height);
    const float steps = static_cast<float>(levels_ - 1);
    auto grey = greys.begin();
    for (int y = 0; y < box.height; ++y)
      for (int x = 0; x < box.width; ++x) {
        const float level = std::round(*grey++ / 255 * steps);
        raster_.set(box.x + x, box.y + y, static_cast<Ink>(level / steps * kWhiteInk + 0.5F));
      }
  }

  // Pixels of a label with another one no more than `line` pixels beside, above or below them, or
  // with the plane's edge there.
  void draw_outlines(const std::vector<std::int32_t>& labels, const PixelBox& box, int line,
                     Ink (*ink)(std::int64_t)) {
    const auto at = [&](int x, int y) {
      if (x < 0 || x >= box.width || y < 0 || y >= box.height) return 0;
      return labels[static_cast<std::size_t>(y) * static_cast<std::size_t>(box.width) +
                    static_cast<std::size_t>(x)];
    };
    for (int y = 0; y < box.height; ++y)
      for (int x = 0; x < box.width; ++x) {
        const std::int32_t label = at(x, y);
        if (label == 0) continue;
        bool edge = false;
        for (int d = 1; d <= line; ++d)
          edge = edge || at(x - d, y) != label || at(x + d, y) != label || at(x, y - d) != label ||
                 at(x, y + d) != label;
        if (edge) raster_.set(box.x + x, box.y + y, ink(label));
      }
  }

  void draw_legend() {
    int y = layout_.legend_top;
    const std::vector<LegendEntry> entries = legend_of(picture_, layout_.width);
    if (has_both_maps(picture_)) {
      const std::int64_t shown =
          entries.empty() ? 1 : std::max(entries.front().label, std::int64_t{1});
      const int second = kMargin + kLegendWidth;
      raster_.fill({kMargin, y + 6, kLegendSample, kResultLine}, label_ink(shown));
      draw_text(raster_, kMargin + kLegendSample + 6, y, "thick: the result", kPaleInk);
      raster_.fill({second, y + 6, kLegendSample, kReferenceLine}, pale_label_ink(shown));
      draw_text(raster_, second + kLegendSample + 6, y, "thin and pale: the reference", kPaleInk);
      y += kTextLine;
    }
    const int columns = legend_columns(layout_.width);
    int place = 0;
    for (const LegendEntry& entry : entries) {
      const int x = kMargin + place % columns * kLegendWidth;
      const int top = y + place / columns * kTextLine;
      ++place;
      if (entry.label != 0) raster_.fill({x, top + 2, kLegendSample, 10}, label_ink(entry.label));
      const int letters = (kLegendWidth - kLegendSample - 6) / kLetterWidth - 1;
      draw_text(raster_, x + kLegendSample + 6, top, cut_text(entry.text, letters), kWhiteInk);
    }
  }

  const CasePicture& picture_;
  const PictureLayout layout_;
  const int levels_;
  Raster raster_;
};

}  // namespace

PictureLayout picture_layout(const CasePicture& picture) {
  const double scale = picture_scale(picture);
  PictureLayout layout;
  layout.width = std::max(row_width(picture, scale), kLeastPictureWidth);
  const auto lines = static_cast<int>(header_lines(picture, layout.width).size());
  const int top =
      kMargin + (lines + 2) * kTextLine + kHeaderGap;  // a plane's title and its upper letter
  int x = kMargin, bottom = top;
  for (const PicturePlane& plane : picture.planes) {
    const PixelBox box{x + kSide, top, pixels_of(width_mm(plane), scale),
                       pixels_of(height_mm(plane), scale)};
    layout.planes.push_back(box);
    x += cell_width(plane, scale) + kPlaneGap;
    bottom = std::max(bottom, top + box.height);
  }
  layout.legend_top = bottom + 2 * kTextLine;
  const auto entries = static_cast<int>(legend_of(picture, layout.width).size());
  const int columns = legend_columns(layout.width);
  const int rows = (entries + columns - 1) / columns + (has_both_maps(picture) ? 1 : 0);
  layout.height = layout.legend_top + rows * kTextLine + kMargin;
  return layout;
}

std::string case_picture_png(const CasePicture& picture) {
  std::string bytes;
  for (int levels = kGreyInks; levels >= 4; levels /= 2) {
    bytes = png_bytes(PictureDrawing(picture, levels).drawn());
    if (bytes.size() <= kMostPngBytes) break;
  }
  return bytes;
}

}  // namespace lamp
