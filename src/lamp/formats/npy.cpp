// Checks the header's claims against the file's length, then brings the values to C order.
#include "lamp/formats/npy.h"

#include <torch/types.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/regular_file.h"
#include "lamp/base/text.h"
#include "lamp/formats/npy_header.h"
#include "lamp/volume/grid_check.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

struct NumberType {
  std::string_view code;  // numpy's letter and number of bytes
  VoxelType type;
};

constexpr std::array<NumberType, 11> kNpyTypes = {{{"b1", VoxelType::kUInt8},
                                                   {"u1", VoxelType::kUInt8},
                                                   {"i1", VoxelType::kInt8},
                                                   {"u2", VoxelType::kUInt16},
                                                   {"i2", VoxelType::kInt16},
                                                   {"u4", VoxelType::kUInt32},
                                                   {"i4", VoxelType::kInt32},
                                                   {"u8", VoxelType::kUInt64},
                                                   {"i8", VoxelType::kInt64},
                                                   {"f4", VoxelType::kFloat32},
                                                   {"f8", VoxelType::kFloat64}}};
constexpr std::string_view kHalf = "f2";
constexpr std::int64_t kHalfBytes = 2;

struct Stored {
  std::string_view code;
  std::int64_t item_bytes = 1;
  bool big_endian = false;
};

std::optional<VoxelType> find_type(std::string_view code) {
  for (const NumberType& known : kNpyTypes)
    if (known.code == code) return known.type;
  return std::nullopt;
}

Stored stored_type(const NpyHeader& header, const std::string& file) {
  std::string_view descr = header.descr;
  Stored stored;
  if (!descr.empty() && std::string_view("<>=|").find(descr.front()) != descr.npos) {
    const bool native_big = std::endian::native == std::endian::big;
    stored.big_endian = descr.front() == '>' || (descr.front() == '=' && native_big);
    descr.remove_prefix(1);
  }
  if (descr.starts_with('O'))
    cannot_read(file, {.found = "Python objects, which are never opened because they may run code",
                       .expected = "numbers",
                       .fix = "save it as an array of numbers"});
  for (const NumberType& known : kNpyTypes)
    if (known.code == descr) stored.code = known.code;
  if (descr == kHalf) stored.code = kHalf;
  if (stored.code.empty()) {
    std::string printable = header.descr.substr(0, 20);
    for (char& c : printable)
      if (c < ' ' || c > '~') c = '?';
    cannot_read(file, {.found = "values of type \"" + printable + "\"",
                       .expected = "bool, integers of 1 to 8 bytes or floats of 2 to 8",
                       .fix = "save it as an array of numbers"});
  }
  stored.item_bytes = stored.code == kHalf ? kHalfBytes : bytes_of(*find_type(stored.code));
  return stored;
}

std::string shape_text(const std::vector<std::int64_t>& shape) { return "(" + joined(shape) + ")"; }

// The claim of the header must be the file's length to the byte.
void check_length(const NpyHeader& header, const Stored& stored, std::size_t file_bytes,
                  const std::string& file) {
  std::vector<std::int64_t> factors = header.shape;
  factors.push_back(stored.item_bytes);
  // A factor 0 must not hide an overflow from those behind it.
  std::vector<std::int64_t> nonzero = factors;
  std::erase(nonzero, 0);
  constexpr std::int64_t kTooMany = -1;
  const std::int64_t claim =
      checked_product(nonzero) ? checked_product(factors).value_or(kTooMany) : kTooMany;
  const auto found = static_cast<std::int64_t>(file_bytes - header.data_offset);
  if (claim == found) return;
  cannot_read(file, {.found = std::to_string(found) + " bytes of values, which are " +
                              (claim != kTooMany && claim < found ? "followed by other data"
                                                                  : "cut short") +
                              " unless its header is damaged",
                     .expected = (claim == kTooMany ? "more than 2^62" : std::to_string(claim)) +
                                 " for its shape " + shape_text(header.shape) + " of " +
                                 std::to_string(stored.item_bytes) + "-byte values",
                     .fix = "get the file again"});
}

