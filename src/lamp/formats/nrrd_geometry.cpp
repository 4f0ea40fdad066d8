// Sections "space and orientation information" and "per-axis field specifications" of the
// definition.
#include "lamp/formats/nrrd_geometry.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "lamp/base/text.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kContradiction = 0.01;  // relative, of spacings said twice

struct Space {
  std::string name;           // as the file has it; empty if only its dimension is known
  std::size_t dimension = 3;  // 4 with time
  bool anatomical = false;    // does the name say which way its axes run in the body?
  Vector3 to_lps = {1, 1, 1};
};

struct KnownSpace {
  const char* name;          // lower case, without blanks and hyphens
  const char* abbreviation;  // with time: both followed by their ending for time
  bool anatomical;
  Vector3 to_lps;
};
constexpr KnownSpace kSpaces[] = {
    {"rightanteriorsuperior", "ras", true, {-1, -1, 1}},
    {"leftanteriorsuperior", "las", true, {1, -1, 1}},
    {"leftposteriorsuperior", "lps", true, {1, 1, 1}},
    {"scannerxyz", "scannerxyz", false, {1, 1, 1}},
    {"3drighthanded", "3drh", false, {1, 1, 1}},
    {"3dlefthanded", "3dlh", false, {1, 1, 1}},
};

Space named_space(const TextHeader& header) {
  const std::string& text = header.get("space");
  std::string name = lower(text);
  std::erase_if(name, [](char c) { return c == ' ' || c == '-'; });
  for (const KnownSpace& known : kSpaces) {
    const std::string full = known.name, abbreviation = known.abbreviation;
    const bool plain = name == full || name == abbreviation;
    const bool with_time = name == full + "time" || name == abbreviation + "t";
    if (plain || with_time) return {text, plain ? 3U : 4U, known.anatomical, known.to_lps};
  }
  header.refuse({.found = "the space " + in_quotes(text),
                 .expected = "right-anterior-superior, left-anterior-superior, "
                             "left-posterior-superior or their abbreviations",
                 .fix = "correct the header"});
}

// None if the header speaks of no space at all.
std::optional<Space> space_of(const TextHeader& header) {
  std::optional<Space> space;
  if (header.has("space")) space = named_space(header);
  if (!header.has("spacedimension")) return space;
  const auto dimension = header.whole_numbers("spacedimension");
  const std::size_t expected = space ? space->dimension : 3;
  if (dimension.size() != 1 || dimension[0] != static_cast<std::int64_t>(expected)) {
    header.refuse({.found = "the space dimension " + in_quotes(header.get("spacedimension")),
                   .expected = std::to_string(expected) + (space ? " as its space has" : ""),
                   .fix = space ? "correct the header" : "save a 3-D image"});
  }
  return space ? space : Space{};
}

// "(1,0,0)" or "none", which is an empty vector, from the front of `text`.
std::vector<double> take_vector(const TextHeader& header, const std::string& field,
                                std::string_view& text) {
  text = trimmed(text);
  const auto wrong = [&] {
    header.refuse({.found = "its " + field + " " + in_quotes(header.get(field)) +
                            " are no vectors such as (1,0,0)",
                   .fix = "correct the header"});
  };
  if (lower(text.substr(0, 4)) == "none") {
    text.remove_prefix(4);
    return {};
  }
  const auto end = text.find(')');
  if (!text.starts_with('(') || end == std::string_view::npos) wrong();
  std::string_view inner = text.substr(1, end - 1);
  text.remove_prefix(end + 1);
  std::vector<double> vector;
  while (true) {
    const auto comma = inner.find(',');
    double number = 0;
    if (!parse_number(trimmed(inner.substr(0, comma)), number)) wrong();
    vector.push_back(number);
    if (comma == std::string_view::npos) return vector;
    inner.remove_prefix(comma + 1);
  }
}

// One for each axis; an axis without direction has an empty one.
std::vector<std::vector<double>> directions_of(const TextHeader& header, std::size_t dimension) {
  std::vector<std::vector<double>> directions;
  std::string_view rest = trimmed(header.get("spacedirections"));
  while (!rest.empty()) {
    directions.push_back(take_vector(header, "spacedirections", rest));
    rest = trimmed(rest);
  }
  if (directions.size() != dimension)
    header.refuse({.found = "its header gives " + std::to_string(directions.size()) +
                            " space directions for " + std::to_string(dimension) + " axes",
                   .fix = "correct the header"});
  return directions;
}

