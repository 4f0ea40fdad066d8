// Images in single files: NIfTI, NRRD, MetaImage and npy, from those that the tests of formats/
// make.
#include <libdeflate.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "formats/nifti_samples.h"
#include "formats/npy_samples.h"
#include "formats/text_volume_samples.h"
#include "fuzz/fuzz_format.h"
#include "fuzz/image_readers.h"
#include "lamp/base/files.h"
#include "lamp/formats/gzip.h"
#include "lamp/formats/npy.h"
#include "lamp/formats/volume_io.h"

namespace lamp::fuzz {
namespace fs = std::filesystem;
namespace {

constexpr int kOneInStays = 5;  // compressed inputs whose checksums are left as they are

struct NiftiBytes : NiftiSamples {
  using NiftiSamples::as_nifti2;
};

std::string bytes_of_volume(const fs::path& folder, const std::string& name, torch::Dtype type,
                            std::int64_t channels = 1) {
  Random random({3});
  const Geometry grid = testing::oblique_grid(random, {7, 6, 5});
  const fs::path file = folder / name;
  write_volume(file,
               {.geometry = grid, .voxels = testing::random_voxels(random, grid, type, channels)},
               "lamp segment");
  std::string bytes = read_file(file);
  fs::remove(file);
  return bytes;
}

// The four numbers behind and before which damage hides: CRC and length of a gzip stream that can
// still be unpacked.
void repair_gzip(std::string& bytes) {
  constexpr std::size_t kHeader = 10, kTrailer = 8, kMost = std::size_t{16} << 20;
  if (bytes.size() < kHeader + kTrailer) return;
  const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> decompressor(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  std::string out(kMost, '\0');
  std::size_t in_bytes = 0, out_bytes = 0;
  if (libdeflate_deflate_decompress_ex(decompressor.get(), bytes.data() + kHeader,
                                       bytes.size() - kHeader - kTrailer, out.data(), out.size(),
                                       &in_bytes, &out_bytes) != LIBDEFLATE_SUCCESS)
    return;
  const std::array<std::uint32_t, 2> trailer = {libdeflate_crc32(0, out.data(), out_bytes),
                                                static_cast<std::uint32_t>(out_bytes)};
  bytes.resize(kHeader + in_bytes);
  bytes.append(reinterpret_cast<const char*>(trailer.data()), sizeof trailer);
}

// Damaged before it is packed, or packed and then damaged where only the deflate stream shows it.
void pack(FuzzFiles& files, Random& random) {
  std::string& bytes = files.front().bytes;
  bytes = gzip(bytes, 1);
  if (random.below(2) == 0) return;
  for (std::int64_t i = random.below(4); i >= 0 && bytes.size() > 10; --i)
    bytes[10 + static_cast<std::size_t>(random.below(std::ssize(bytes) - 10))] ^=
        static_cast<char>(1 << random.below(8));
  if (random.below(kOneInStays) != 0) repair_gzip(bytes);
}

// The first file of the folder that is an image.
fs::path image_in(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (has_volume_extension(entry.path()) && entry.path().extension() != ".raw")
      return entry.path();
  throw Contradiction("no input was written");
}

std::vector<FuzzFiles> nifti_seeds(const fs::path& folder, const std::string& name) {
  std::vector<FuzzFiles> seeds;
  for (const auto type : {torch::kUInt8, torch::kInt16, torch::kFloat32})
    seeds.push_back({{name, bytes_of_volume(folder, "a.nii", type)}});
  seeds.push_back({{name, NiftiBytes::as_nifti2(seeds[1].front().bytes)}});
  seeds.push_back({{name, bytes_of_volume(folder, "a.nii", torch::kInt16, 3)}});
  std::string extended = seeds[1].front().bytes;
  extended[348] = 1;
  const std::int32_t size = 32, code = 6;
  std::string extension(32, 'x');
  std::memcpy(extension.data(), &size, 4);
  std::memcpy(extension.data() + 4, &code, 4);
  const float offset = 352 + 32;
  std::memcpy(extended.data() + 108, &offset, 4);
  seeds.push_back({{name, extended.insert(352, extension)}});
  return seeds;
}

FuzzFormat nifti_format(const std::string& name, const std::string& file) {
  return {.name = name,
          .words = {std::string("n+1\0", 4), std::string("ni1\0", 4),
                    std::string("n+2\0\r\n\032\n", 8), std::string("\x5c\x01\0\0", 4),
                    std::string("\0\0\x01\x5c", 4), std::string("\x1c\x02\0\0", 4)},
          .seeds = [file](const fs::path& folder) { return nifti_seeds(folder, file); },
          .readers = image_readers(image_in)};
}

std::string zlib_packed(const std::string& bytes) {
  const std::unique_ptr<libdeflate_compressor, void (*)(libdeflate_compressor*)> compressor(
      libdeflate_alloc_compressor(1), libdeflate_free_compressor);
  std::string packed(libdeflate_zlib_compress_bound(compressor.get(), bytes.size()), '\0');
  packed.resize(libdeflate_zlib_compress(compressor.get(), bytes.data(), bytes.size(),
                                         packed.data(), packed.size()));
  return packed;
}

std::string voxels_of_24() {
  std::string bytes;
  for (char i = 1; i <= 24; ++i) bytes += {i, '\0'};
  return bytes;
}

FuzzFormat nrrd_format() {
  const auto seeds = [](const fs::path& folder) {
    const testing::HeaderFields fields = testing::nrrd_fields();
    const std::string voxels = voxels_of_24();
    const auto four = fields.with("dimension", "4")
                          .with("sizes", "2 4 3 1")
                          .with("space directions", "none (2,0,0) (0,3,0) (0,0,4)")
                          .with("kinds", "vector domain domain domain");
    return std::vector<FuzzFiles>{
        {{"a.nrrd", fields.text() + "\n" + voxels}},
        {{"a.nrrd", fields.with("encoding", "gzip").text() + "\n" + gzip(voxels, 1)}},
        {{"a.nrrd", four.text() + "key:=value\n# comment\n\n" + voxels}},
        {{"a.nrrd", fields.with("space", "")
                            .with("space directions", "")
                            .with("space origin", "")
                            .with("spacings", "2 3 4")
                            .text() +
                        "\n" + voxels}},
        {{"a.nrrd", bytes_of_volume(folder, "a.nrrd", torch::kFloat32)}},
        {{"a.nhdr", fields.with("data file", "a.raw").text()}, {"a.raw", voxels}}};
  };
  return {.name = "nrrd",
          .words = {"type: ",
                    "dimension: ",
                    "space: ",
                    "sizes: ",
                    "space directions: ",
                    "kinds: ",
                    "endian: ",
                    "space origin: ",
                    "encoding: ",
                    "spacings: ",
                    "measurement frame: ",
                    "data file: ",
                    "datafile: LIST",
                    "line skip: ",
                    "byte skip: -1",
                    "gzip",
                    "raw",
                    "ascii",
                    "hex",
                    "none ",
                    "nan",
                    "RAS",
                    "scanner-xyz",
                    "double",
                    "block",
                    "NRRD0005\n",
                    "\n\n",
                    ":=",
                    "(1,2,3)",
                    "units: \"mm\"",
                    "centerings: cell",
                    "axis mins: ",
                    "old min: ",
                    "../a.raw",
                    "a.raw"},
          .seeds = seeds,
          .readers = image_readers(image_in)};
}

FuzzFormat meta_format() {
  const auto seeds = [](const fs::path& folder) {
    const testing::HeaderFields fields = testing::meta_fields();
    const std::string voxels = voxels_of_24(), packed = zlib_packed(voxels);
    const auto compressed = fields.with("CompressedData", "True")
                                .with("CompressedDataSize", std::to_string(packed.size()));
    return std::vector<FuzzFiles>{
        {{"a.mha", fields.text() + voxels}},
        {{"a.mha", compressed.text() + packed}},
        {{"a.mha",
          fields.with("ElementNumberOfChannels", "2").with("DimSize", "4 3 1").text() + voxels}},
        {{"a.mha", bytes_of_volume(folder, "a.mha", torch::kInt16)}},
        {{"a.mhd", fields.with("ElementDataFile", "a.raw").text()}, {"a.raw", voxels}}};
  };
  return {.name = "metaimage",
          .words = {"ObjectType = ",
                    "NDims = ",
                    "BinaryData = False",
                    "ElementByteOrderMSB = True",
                    "TransformMatrix = ",
                    "Rotation = ",
                    "Orientation = ",
                    "Offset = ",
                    "Position = ",
                    "Origin = ",
                    "CenterOfRotation = ",
                    "AnatomicalOrientation = RAI",
                    "ElementSpacing = ",
                    "ElementSize = ",
                    "DimSize = ",
                    "HeaderSize = -1",
                    "ElementNumberOfChannels = ",
                    "ElementType = MET_DOUBLE",
                    "MET_UCHAR_ARRAY",
                    "ElementDataFile = LIST",
                    "ElementDataFile = a%d.raw 1 2 1",
                    "LOCAL",
                    "CompressedData = True",
                    "CompressedDataSize = ",
                    "ElementToIntensityFunctionSlope = ",
                    "DistanceUnits = um",
                    "nan",
                    "1e308",
                    "../a.raw"},
          .seeds = seeds,
          .readers = image_readers(image_in)};
}

FuzzFormat npy_format() {
  const auto seeds = [](const fs::path&) {
    std::vector<FuzzFiles> seeds;
    for (const char* descr : {"<i2", ">f4", "|b1", "<f2", ">u8", "|i1"})
      for (const bool fortran : {false, true})
        for (const int version : {1, 2}) {
          testing::NpyFile file{.descr = descr, .fortran_order = fortran, .version = version};
          file.data = std::string(static_cast<std::size_t>(60 * (descr[2] - '0')), '\1');
          seeds.push_back({{"a.npy", file.bytes()}});
        }
    return seeds;
  };
  return {
      .name = "npy",
      .words = {"'descr'", "'fortran_order'", "'shape'", "True", "False", "(3, 4, 5)", "(60,)",
                "()", "(0, 9223372036854775807, 5)", "'<f8'", "'|O'", "'<c8'", "[('a', '<i2')]",
                "'=f4'", "3L", "\"", "{", "}", std::string("\x93NUMPY\x03\0", 8)},
      .seeds = seeds,
      .readers = {
          {"array", [](const fs::path& folder) { read_npy(folder / "a.npy"); }},
          {"image",
           [](const fs::path& folder) {
             const RawVolume raw = read_npy_volume(folder / "a.npy", {1, 1, 2});
             to_image(raw, {.refuse_nan = false}, (folder / "a.npy").string());
           }},
          {"label", [](const fs::path& folder) {
             to_label(read_npy_volume(folder / "a.npy", {1, 1, 2}), (folder / "a.npy").string());
           }}}};
}

}  // namespace

std::vector<FuzzFormat> volume_formats() {
  FuzzFormat packed = nifti_format("nifti-gz", "a.nii.gz");
  packed.finish = pack;
  return {nifti_format("nifti", "a.nii"), std::move(packed), nrrd_format(), meta_format(),
          npy_format()};
}

}  // namespace lamp::fuzz