// Fortran order is C order of the reversed shape: values as opaque groups of bytes, axes turned.
void to_c_order(NpyArray& array, std::int64_t item_bytes) {
  std::vector<std::int64_t> reversed(array.shape.rbegin(), array.shape.rend());
  std::vector<std::int64_t> axes;
  for (std::size_t a = array.shape.size(); a-- > 0;) axes.push_back(static_cast<std::int64_t>(a));
  reversed.push_back(item_bytes);
  axes.push_back(static_cast<std::int64_t>(array.shape.size()));
  const torch::Tensor turned =
      torch::from_blob(array.bytes.data() + array.offset, reversed, torch::kUInt8)
          .permute(axes)
          .contiguous();
  std::string bytes(static_cast<const char*>(turned.data_ptr()), turned.nbytes());
  array.bytes = std::move(bytes);
  array.offset = 0;
}

void halves_to_floats(NpyArray& array) {
  std::string halves = array.bytes.substr(array.offset);
  if (array.swap_bytes)
    for (std::size_t i = 0; i + 1 < halves.size(); i += 2) std::swap(halves[i], halves[i + 1]);
  const auto count = static_cast<std::int64_t>(halves.size()) / kHalfBytes;
  const torch::Tensor values =
      torch::from_blob(halves.data(), {count}, torch::kFloat16).to(torch::kFloat32);
  array.bytes.assign(static_cast<const char*>(values.data_ptr()), values.nbytes());
  array.offset = 0;
  array.swap_bytes = false;
}

void check_booleans(const NpyArray& array, const std::string& file) {
  for (std::size_t i = array.offset; i < array.bytes.size(); ++i)
    if (static_cast<unsigned char>(array.bytes[i]) > 1)
      cannot_read(
          file, {.found = "the byte " + std::to_string(static_cast<unsigned char>(array.bytes[i])) +
                          " in an array of bool",
                 .expected = "0 and 1",
                 .fix = "it is damaged, get it again"});
}

// The last three axes as x, y, z; those before them count with z.
RawVolume claimed_volume(const NpyHeader& header, const Stored& stored) {
  RawVolume claim{.geometry = {.size = {1, 1, 1}},
                  .type = stored.code == kHalf ? VoxelType::kFloat32 : *find_type(stored.code)};
  const std::size_t axes = header.shape.size();
  for (std::size_t i = 0; i < axes; ++i)
    claim.geometry.size[std::min<std::size_t>(axes - 1 - i, 2)] *= header.shape[i];
  return claim;
}

}  // namespace

NpyArray read_npy(const fs::path& path) {
  const std::string file = path.string();
  const RegularFile source(path);
  const auto file_bytes = static_cast<std::size_t>(source.size());
  // The header is judged before any room is taken for the values.
  const NpyHeader header = parse_npy_header(source.start(kNpyStartBytes), file);
  const Stored stored = stored_type(header, file);
  check_length(header, stored, file_bytes, file);
  check_fits_memory(claimed_volume(header, stored), header.fortran_order ? source.size() : 0, {},
                    file);
  NpyArray array{.bytes = std::string(file_bytes, '\0')};
  source.read(0, file_bytes, array.bytes.data());
  array.shape = header.shape;
  array.offset = header.data_offset;
  array.swap_bytes = stored.big_endian != (std::endian::native == std::endian::big);
  if (stored.item_bytes == 1) array.swap_bytes = false;
  if (stored.code == "b1") check_booleans(array, file);
  if (header.fortran_order && array.shape.size() > 1) to_c_order(array, stored.item_bytes);
  if (stored.code == kHalf) halves_to_floats(array);
  array.type = stored.code == kHalf ? VoxelType::kFloat32 : *find_type(stored.code);
  return array;
}

RawVolume read_npy_volume(const fs::path& path, const std::array<double, 3>& spacing_mm) {
  NpyArray array = read_npy(path);
  const std::string file = path.string();
  if (array.shape.size() != 3)
    cannot_read(file, {.found = "an array of " + std::to_string(array.shape.size()) +
                                " axes, shape " + shape_text(array.shape),
                       .expected = "three: z, y, x",
                       .fix = "save one volume a file"});
  RawVolume raw{.geometry = {.size = {array.shape[2], array.shape[1], array.shape[0]},
                             .spacing_mm = spacing_mm},
                .type = array.type,
                .swap_bytes = array.swap_bytes,
                .bytes = std::move(array.bytes),
                .offset = array.offset};
  check_grid(raw.geometry, {}, file);
  return raw;
}

}  // namespace lamp
