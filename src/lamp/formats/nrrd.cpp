// Lines to fields, fields to a volume.
#include "lamp/formats/nrrd.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lamp/base/text.h"
#include "lamp/formats/nrrd_geometry.h"

namespace lamp {
namespace {

// Without blanks, because the definition knows most of them with and without.
constexpr std::string_view kFields =
    " axismaxs axismins blocksize byteskip centers content datafile dimension encoding "
    "endian kinds labels lineskip max measurementframe min number oldmax oldmin sampleunits "
    "sizes space spacings spacedimension spacedirections spaceorigin spaceunits thicknesses "
    "type units ";

// "Space Directions" -> "spacedirections".
std::string field_name(std::string_view text) {
  std::string name = lower(trimmed(text));
  std::erase(name, ' ');
  return name == "centerings" ? "centers" : name;
}

void add_field(TextHeader& header, std::string_view name, std::string_view value) {
  const std::string known = field_name(name);
  if (kFields.find(" " + known + " ") == std::string_view::npos)
    header.refuse({.found = "unknown field " + in_quotes(name) + " in its header",
                   .fix = "correct the header"});
  if (header.has(known))
    header.refuse(
        {.found = "its header says " + in_quotes(name) + " twice", .fix = "correct the header"});
  header.add(known, value);
}

// A line is "# note", "key:=value", which belongs to applications, or "field: value".
void read_line(TextHeader& header, std::string_view line) {
  if (line.starts_with('#')) return;
  const auto key = line.find(":="), field = line.find(": ");
  if (key != std::string_view::npos && key < field) return;
  const auto split =
      field == std::string_view::npos && line.ends_with(':') ? line.size() - 1 : field;
  if (split == std::string_view::npos)
    header.refuse({.found = "no field and no note in its header: " + in_quotes(line),
                   .fix = "correct the header"});
  add_field(header, line.substr(0, split), line.substr(split + 1));
}

// True if an empty line ended the header, behind which voxels may follow.
bool read_nrrd_lines(TextHeader& header) {
  std::string_view line;
  const bool any = header.next_line(line);
  if (!any || line.size() < 8 || !line.starts_with("NRRD000") || line[7] < '1' || line[7] > '5' ||
      !trimmed(line.substr(8)).empty())
    header.refuse(
        {.found = "no NRRD file of version 1 to 5 (its first line is " + in_quotes(line) + ")",
         .fix = "get it again or save it again as NRRD"});
  while (header.next_line(line)) {
    if (trimmed(line).empty()) return true;
    read_line(header, line);
    // Behind "data file: LIST" come names of files, one a line.
    if (header.has("datafile") && names_several_files(header.get("datafile"))) return false;
  }
  return false;
}

VoxelType nrrd_voxel_type(const TextHeader& header) {
  using enum VoxelType;
  static const std::map<VoxelType, std::vector<std::string>> kNames = {
      {kInt8, {"signed char", "int8", "int8_t"}},
      {kUInt8, {"uchar", "unsigned char", "uint8", "uint8_t"}},
      {kInt16, {"short", "short int", "signed short", "signed short int", "int16", "int16_t"}},
      {kUInt16, {"ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"}},
      {kInt32, {"int", "signed int", "int32", "int32_t"}},
      {kUInt32, {"uint", "unsigned int", "uint32", "uint32_t"}},
      {kInt64,
       {"longlong", "long long", "long long int", "signed long long", "signed long long int",
        "int64", "int64_t"}},
      {kUInt64,
       {"ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"}},
      {kFloat32, {"float"}},
      {kFloat64, {"double"}}};
  const std::string found = lower(header.get("type"));
  for (const auto& [type, names] : kNames)
    if (std::find(names.begin(), names.end(), found) != names.end()) return type;
  header.refuse({.found = "voxel type " + in_quotes(header.get("type")),
                 .expected = "a number type",
                 .fix = "convert the image"});
}

Encoding encoding_of(const TextHeader& header) {
  const std::string name = lower(header.get("encoding"));
  if (name == "raw") return Encoding::kRaw;
  if (name == "gzip" || name == "gz") return Encoding::kGzip;
  header.refuse({.found = "encoding " + in_quotes(header.get("encoding")),
                 .expected = "raw or gzip",
                 .fix = "save it as gzip"});
}

// The voxels lie in a file of their own or behind the empty line that ends the header.
StoredData locate_nrrd(const TextHeader& header, bool attached) {
  if (header.has("datafile")) return {.file = detached_file(header, header.get("datafile"))};
  if (!attached)
    header.refuse({.found = "its header has no end",
                   .fix = "the file is cut short or no NRRD file, get it again"});
  return {.file = header.path(), .offset = header.position()};
}

void refuse_skips(const TextHeader& header) {
  for (const auto& [name, words] :
       {std::pair{"lineskip", "line skip"}, std::pair{"byteskip", "byte skip"}}) {
    const std::string& skip = header.get(name);
    if (!skip.empty() && skip != "0")
      header.refuse({.found = std::string("\"") + words + "\" is not supported",
                     .fix = "save the image in one file"});
  }
}

bool nrrd_big_endian(const TextHeader& header, std::int64_t element_bytes) {
  const std::string endian = lower(header.get("endian"));
  if (endian != "little" && endian != "big" && element_bytes > 1)
    header.refuse({.found = "its header does not say \"endian: little\" or \"big\"",
                   .fix = "correct the header"});
  return endian == "big";
}

std::vector<std::int64_t> sizes_of(const TextHeader& header) {
  constexpr std::int64_t kMostAxes = 16;  // the definition's
  const auto dimension = header.whole_numbers("dimension");
  const auto sizes = header.whole_numbers("sizes");
  if (dimension.size() != 1 || dimension[0] < 1 || dimension[0] > kMostAxes)
    header.refuse({.found = "the dimension " + in_quotes(header.get("dimension")),
                   .expected = "one number from 1 to 16",
                   .fix = "correct the header"});
  if (static_cast<std::int64_t>(sizes.size()) != dimension[0])
    header.refuse({.found = "its header gives " + std::to_string(sizes.size()) + " sizes (" +
                            in_quotes(header.get("sizes")) + ") of dimension " +
                            std::to_string(dimension[0]),
                   .fix = "correct the header"});
  return sizes;
}

// The numbers of a voxel: their count, as the first axis. Where an axis of a single sample stands
// changes nothing.
std::int64_t nrrd_channels(const TextHeader& header, const std::vector<std::int64_t>& sizes,
                           const std::vector<bool>& of_space) {
  std::vector<std::size_t> others;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (!of_space[i] && sizes[i] > 1) others.push_back(i);
  if (others.empty()) return 1;
  if (others.size() > 1)
    header.refuse({.found = std::to_string(others.size()) + " axes that are none of space",
                   .expected = "at most one",
                   .fix = "save one image per file"});
  const std::size_t axis = others.front();
  if (std::count(of_space.begin(), of_space.begin() + static_cast<std::ptrdiff_t>(axis), true) > 0)
    header.refuse({.found = "channels that are not the first axis",
                   .expected = "them there",
                   .fix = "save it so, or as NIfTI"});
  return sizes[axis];
}

// What values were before they were rounded to whole numbers of few bits.
void warn_of_quantization(const TextHeader& header) {
  if (!header.has("oldmin") && !header.has("oldmax")) return;
  header.warn("its header says that its values stand for others (old min " +
              in_quotes(header.get("oldmin")) + ", old max " + in_quotes(header.get("oldmax")) +
              "); they are taken as they are stored, as by other readers");
}

}  // namespace

std::filesystem::path nrrd_data_file(const std::filesystem::path& path) {
  TextHeader header(path);
  const bool attached = read_nrrd_lines(header);
  return locate_nrrd(header, attached).file;
}

StoredVolume parse_nrrd(const std::filesystem::path& path) {
  TextHeader header(path);
  const bool attached = read_nrrd_lines(header);
  refuse_skips(header);
  StoredVolume stored{.data = locate_nrrd(header, attached)};
  RawVolume& volume = stored.volume;
  volume.type = nrrd_voxel_type(header);
  const std::int64_t element = bytes_of(volume.type);
  const auto sizes = sizes_of(header);
  stored.data.bytes = claimed_bytes(header, sizes, element);
  stored.data.encoding = encoding_of(header);
  volume.swap_bytes = nrrd_big_endian(header, element);
  const auto of_space = nrrd_axes_of_space(header, sizes);
  volume.channels = nrrd_channels(header, sizes, of_space);
  volume.interleaved = true;
  volume.geometry = nrrd_geometry(header, sizes, of_space);
  warn_of_quantization(header);
  return stored;
}

}  // namespace lamp
