// Fields in the order in which the format's documentation gives them.
#include "lamp/formats/meta_image.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "lamp/base/log.h"
#include "lamp/base/size3.h"
#include "lamp/base/text.h"
#include "lamp/volume/grid_check.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace {

// Fields that change what is read and whose absence nothing else would show.
constexpr const char* kSpelled[] = {"BinaryData",
                                    "BinaryDataByteOrderMSB",
                                    "ElementByteOrderMSB",
                                    "CompressedData",
                                    "CompressedDataSize",
                                    "HeaderSize",
                                    "DistanceUnits",
                                    "ElementSpacing",
                                    "ElementToIntensityFunctionSlope",
                                    "ElementToIntensityFunctionOffset"};

// Names have one spelling: a reader passes over any other, and so over what it says.
void refuse_other_letters(const TextHeader& header, std::string_view name) {
  for (const char* known : kSpelled)
    if (name != known && lower(std::string(name)) == lower(known))
      header.refuse({.found = "a field " + in_quotes(name),
                     .expected = known + std::string(", as the format writes it"),
                     .fix = "correct the header"});
}

// Reads "Name = value" up to ElementDataFile, behind which voxels may follow.
void read_meta_lines(TextHeader& header) {
  for (std::string_view line; header.next_line(line);) {
    const auto split = line.find('=');
    if (split == std::string_view::npos || trimmed(line).starts_with('#')) continue;
    refuse_other_letters(header, trimmed(line.substr(0, split)));
    header.add(line.substr(0, split), line.substr(split + 1));
    if (header.has("ElementDataFile")) return;
  }
  header.refuse({.found = "its header has no ElementDataFile",
                 .fix = "it is cut short or no MetaImage, get it again"});
}

// A field that is there must say one of the two: what is taken for "no" changes every voxel.
bool is_true(const TextHeader& header, const std::string& name) {
  const std::string text = lower(header.get(name));
  const bool yes = text.starts_with('t') || text == "1";
  if (header.has(name) && !yes && !text.starts_with('f') && text != "0")
    header.refuse({.found = name + " " + in_quotes(header.get(name)),
                   .expected = "True or False",
                   .fix = "correct the header"});
  return yes;
}

// One thing of several names: the first that is there, "" if none. Two that differ are refused.
std::string one_of(const TextHeader& header, std::initializer_list<const char*> names) {
  std::string found;
  for (const char* name : names) {
    if (!header.has(name)) continue;
    if (found.empty()) {
      found = name;
    } else if (words(header.get(name)) != words(header.get(found))) {
      header.refuse({.found = std::string("its ") + found + " " + in_quotes(header.get(found)) +
                              " and its " + name + " " + in_quotes(header.get(name)) +
                              " mean the same and differ",
                     .fix = "remove the wrong one"});
    }
  }
  return found;
}

void refuse_unsupported(const TextHeader& header) {
  if (header.has("BinaryData") && !is_true(header, "BinaryData"))
    header.refuse({.found = "voxels as text", .fix = "save it with BinaryData = True"});
  if (header.has("HeaderSize") && header.get("HeaderSize") != "0")
    header.refuse({.found = "HeaderSize is not supported", .fix = "save the image without it"});
  if (header.get("NDims") != "3" || header.get("ObjectType") != "Image")
    header.refuse({.found = "ObjectType = " + in_quotes(header.get("ObjectType")) +
                            " and NDims = " + in_quotes(header.get("NDims")),
                   .expected = "ObjectType = Image and NDims = 3",
                   .fix = "save one 3-D image per file"});
  const std::string unit = lower(header.get("DistanceUnits"));
  if (!unit.empty() && unit != "?" && unit != "mm" && !unit.starts_with("millimet"))
    header.refuse(
        {.found = "lengths in " + in_quotes(unit), .expected = "mm", .fix = "convert the image"});
}

VoxelType meta_voxel_type(const TextHeader& header) {
  using enum VoxelType;
  static const std::map<std::string, VoxelType> kTypes = {
      {"MET_CHAR", kInt8},       {"MET_UCHAR", kUInt8},       {"MET_SHORT", kInt16},
      {"MET_USHORT", kUInt16},   {"MET_INT", kInt32},         {"MET_UINT", kUInt32},
      {"MET_LONG_LONG", kInt64}, {"MET_ULONG_LONG", kUInt64}, {"MET_FLOAT", kFloat32},
      {"MET_DOUBLE", kFloat64}};
  const auto found = kTypes.find(header.get("ElementType"));
  if (found == kTypes.end())
    header.refuse({.found = "voxel type " + in_quotes(header.get("ElementType")),
                   .expected = "a number type of fixed size such as MET_SHORT",
                   .fix = "convert the image"});
  return found->second;
}

