// Field by field, so that a message can name the field.
#include "lamp/formats/nifti_header.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/volume/grid_check.h"

namespace lamp {
namespace {

// Reads numbers at byte offsets. The caller has made sure that the header is all there.
struct Fields {
  std::string_view bytes;
  bool swap = false;

  template <typename T>
  T at(std::size_t offset) const {
    std::array<char, sizeof(T)> raw;
    std::copy_n(bytes.data() + offset, sizeof(T), raw.begin());
    if (swap) std::reverse(raw.begin(), raw.end());
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }
};

// Both versions' fields in one shape, before any check.
struct RawHeader {
  std::array<std::int64_t, 8> dim{};
  int datatype = 0;
  int bitpix = 0;
  double offset = 0;
  std::int64_t least_offset = 0;
  double slope = 0;
  double intercept = 0;
  NiftiSpace space;
};

RawHeader nifti1_fields(const Fields& fields) {
  RawHeader raw;
  for (int i = 0; i < 8; ++i) {
    raw.dim[i] = fields.at<std::int16_t>(40 + 2 * i);
    raw.space.pixdim[i] = fields.at<float>(76 + 4 * i);
  }
  raw.datatype = fields.at<std::int16_t>(70);
  raw.bitpix = fields.at<std::int16_t>(72);
  raw.offset = fields.at<float>(108);
  raw.least_offset = kNifti1Bytes;
  raw.slope = fields.at<float>(112);
  raw.intercept = fields.at<float>(116);
  raw.space.xyzt_units = fields.at<std::uint8_t>(123);
  raw.space.qform_code = fields.at<std::int16_t>(252);
  raw.space.sform_code = fields.at<std::int16_t>(254);
  for (int i = 0; i < 3; ++i) {
    raw.space.quatern[i] = fields.at<float>(256 + 4 * i);
    raw.space.qoffset[i] = fields.at<float>(268 + 4 * i);
  }
  for (int i = 0; i < 12; ++i) raw.space.srow[i] = fields.at<float>(280 + 4 * i);
  return raw;
}

RawHeader nifti2_fields(const Fields& fields) {
  RawHeader raw;
  for (int i = 0; i < 8; ++i) {
    raw.dim[i] = fields.at<std::int64_t>(16 + 8 * i);
    raw.space.pixdim[i] = fields.at<double>(104 + 8 * i);
  }
  raw.datatype = fields.at<std::int16_t>(12);
  raw.bitpix = fields.at<std::int16_t>(14);
  raw.offset = static_cast<double>(fields.at<std::int64_t>(168));
  raw.least_offset = kNifti2Bytes;
  raw.slope = fields.at<double>(176);
  raw.intercept = fields.at<double>(184);
  raw.space.qform_code = fields.at<std::int32_t>(344);
  raw.space.sform_code = fields.at<std::int32_t>(348);
  for (int i = 0; i < 3; ++i) {
    raw.space.quatern[i] = fields.at<double>(352 + 8 * i);
    raw.space.qoffset[i] = fields.at<double>(376 + 8 * i);
  }
  for (int i = 0; i < 12; ++i) raw.space.srow[i] = fields.at<double>(400 + 8 * i);
  raw.space.xyzt_units = fields.at<std::int32_t>(500);
  return raw;
}

void check_magic(std::string_view bytes, bool nifti2, const std::string& file) {
  const std::string_view magic = bytes.substr(nifti2 ? 4 : 344, 4);
  if (magic == (nifti2 ? std::string_view("n+2\0", 4) : std::string_view("n+1\0", 4))) return;
  if (magic.starts_with("ni"))
    cannot_read(file, {.found = "the header of a .hdr/.img pair",
                       .fix = "convert the pair to one .nii.gz file"});
  cannot_read(file, {.found = "its magic is not that of a NIfTI file (ANALYZE, or damaged)",
                     .fix = "convert it to NIfTI"});
}

RawHeader fields_of(std::string_view bytes, bool& swap, const std::string& file) {
  const bool long_enough = bytes.size() >= static_cast<std::size_t>(kNifti1Bytes);
  for (const bool swapped : {false, true}) {
    const Fields fields{bytes, swapped};
    const std::int32_t size = bytes.size() < 4 ? 0 : fields.at<std::int32_t>(0);
    if (size != 348 && size != 540) continue;
    if (!long_enough || (size == 540 && bytes.size() < static_cast<std::size_t>(kNifti2Bytes)))
      cannot_read(file, {.found = "cut short within its header", .fix = "get the file again"});
    swap = swapped;
    check_magic(bytes, size == 540, file);
    return size == 348 ? nifti1_fields(fields) : nifti2_fields(fields);
  }
  cannot_read(file,
              {.found = long_enough ? "no NIfTI header (its first number is neither 348 nor 540)"
                                    : "too short for a NIfTI header",
               .fix = "get the file again, or convert it if it is of another format"});
}

struct TypeRow {
  int code;
  int bits;
  VoxelType type;
};
constexpr TypeRow kNiftiTypes[] = {{2, 8, VoxelType::kUInt8},     {4, 16, VoxelType::kInt16},
                                   {8, 32, VoxelType::kInt32},    {16, 32, VoxelType::kFloat32},
                                   {64, 64, VoxelType::kFloat64}, {256, 8, VoxelType::kInt8},
                                   {512, 16, VoxelType::kUInt16}, {768, 32, VoxelType::kUInt32},
                                   {1024, 64, VoxelType::kInt64}, {1280, 64, VoxelType::kUInt64}};

VoxelType nifti_voxel_type(int code, int bits, const std::string& file) {
  for (const TypeRow& row : kNiftiTypes) {
    if (row.code != code) continue;
    if (row.bits == bits) return row.type;
    cannot_read(file,
                {.found = "datatype " + std::to_string(code) + " has " + std::to_string(row.bits) +
                          " bits but bitpix is " + std::to_string(bits),
                 .fix = "the header is damaged, get the file again"});
  }
  constexpr std::pair<int, const char*> kRefused[] = {
      {1, "single bits"},       {32, "complex numbers"},   {128, "RGB colours"},
      {1536, "128-bit floats"}, {1792, "complex numbers"}, {2048, "complex numbers"},
      {2304, "RGBA colours"}};
  for (const auto& [refused, name] : kRefused) {
    if (refused == code)
      cannot_read(file, {.found = std::string("voxels are ") + name,
                         .fix = "convert them to integers or float32"});
  }
  cannot_read(file, {.found = "unknown datatype " + std::to_string(code),
                     .fix = "the header is damaged, get the file again"});
}

void read_sizes(NiftiHeader& header, const RawHeader& raw, const std::string& file) {
  const std::int64_t rank = raw.dim[0];
  if (rank < 1 || rank > 7)
    cannot_read(file, {.found = "dim[0] = " + std::to_string(rank),
                       .expected = "1 to 7",
                       .fix = "the header is damaged, get the file again"});
  std::array<std::int64_t, 8> dim;
  dim.fill(1);
  for (std::int64_t i = 1; i <= rank; ++i) {
    dim[i] = raw.dim[i];
    if (dim[i] < 1)
      cannot_read(file, {.found = "dim[" + std::to_string(i) + "] = " + std::to_string(dim[i]),
                         .expected = "1 or more",
                         .fix = "the header is damaged, get the file again"});
  }
  if (rank < 3)
    cannot_read(file, {.found = std::to_string(rank) + "-D",
                       .expected = "a 3-D image",
                       .fix = "stack its slices to a volume"});
  const bool vectors = dim[5] > 1;
  if ((vectors && dim[4] > 1) || dim[6] > 1 || dim[7] > 1)
    cannot_read(
        file, {.found = "more than four dimensions", .fix = "save one 3-D or 4-D image per file"});
  header.size = {dim[1], dim[2], dim[3]};
  header.channels = vectors ? dim[5] : dim[4];
}

// Extensions lie between header and voxels as [size, code, text]; voxels within one mean a wrong
// offset.
void check_extensions(const Fields& fields, const RawHeader& raw, std::int64_t offset,
                      const std::string& file) {
  const std::int64_t flag = raw.least_offset - 4;
  if (fields.bytes[static_cast<std::size_t>(flag)] == 0) return;
  std::int64_t next = raw.least_offset;
  while (next + 8 <=
         std::min<std::int64_t>(offset, static_cast<std::int64_t>(fields.bytes.size()))) {
    const auto size = fields.at<std::int32_t>(static_cast<std::size_t>(next));
    if (size < 8) return;  // padding
    if (next + size > offset)
      cannot_read(file, {.found = "vox_offset " + std::to_string(offset) +
                                  " lies within a header extension",
                         .fix = "the header is damaged, get the file again"});
    next += size;
  }
}

std::int64_t voxel_offset(const RawHeader& raw, const std::string& file) {
  constexpr double kMost = 1e15;  // whole numbers are exact up to here
  if (raw.offset >= static_cast<double>(raw.least_offset) && raw.offset <= kMost &&
      raw.offset == std::trunc(raw.offset))
    return static_cast<std::int64_t>(raw.offset);
  cannot_read(file, {.found = "vox_offset = " + shortest(raw.offset),
                     .expected = "a whole number from " + std::to_string(raw.least_offset) + " on",
                     .fix = "the header is damaged, get the file again"});
}

// A slope of 0 means unscaled; one that is no number does so to every other reader. With a slope
// that holds, the intercept counts, so it must be a number.
void read_scaling(NiftiHeader& header, const RawHeader& raw, const std::string& file) {
  if (raw.slope == 0 || !std::isfinite(raw.slope)) return;
  if (!std::isfinite(raw.intercept))
    cannot_read(file, {.found = "scl_slope = " + shortest(raw.slope) +
                                " but scl_inter = " + shortest(raw.intercept),
                       .expected = "a number",
                       .fix = "set them to 0 if values are unscaled"});
  header.slope = raw.slope;
  header.intercept = raw.intercept;
}

void put_bytes(std::string& bytes, std::size_t offset, const void* value, std::size_t count) {
  std::memcpy(bytes.data() + offset, value, count);
}

template <typename T, typename V>
void put(std::string& bytes, std::size_t offset, V value) {
  const T stored = static_cast<T>(value);
  put_bytes(bytes, offset, &stored, sizeof stored);
}

// NIfTI-2 has codes of 32 bits. What is above 0 must stay so, or the form would count for nothing.
std::int64_t short_code(std::int64_t code) {
  return std::clamp<std::int64_t>(code, std::numeric_limits<std::int16_t>::min(),
                                  std::numeric_limits<std::int16_t>::max());
}

void put_space(std::string& bytes, const NiftiSpace& space) {
  for (int i = 0; i < 8; ++i) put<float>(bytes, 76 + 4 * i, space.pixdim[i]);
  put<std::uint8_t>(bytes, 123, space.xyzt_units);
  put<std::int16_t>(bytes, 252, short_code(space.qform_code));
  put<std::int16_t>(bytes, 254, short_code(space.sform_code));
  for (int i = 0; i < 3; ++i) {
    put<float>(bytes, 256 + 4 * i, space.quatern[i]);
    put<float>(bytes, 268 + 4 * i, space.qoffset[i]);
  }
  for (int i = 0; i < 12; ++i) put<float>(bytes, 280 + 4 * i, space.srow[i]);
}

}  // namespace

std::int64_t NiftiHeader::file_bytes() const {
  return voxel_offset + size[0] * size[1] * size[2] * channels * bytes_of(type);
}

NiftiHeader parse_nifti_header(std::string_view bytes, const std::string& file) {
  NiftiHeader header;
  const RawHeader raw = fields_of(bytes, header.swap_bytes, file);
  header.space = raw.space;
  read_sizes(header, raw, file);
  header.type = nifti_voxel_type(raw.datatype, raw.bitpix, file);
  if (!checked_product(
          {header.size[0], header.size[1], header.size[2], header.channels, bytes_of(header.type)}))
    cannot_read(file, {.found = "its header claims more voxels than any file can hold",
                       .fix = "the header is damaged, get the file again"});
  header.voxel_offset = voxel_offset(raw, file);
  check_extensions({bytes, header.swap_bytes}, raw, header.voxel_offset, file);
  read_scaling(header, raw, file);
  return header;
}

std::string nifti1_header(const NiftiHeader& header, const std::string& file) {
  std::string bytes(kNifti1Bytes, '\0');
  const bool several = header.channels > 1;
  const std::int64_t dim[8] = {
      several ? 4 : 3, header.size[0], header.size[1], header.size[2], header.channels, 1, 1, 1};
  for (int i = 0; i < 8; ++i) {
    if (dim[i] > std::numeric_limits<std::int16_t>::max()) {
      throw Error("cannot write: " + file + ": " + std::to_string(dim[i]) +
                  " voxels along one axis, NIfTI-1 holds 32767; choose .nrrd or .mha");
    }
    put<std::int16_t>(bytes, 40 + 2 * i, dim[i]);
  }
  put<std::int32_t>(bytes, 0, 348);
  bytes[38] = 'r';  // "regular", which some old readers ask for
  for (const TypeRow& row : kNiftiTypes) {
    if (row.type != header.type) continue;
    put<std::int16_t>(bytes, 70, row.code);
    put<std::int16_t>(bytes, 72, row.bits);
  }
  put<float>(bytes, 108, kNifti1Bytes);
  put<float>(bytes, 112, 1);                // scl_slope
  constexpr std::size_t kDescription = 79;  // and a zero
  put_bytes(bytes, 148, header.description.data(),
            std::min(header.description.size(), kDescription));
  put_space(bytes, header.space);
  put_bytes(bytes, 344, "n+1", 4);
  return bytes;
}

}  // namespace lamp