// Without the fourth number that a space with time has.
Vector3 in_lps(const std::vector<double>& vector, const Space& space, const TextHeader& header) {
  if (vector.size() != space.dimension)
    header.refuse({.found = "a vector of " + std::to_string(vector.size()) +
                            " numbers in a space of " + std::to_string(space.dimension) +
                            " dimensions",
                   .expected = "as many",
                   .fix = "correct the header"});
  return {space.to_lps[0] * vector[0], space.to_lps[1] * vector[1], space.to_lps[2] * vector[2]};
}

// In a space with time, and along nothing else.
bool runs_along_time(const std::vector<double>& direction) {
  return direction.size() > 3 && norm({direction[0], direction[1], direction[2]}) == 0 &&
         direction[3] != 0;
}

// A field of one number an axis, NaN where it says nothing.
std::vector<double> per_axis(const TextHeader& header, const std::string& name,
                             std::size_t dimension) {
  if (!header.has(name)) return std::vector<double>(dimension, kNan);
  return header.numbers(name, dimension);
}

// "mm" "m" or bare words.
std::vector<std::string> units_in(const std::string& text) {
  std::vector<std::string> units;
  for (std::size_t at = 0; (at = text.find_first_not_of(" \t", at)) != std::string::npos;) {
    const bool quotes = text[at] == '"';
    const std::size_t begin = at + (quotes ? 1 : 0);
    const std::size_t end = std::min(text.find_first_of(quotes ? "\"" : " \t", begin), text.size());
    units.push_back(text.substr(begin, end - begin));
    at = std::min(end + 1, text.size());
  }
  return units;
}

void check_units(const TextHeader& header, const std::string& field,
                 const std::vector<bool>& counts) {
  const std::vector<std::string> units = units_in(header.get(field));
  for (std::size_t i = 0; i < std::min(units.size(), counts.size()); ++i) {
    const std::string unit = lower(units[i]);
    const bool is_mm = unit.empty() || unit == "mm" || unit == "???" ||
                       unit.starts_with("millimet");  // the unknown counts as mm, as everywhere
    if (counts[i] && !is_mm)
      header.refuse({.found = "lengths in " + in_quotes(units[i]),
                     .expected = "mm",
                     .fix = "convert the image"});
  }
}

void check_all_units(const TextHeader& header, const std::vector<bool>& of_space) {
  check_units(header, "spaceunits", {true, true, true});
  check_units(header, "units", of_space);
}

// What the file leaves open, in one line.
void warn_of_space(const TextHeader& header, const Space& space) {
  if (space.anatomical) return;
  header.warn("no orientation in the file (" +
              (space.name.empty()
                   ? "its space has no name"
                   : "space " + in_quotes(space.name) + " does not say where left and right are") +
              "), axes of space taken as L, P, S");
}

// A direction already says how far apart voxels are.
void refuse_second_spacing(const TextHeader& header, std::size_t axis, std::size_t dimension) {
  for (const char* field : {"spacings", "axismins", "axismaxs"}) {
    if (std::isnan(per_axis(header, field, dimension)[axis])) continue;
    header.refuse({.found = std::string("its header gives axis ") + std::to_string(axis) +
                            " both a space direction and a number in \"" + field + "\"",
                   .fix = "remove one of them"});
  }
}

Vector3 space_origin(const TextHeader& header, const Space& space) {
  if (!header.has("spaceorigin")) {
    header.warn("no origin in the file, the first voxel taken to lie at 0");
    return {0, 0, 0};
  }
  std::string_view text = header.get("spaceorigin");
  const std::vector<double> origin = take_vector(header, "spaceorigin", text);
  if (!trimmed(text).empty())
    header.refuse({.found = "the space origin " + in_quotes(header.get("spaceorigin")),
                   .expected = "one vector",
                   .fix = "correct the header"});
  return in_lps(origin, space, header);
}

