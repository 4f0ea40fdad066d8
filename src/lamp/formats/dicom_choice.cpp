// A series is the images of one SeriesInstanceUID. Guesses go one way only: what could be a part of
// the volume is never left out.
#include "lamp/formats/dicom_choice.h"

#include <algorithm>
#include <map>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostListed = 20;

struct Series {
  std::string uid, number, text;
  std::vector<DicomSlice> slices;  // without fault
  std::vector<DicomSlice> faulty;  // images that cannot be read
  std::vector<DicomSlice> others;  // objects that are no slices

  bool has_images() const { return !slices.empty() || !faulty.empty(); }
  bool multi_frame() const {
    return std::any_of(faulty.begin(), faulty.end(),
                       [](const DicomSlice& slice) { return slice.multi_frame; });
  }
};

std::string describe(const Series& series) {
  const std::size_t count = series.slices.size() + series.faulty.size();
  std::string text = series.text + ", " + counted(count, "image");
  if (!series.slices.empty()) {
    const auto& size = series.slices.front().plane.size;
    text += " of " + std::to_string(size[0]) + "x" + std::to_string(size[1]);
  }
  return text + ", " + series.uid;
}

// In the order in which their files come.
std::vector<Series> by_series(std::vector<DicomSlice> slices) {
  std::vector<Series> all;
  std::map<std::string, std::size_t> places;
  for (DicomSlice& slice : slices) {
    const auto [place, is_new] = places.emplace(slice.series_uid, all.size());
    if (is_new)
      all.push_back(
          {.uid = slice.series_uid, .number = slice.series_number, .text = slice.series_text});
    Series& series = all[place->second];
    auto& list = !slice.other_kind.empty() ? series.others
                 : slice.fault             ? series.faulty
                                           : series.slices;
    list.push_back(std::move(slice));
  }
  return all;
}

bool same_plane(const DicomSlice& a, const DicomSlice& b) {
  Geometry first = a.plane, second = b.plane;
  first.origin_mm = second.origin_mm = {0, 0, 0};
  return corner_distance_voxels(first, second) <= kSameGridVoxels;
}

// Overviews across the others are none of the volume, even under its UID.
void leave_out_localizers(Series& series, DicomFolder& content) {
  const auto real = std::find_if(series.slices.begin(), series.slices.end(),
                                 [](const DicomSlice& slice) { return !slice.localizer; });
  if (real == series.slices.end()) return;
  const DicomSlice first = *real;
  std::erase_if(series.slices, [&](const DicomSlice& slice) {
    if (!slice.localizer || same_plane(first, slice)) return false;
    content.left_out.push_back({slice.file, "a localizer", true});
    return true;
  });
}

bool shows_localizers(const Series& series) {
  return !series.slices.empty() &&
         std::all_of(series.slices.begin(), series.slices.end(),
                     [](const DicomSlice& slice) { return slice.localizer; });
}

bool makes_volume(const Series& series) {
  if (series.slices.size() < 2) return series.multi_frame();
  const DicomSlice& first = series.slices.front();
  return std::all_of(series.slices.begin(), series.slices.end(),
                     [&](const DicomSlice& slice) { return same_plane(first, slice); });
}

// Could a slice of `other` lie within or beside the volume of `series`?
bool may_belong(const Series& series, const Series& other) {
  return std::any_of(other.slices.begin(), other.slices.end(), [&](const DicomSlice& slice) {
    return !slice.localizer && same_plane(series.slices.front(), slice);
  });
}

using List = std::vector<const Series*>;

// The series that could be meant; one if all is clear.
List candidates(const std::vector<Series>& all) {
  List images, real, volumes;
  for (const Series& series : all)
    if (!series.slices.empty() || series.multi_frame()) images.push_back(&series);
  for (const Series* series : images)
    if (!shows_localizers(*series)) real.push_back(series);
  if (real.empty()) real = images;
  for (const Series* series : real)
    if (makes_volume(*series)) volumes.push_back(series);
  if (volumes.size() != 1 || volumes.front()->slices.empty())
    return volumes.size() > 1 || volumes.empty() ? real : volumes;
  List meant = volumes;
  for (const Series* series : real)
    if (series != volumes.front() && may_belong(*volumes.front(), *series)) meant.push_back(series);
  return meant;
}

std::string numbered(const List& list) {
  std::string text;
  for (std::size_t i = 0; i < std::min(list.size(), kMostListed); ++i)
    text += (i ? "; " : "") + std::to_string(i + 1) + ": " + describe(*list[i]);
  return list.size() <= kMostListed ? text : text + "; and more";
}