Size3 size_of(const TextHeader& header) {
  const auto sizes = header.whole_numbers("DimSize");
  if (sizes.size() != 3)
    header.refuse({.found = "DimSize " + in_quotes(header.get("DimSize")),
                   .expected = "three numbers",
                   .fix = "the header is damaged, get the file again"});
  return {sizes[0], sizes[1], sizes[2]};
}

std::int64_t meta_channels(const TextHeader& header) {
  if (!header.has("ElementNumberOfChannels")) return 1;
  const auto channels = header.whole_numbers("ElementNumberOfChannels");
  if (channels.size() != 1 || channels[0] < 1)
    header.refuse(
        {.found = "ElementNumberOfChannels " + in_quotes(header.get("ElementNumberOfChannels")),
         .expected = "one number of 1 or more",
         .fix = "the header is damaged, get the file again"});
  return channels[0];
}

// MetaIO: the distance of voxels; where that is not given, their size.
void read_spacing(Geometry& grid, const TextHeader& header) {
  const std::string field = header.has("ElementSpacing") ? "ElementSpacing" : "ElementSize";
  if (!header.has(field)) {
    header.warn("no voxel spacing in the file, 1 mm assumed");
    return;
  }
  const auto spacing = header.numbers(field, 3);
  std::copy(spacing.begin(), spacing.end(), grid.spacing_mm.begin());
  if (field == "ElementSize")
    header.warn("no ElementSpacing in the file, its ElementSize of " + header.get(field) +
                " mm is taken for the distance of voxels");
}

// Row a of the matrix is the direction of axis a.
void read_direction(Geometry& grid, const TextHeader& header) {
  const std::string field = one_of(header, {"TransformMatrix", "Rotation", "Orientation"});
  if (field.empty()) {
    const std::string& word = header.get("AnatomicalOrientation");
    header.warn("no orientation in the file (no TransformMatrix" +
                (word.empty() ? ""
                              : "; AnatomicalOrientation " + in_quotes(word) +
                                    " means different things to different writers") +
                "), axes taken as L, P, S");
    return;
  }
  const auto matrix = header.numbers(field, 9);
  for (int axis = 0; axis < 3; ++axis) {
    const Vector3 along = {matrix[3 * axis], matrix[3 * axis + 1], matrix[3 * axis + 2]};
    if (std::abs(norm(along) - 1) > kRoundingError)
      header.refuse({.found = "row " + std::to_string(axis + 1) + " of its " + field +
                              " of length " + shortest(norm(along)),
                     .expected = "1, since the spacing is given apart",
                     .fix = "correct the header"});
    set_column(grid.direction, axis, along);
  }
}

void read_origin(Geometry& grid, const TextHeader& header) {
  const std::string field = one_of(header, {"Origin", "Offset", "Position"});
  if (field.empty()) {
    header.warn("no origin in the file (no Offset), the first voxel taken to lie at 0");
    return;
  }
  const auto origin = header.numbers(field, 3);
  std::copy(origin.begin(), origin.end(), grid.origin_mm.begin());
}

// The letters of the sides to which the axes run, as in "LPS"; none for axes that lie between.
std::string sides_of(const Matrix3& direction, bool opposite) {
  constexpr double kClearly = 0.9;
  std::string sides;
  for (int axis = 0; axis < 3; ++axis) {
    const Vector3 along = column(direction, axis);
    int most = 0;
    for (int r = 1; r < 3; ++r)
      if (std::abs(along[r]) > std::abs(along[most])) most = r;
    if (!(std::abs(along[most]) > kClearly)) return "";
    sides += ((along[most] > 0) != opposite ? "LPS" : "RAI")[most];
  }
  return sides;
}

// ITK's letters say from where an axis comes ("RAI" for LPS), MetaIO's documentation where it goes.
void compare_orientation(const Geometry& grid, const TextHeader& header) {
  std::string word = header.get("AnatomicalOrientation");
  std::transform(word.begin(), word.end(), word.begin(), ::toupper);
  if (word.size() != 3 || word.find_first_not_of("RLAPSI") != std::string::npos) return;
  const std::string to = sides_of(grid.direction, false), from = sides_of(grid.direction, true);
  if (to.empty() || word == to || word == from) return;
  header.warn("its matrix puts the axes along " + to + " (from " + from +
              "), its AnatomicalOrientation says " + word + "; the matrix is used");
}