void place_axis(Geometry& grid, int axis, const std::vector<double>& vector, const Space& space,
                const TextHeader& header) {
  Vector3 step = in_lps(vector, space, header);
  if (vector.size() > 3 && vector[3] != 0)
    header.refuse(
        {.found = "an axis of its image runs along time", .fix = "save one time step per file"});
  const double length = norm(step);
  if (length == 0)
    header.refuse({.found = "the space direction of an axis is 0",
                   .fix = "write the file again with the right one"});
  for (double& value : step) value /= length;
  grid.spacing_mm[axis] = length;
  set_column(grid.direction, axis, step);
}

void place_by_directions(Geometry& grid, const TextHeader& header, const Space& space,
                         const std::vector<bool>& of_space) {
  const auto directions = directions_of(header, of_space.size());
  int axis = 0;
  for (std::size_t i = 0; i < of_space.size(); ++i) {
    const bool elsewhere = directions[i].empty() || runs_along_time(directions[i]);
    if (of_space[i] == elsewhere)
      header.refuse({.found = "axis " + std::to_string(i) + " of its header is " +
                              (of_space[i] ? "one of space, but has no space direction"
                                           : "none of space, but has a space direction"),
                     .fix = "correct the header"});
    if (!of_space[i]) continue;
    refuse_second_spacing(header, i, of_space.size());
    place_axis(grid, axis++, directions[i], space, header);
  }
  grid.origin_mm = space_origin(header, space);
  warn_of_space(header, space);
}

// What the fields of one axis say of its first voxel and its step; NaN = nothing.
struct AxisPlace {
  double spacing = kNan;
  double origin = kNan;
};

void check_centers(const TextHeader& header, std::size_t dimension) {
  const auto centers = words(header.get("centers"));
  const bool known = std::all_of(centers.begin(), centers.end(), [](std::string_view text) {
    const std::string center = lower(std::string(text));
    return center == "cell" || center == "node" || center == "none" || center == "???";
  });
  if (!header.has("centers") || (known && centers.size() == dimension)) return;
  header.refuse({.found = "its centers " + in_quotes(header.get("centers")) + " of " +
                          std::to_string(dimension) + " axes",
                 .expected = "\"cell\", \"node\" or \"none\" for each",
                 .fix = "correct the header"});
}

void check_count_of_units(const TextHeader& header, const std::string& field, std::size_t expected,
                          const std::string& of) {
  const std::size_t found = units_in(header.get(field)).size();
  if (!header.has(field) || found == expected) return;
  header.refuse({.found = "its " + field + " " + in_quotes(header.get(field)) + " are " +
                          std::to_string(found) + " for " + std::to_string(expected) + " " + of,
                 .fix = "correct the header"});
}

// One word or number for each axis, also in fields that change nothing: a header with another count
// was written for other axes.
void check_counts(const TextHeader& header, std::size_t axes, std::size_t space_dimension) {
  check_centers(header, axes);
  per_axis(header, "thicknesses", axes);
  check_count_of_units(header, "units", axes, "axes");
  check_count_of_units(header, "spaceunits", space_dimension, "dimensions of space");
}

// A space without directions says nothing of where the numbers of each axis count.
void refuse_space_of_spacings(const TextHeader& header, const std::vector<bool>& of_space) {
  for (const auto& [field, name] :
       {std::pair{"spacings", "spacings"}, std::pair{"axismins", "axis mins"},
        std::pair{"axismaxs", "axis maxs"}}) {
    const std::vector<double> numbers = per_axis(header, field, of_space.size());
    for (std::size_t i = 0; i < of_space.size(); ++i)
      if (of_space[i] && !std::isnan(numbers[i]))
        header.refuse({.found = std::string("its header gives a space and ") + name +
                                ", but no space directions, so where its axes run is unknown",
                       .fix = "add them, or remove the space"});
  }
}

// `minimum` and `maximum` are the borders of cells, or the places of nodes.
AxisPlace place_of_axis(const TextHeader& header, std::size_t axis,
                        const std::vector<std::int64_t>& sizes) {
  const std::size_t n = sizes.size();
  const auto centers = words(header.get("centers"));
  const bool node = axis < centers.size() && lower(centers[axis]) == "node";
  const double steps = static_cast<double>(sizes[axis] - (node ? 1 : 0));
  const double minimum = per_axis(header, "axismins", n)[axis];
  const double extent = per_axis(header, "axismaxs", n)[axis] - minimum;
  AxisPlace place{.spacing = per_axis(header, "spacings", n)[axis]};
  const double between = extent / steps;  // NaN unless both are known
  if (std::abs(place.spacing - between) > kContradiction * std::abs(between))
    header.refuse({.found = "axis " + std::to_string(axis) + " has spacing " +
                            shortest(place.spacing) + ", but its minimum, maximum and size make " +
                            shortest(between),
                   .fix = "correct the header"});
  if (!header.has("spacings")) place.spacing = between;
  place.origin = minimum + (node ? 0 : place.spacing / 2);
  return place;
}