[[noreturn]] void refuse_unknown(const SeriesChoice& choice, const List& list) {
  throw InputError({.file = choice.folder.string(),
                    .what = "no such series",
                    .found = setting_to("series", printable(choice.series)),
                    .expected = "a UID or place in the list of " +
                                (list.empty() ? "none, for it holds no image" : numbered(list)),
                    .fix = list.empty() ? "name another folder" : "choose one of them"});
}

// A number stands for a place in the list of those that could be meant, and for a SeriesNumber
// among all that have images, as viewers show it. Where these are different series, or several have
// the number, it says nothing.
const Series& chosen_by_number(const std::vector<Series>& all, const List& meant,
                               const SeriesChoice& choice) {
  List found;
  std::string as;
  for (std::size_t i = 0; i < meant.size(); ++i) {
    if (std::to_string(i + 1) != choice.series) continue;
    found.push_back(meant[i]);
    as = " is the place of " + describe(*meant[i]);
  }
  for (const Series& series : all) {
    if (!series.has_images() || series.number != choice.series) continue;
    as += std::string(as.empty() ? " is" : ", and") + " the SeriesNumber of " + describe(series);
    if (found.empty() || found.front() != &series) found.push_back(&series);
  }
  if (found.empty()) refuse_unknown(choice, meant);
  if (found.size() > 1) {
    throw InputError({.file = choice.folder.string(),
                      .what = "no clear choice",
                      .found = setting_to("series", choice.series) + as,
                      .expected = "a number that is one series'",
                      .fix = "choose one by its UID, the last word of each"});
  }
  const Series& series = *found.front();
  if (!series.number.empty() && series.number != choice.series)
    log_warning_once(setting_to("series", choice.series) + as +
                     ", the only one that it can mean: " + choice.folder.string());
  return series;
}

// By UID among all that have images.
const Series* chosen(const std::vector<Series>& all, const List& meant,
                     const SeriesChoice& choice) {
  for (const Series& series : all)
    if (series.has_images() && series.uid == choice.series) return &series;
  return &chosen_by_number(all, meant, choice);
}

void refuse_several(const List& list, const fs::path& folder, DicomFolder& content) {
  content.fault = {
      .file = folder.string(),
      .what = "cannot read",
      .found = std::to_string(list.size()) + " image series in the folder (" + numbered(list) + ")",
      .expected = "one",
      .fix = "choose one with " + setting_to("series", "1") +
             ", its place in this list, or its UID, or move each to a folder of its own"};
}

void take(const Series& series, DicomFolder& content) {
  content.slices = series.slices;
  for (const DicomSlice& slice : series.faulty) content.doubtful.push_back(*slice.fault);
  for (const DicomSlice& slice : series.others)
    content.doubtful.push_back({.file = slice.file.string(),
                                .what = "cannot read",
                                .found = slice.other_kind + " under the UID of the image series",
                                .fix = "it may be damaged, get it again or move it away"});
}

void leave_out(const Series& series, DicomFolder& content) {
  for (const DicomSlice& slice : series.others)
    content.left_out.push_back({slice.file, slice.other_kind});
  for (const DicomSlice& slice : series.faulty)
    content.left_out.push_back({slice.file, detail_of(*slice.fault), true});
  const std::string kind =
      shows_localizers(series) ? "a localizer" : "another series (" + describe(series) + ")";
  for (const DicomSlice& slice : series.slices)
    content.left_out.push_back(
        {.file = slice.file, .reason = kind, .is_image = true, .in_series = true});
}

}  // namespace

void choose_series(SeriesChoice choice, DicomFolder& content) {
  std::vector<Series> all = by_series(std::move(choice.slices));
  for (Series& series : all) leave_out_localizers(series, content);
  List meant = candidates(all);
  if (!choice.series.empty()) meant = {chosen(all, meant, choice)};
  const auto wanted = [&](const Series& series) {
    return std::find(meant.begin(), meant.end(), &series) != meant.end();
  };
  for (const Series& series : all)
    if (!wanted(series)) leave_out(series, content);
  content.no_image = std::none_of(all.begin(), all.end(),
                                  [](const Series& series) { return series.has_images(); });
  if (meant.size() > 1) return refuse_several(meant, choice.folder, content);
  if (meant.size() == 1 && !meant.front()->slices.empty()) return take(*meant.front(), content);
  for (const Series& series : all) {
    if (series.faulty.empty()) continue;
    content.fault = series.faulty.front().fault;
    return;
  }
  if (all.empty()) return;
  content.fault = {
      .file = choice.folder.string(),
      .what = "cannot read",
      .found = "no image series in the folder, only " + all.front().others.front().other_kind,
      .fix = "name the folder of the slices"};
}

}  // namespace lamp
