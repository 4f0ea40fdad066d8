// An element tells the images of a place apart if every place shows the same values of it, each
// once.
#include "lamp/formats/dicom_phases.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMostValues = 4;

using Place = std::vector<const DicomSlice*>;

std::vector<Place> places_of(const std::vector<DicomSlice>& slices) {
  std::vector<Place> places;
  for (const DicomSlice& slice : slices) {
    if (places.empty() || slice.position_mm - places.back().front()->position_mm > kOnePlaceMm)
      places.emplace_back();
    places.back().push_back(&slice);
  }
  return places;
}

std::set<std::string> values_at(const Place& place, std::size_t element) {
  std::set<std::string> values;
  for (const DicomSlice* slice : place) values.insert(slice->phase[element].second);
  return values;
}

// "TemporalPositionIdentifier 1 and 2"; empty if `element` does not tell them apart.
std::string explanation(const std::vector<Place>& places, std::size_t element) {
  const std::set<std::string> values = values_at(places.front(), element);
  for (const Place& place : places)
    if (place.size() != values.size() || values_at(place, element) != values) return "";
  std::string text = places.front().front()->phase[element].first;
  std::size_t count = 0;
  for (const std::string& value : values) {
    if (++count > kMostValues) return text + ", ...";
    text += (count == 1 ? " " : ", ") + value;
  }
  return text;
}

constexpr const char* kPhases = " (phases, echoes or reconstructions?)";
constexpr const char* kPhaseWayOut = "move each set into a folder of its own";

}  // namespace

void refuse_copies(const std::vector<DicomSlice>& slices) {
  for (const Place& place : places_of(slices)) {
    std::map<std::string, const DicomSlice*> seen;
    for (const DicomSlice* slice : place) {
      const auto [other, is_new] = seen.emplace(slice->instance_uid, slice);
      if (is_new || slice->instance_uid.empty()) continue;
      cannot_read(slice->file,
                  {.found = "the same image as " + other->second->file.filename().string() +
                            " (one SOPInstanceUID, one place)",
                   .fix = "move one of them away"});
    }
  }
}

void refuse_phases(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  const std::vector<Place> places = places_of(slices);
  const std::size_t each = places.front().size();
  if (each < 2) return;
  for (std::size_t element = 0; element < slices.front().phase.size(); ++element) {
    const std::string text = explanation(places, element);
    if (text.empty()) continue;
    cannot_read(folder,
                {.found = std::to_string(each) + " images at each of " +
                          counted(places.size(), "place") + ", told apart by " + text + kPhases,
                 .expected = "one",
                 .fix = kPhaseWayOut});
  }
}

void refuse_several_per_place(const std::vector<DicomSlice>& slices, const fs::path& folder) {
  std::size_t several = 0, most = 0;
  const std::vector<Place> places = places_of(slices);
  for (const Place& place : places) {
    several += place.size() > 1;
    most = std::max(most, place.size());
  }
  if (2 * several <= places.size()) return;
  cannot_read(folder, {.found = std::to_string(slices.size()) + " images at " +
                                counted(places.size(), "place") + ", up to " +
                                std::to_string(most) + " at one" + kPhases,
                       .expected = "one",
                       .fix = kPhaseWayOut});
}

}  // namespace lamp