void place_by_spacings(Geometry& grid, const TextHeader& header,
                       const std::vector<std::int64_t>& sizes, const std::vector<bool>& of_space) {
  int axis = 0;
  bool spacing = header.has("spacings"), origin = true;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (!of_space[i]) continue;
    const AxisPlace place = place_of_axis(header, i, sizes);
    spacing = spacing || !std::isnan(place.spacing);
    origin = origin && !std::isnan(place.origin);
    grid.spacing_mm[axis] = place.spacing;
    grid.origin_mm[axis++] = place.origin;
  }
  if (!spacing) {
    header.warn("no voxel spacing in the file, 1 mm assumed");
    grid.spacing_mm = {1, 1, 1};
  }
  if (!origin) grid.origin_mm = {0, 0, 0};
  header.warn(
      std::string("no orientation in the file (no space directions), axes taken as L, P, S") +
      (origin ? "" : " from 0 on"));
}

// In small letters; "none" for every axis where the header says nothing.
std::vector<std::string> kinds_of(const TextHeader& header, std::size_t dimension) {
  if (!header.has("kinds")) return std::vector<std::string>(dimension, "none");
  std::vector<std::string> kinds;
  for (const std::string_view kind : words(header.get("kinds")))
    kinds.push_back(lower(std::string(kind)));
  if (kinds.size() != dimension)
    header.refuse({.found = "its header gives " + std::to_string(kinds.size()) + " kinds for " +
                            std::to_string(dimension) + " axes",
                   .fix = "correct the header"});
  return kinds;
}

}  // namespace

std::vector<bool> nrrd_axes_of_space(const TextHeader& header,
                                     const std::vector<std::int64_t>& sizes) {
  const std::vector<std::string> kinds = kinds_of(header, sizes.size());
  std::vector<std::vector<double>> directions;
  if (header.has("spacedirections")) directions = directions_of(header, sizes.size());
  std::vector<bool> of_space;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const bool time = kinds[i] == "time" || (!directions.empty() && runs_along_time(directions[i]));
    if (time && sizes[i] > 1)
      header.refuse({.found = "its axis " + std::to_string(i) + " is time, of " +
                              std::to_string(sizes[i]) + " steps",
                     .expected = "one step",
                     .fix = "save one time step per file"});
    const bool placed = directions.empty() || !directions[i].empty();
    const bool unknown = kinds[i] == "???" || kinds[i] == "none";
    of_space.push_back(!time &&
                       (kinds[i] == "domain" || kinds[i] == "space" || (unknown && placed)));
  }
  return of_space;
}

Geometry nrrd_geometry(const TextHeader& header, const std::vector<std::int64_t>& sizes,
                       const std::vector<bool>& of_space) {
  Geometry grid;
  std::vector<std::int64_t> size;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (of_space[i]) size.push_back(sizes[i]);
  if (size.size() != 3)
    header.refuse({.found = std::to_string(size.size()) + "-D",
                   .expected = "a 3-D image (channels as vectors)",
                   .fix = "save one image per file"});
  std::copy(size.begin(), size.end(), grid.size.begin());
  const std::optional<Space> space = space_of(header);
  check_counts(header, sizes.size(), space ? space->dimension : 3);
  check_all_units(header, of_space);
  const bool directions = header.has("spacedirections");
  if (directions && !space)
    header.refuse({.found = "its header gives space directions, but no space they lie in",
                   .fix = "add \"space:\""});
  if (directions) {
    place_by_directions(grid, header, *space, of_space);
    return grid;
  }
  if (space) refuse_space_of_spacings(header, of_space);
  place_by_spacings(grid, header, sizes, of_space);
  if (space && header.has("spaceorigin")) grid.origin_mm = space_origin(header, *space);
  return grid;
}

}  // namespace lamp