void warn_of_center(const Geometry& grid, const TextHeader& header) {
  if (!header.has("CenterOfRotation") || grid.direction == Geometry{}.direction) return;
  const auto center = header.numbers("CenterOfRotation", 3);
  if (center == std::vector<double>{0, 0, 0}) return;
  header.warn("its CenterOfRotation " + in_quotes(header.get("CenterOfRotation")) +
              " is not used, as by other readers: the first voxel lies at its origin");
}

// value = slope * stored + offset.
void read_meta_scaling(RawVolume& volume, const TextHeader& header) {
  const std::string slope = "ElementToIntensityFunctionSlope";
  const std::string offset = "ElementToIntensityFunctionOffset";
  if (header.has(slope)) volume.slope = header.numbers(slope, 1)[0];
  if (header.has(offset)) volume.intercept = header.numbers(offset, 1)[0];
  if (!std::isfinite(volume.slope) || !std::isfinite(volume.intercept) || volume.slope == 0)
    header.refuse({.found = "values to be scaled by " + shortest(volume.slope) +
                            " and shifted by " + shortest(volume.intercept),
                   .expected = "finite numbers",
                   .fix = "correct the header"});
  if (volume.slope != 1 || volume.intercept != 0)
    header.warn("values are scaled by " + slope + " " + shortest(volume.slope) +
                " and shifted by " + shortest(volume.intercept) +
                ", which most other readers ignore");
}

Geometry read_geometry(const TextHeader& header) {
  Geometry grid{.size = size_of(header)};
  read_spacing(grid, header);
  read_direction(grid, header);
  read_origin(grid, header);
  if (header.has("AnatomicalOrientation") &&
      !one_of(header, {"TransformMatrix", "Rotation", "Orientation"}).empty())
    compare_orientation(grid, header);
  warn_of_center(grid, header);
  return grid;
}

StoredData locate_meta(const TextHeader& header) {
  const std::string& name = header.get("ElementDataFile");
  if (lower(name) == "local") return {.file = header.path(), .offset = header.position()};
  return {.file = detached_file(header, name)};
}

bool meta_big_endian(const TextHeader& header) {
  const char* const binary = "BinaryDataByteOrderMSB";
  const char* const element = "ElementByteOrderMSB";
  const bool equal = header.has(binary) && header.has(element) &&
                     is_true(header, binary) == is_true(header, element);
  if (equal) return is_true(header, binary);  // "True" and "1" are one thing
  const std::string field = one_of(header, {binary, element});
  return !field.empty() && is_true(header, field);
}

// The number of compressed bytes; 0 means, as in MetaIO, that the file's length says it. MetaIO
// once wrote it as a float of six digits, so a number with a point or an exponent is a rounded one.
void read_packed_size(StoredData& data, const TextHeader& header) {
  const std::string field = "CompressedDataSize";
  if (!header.has(field)) return;
  constexpr double kRounding = 5e-6, kMost = 1e18;
  const double size = header.numbers(field, 1)[0];
  if (!(size >= 0 && size < kMost))
    header.refuse({.found = field + " " + in_quotes(header.get(field)),
                   .expected = "the number of compressed bytes",
                   .fix = "correct the header"});
  if (data.encoding == Encoding::kRaw) {
    if (size != 0 && size != static_cast<double>(data.bytes))
      header.warn("its " + field + " " + header.get(field) +
                  " is not used, for its CompressedData is not True");
    return;
  }
  const bool rounded = header.get(field).find_first_of(".eE") != std::string::npos;
  data.packed = std::llround(size);
  data.packed_rounding = rounded ? std::llround(size * kRounding) : 0;
}

}  // namespace

std::filesystem::path meta_data_file(const std::filesystem::path& path) {
  TextHeader header(path);
  read_meta_lines(header);
  return locate_meta(header).file;
}

StoredVolume parse_meta_image(const std::filesystem::path& path) {
  TextHeader header(path);
  read_meta_lines(header);
  refuse_unsupported(header);
  StoredVolume stored{.data = locate_meta(header)};
  RawVolume& volume = stored.volume;
  volume.type = meta_voxel_type(header);
  volume.channels = meta_channels(header);
  volume.swap_bytes = meta_big_endian(header);
  volume.interleaved = true;
  const auto size = size_of(header);
  stored.data.bytes =
      claimed_bytes(header, {size[0], size[1], size[2], volume.channels}, bytes_of(volume.type));
  if (is_true(header, "CompressedData")) stored.data.encoding = Encoding::kZlib;
  read_packed_size(stored.data, header);
  volume.geometry = read_geometry(header);
  read_meta_scaling(volume, header);
  return stored;
}

}  // namespace lamp
