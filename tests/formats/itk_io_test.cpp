// NRRD, MetaImage and DICOM: the same promises as for NIfTI, which ITK alone does not keep.
#include "lamp/formats/itk_io.h"

#include "formats/dicom_writer.h"
#include "lamp/base/files.h"
#include "lamp/base/size3.h"
#include "lamp/formats/gzip.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

using testing::expect_image_refused;
using testing::expect_same_grid;

class ItkIoTest : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& bytes, const std::string& name) {
    return testing::written(folder_ / name, bytes);
  }
  Volume sample() {
    const Geometry grid = testing::oblique_grid(random_, {24, 20, 16});
    return {.geometry = grid, .voxels = testing::random_voxels(random_, grid, torch::kInt16)};
  }
  testing::TemporaryFolder folder_;
  Random random_{9};
};

// A 4x3x2 image of ones to twenty-fours, to be completed by encoding and data.
const char* const kNrrd =
    "NRRD0004\n# made by hand\ntype: short\ndimension: 3\nspace: left-posterior-superior\n"
    "sizes: 4 3 2\nspace directions: (2,0,0) (0,3,0) (0,0,4)\nkinds: domain domain domain\n"
    "endian: little\nspace origin: (10,20,30)\n";
const char* const kMeta =
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 10 20 30\nElementSpacing = 2 3 4\n"
    "DimSize = 4 3 2\nElementType = MET_SHORT\n";

std::string counting() {
  std::string bytes;
  for (char i = 1; i <= 24; ++i) bytes += {i, '\0'};
  return bytes;
}

void expect_counting(const std::filesystem::path& path) {
  const Volume volume = read_image(path);
  EXPECT_EQ(volume.geometry.size, (Size3{4, 3, 2}));
  EXPECT_EQ(volume.geometry.spacing_mm, (std::array<double, 3>{2, 3, 4}));
  EXPECT_EQ(volume.geometry.point({1, 1, 1}), (std::array<double, 3>{12, 23, 34}));
  EXPECT_TRUE(torch::equal(volume.voxels.flatten(), torch::arange(1, 25, torch::kFloat32)));
}

TEST_F(ItkIoTest, EveryTypeAndObliqueGridComesBack) {
  for (const char* name : {"a.nrrd", "a.mha"}) {
    for (const auto type : {torch::kUInt8, torch::kInt16, torch::kInt32, torch::kFloat32}) {
      for (int round = 0; round < 10; ++round) {
        const Geometry grid = testing::oblique_grid(random_, {5, 4, 3});
        const torch::Tensor voxels = testing::random_voxels(random_, grid, type, 1 + round % 2);
        write_volume(folder_ / name, {.geometry = grid, .voxels = voxels});
        const Volume back = read_image(folder_ / name);
        expect_same_grid(grid, back.geometry, 1e-6);
        EXPECT_TRUE(torch::equal(back.voxels, voxels.to(torch::kFloat32))) << name;
        EXPECT_EQ(read_volume_header(folder_ / name).channels, 1 + round % 2);
        expect_same_grid(grid, read_volume_header(folder_ / name).geometry, 1e-6);
      }
    }
  }
}

TEST_F(ItkIoTest, LabelsComeBack) {
  const Geometry grid = testing::oblique_grid(random_, {5, 4, 3});
  const torch::Tensor voxels = testing::random_voxels(random_, grid, torch::kUInt8);
  write_volume(folder_ / "a.nrrd", {.geometry = grid, .voxels = voxels});
  EXPECT_TRUE(torch::equal(read_label(folder_ / "a.nrrd").voxels, voxels));
}

TEST_F(ItkIoTest, RefusesATruncatedFile) {
  const Volume volume = sample();
  for (const char* name : {"a.nrrd", "a.mha"}) {
    write_volume(folder_ / name, volume);
    const std::string whole = read_file(folder_ / name);
    for (int round = 0; round < 300; ++round) {
      const auto length = random_.below(static_cast<std::int64_t>(whole.size()));
      const auto path = file(whole.substr(0, length), std::string("cut-") + name);
      EXPECT_THROW(read_image(path), InputError) << name << " cut to " << length;
    }
  }
}

TEST_F(ItkIoTest, OneFlippedBitOfTheVoxelsIsRefusedOrChangesNothing) {
  const Volume volume = sample();
  for (const auto& [name, end] : {std::pair{"a.nrrd", "\n\n"}, std::pair{"a.mha", "LOCAL\n"}}) {
    write_volume(folder_ / name, volume);
    const std::string whole = read_file(folder_ / name);
    const std::size_t start = whole.find(end) + std::string(end).size();
    int refused = 0;
    for (int round = 0; round < 300; ++round) {
      std::string bytes = whole;
      const auto bit = random_.below(static_cast<std::int64_t>(bytes.size() - start) * 8);
      char& byte = bytes[start + bit / 8];
      byte = static_cast<char>(byte ^ (1 << bit % 8));
      try {
        EXPECT_TRUE(torch::equal(read_image(file(bytes, std::string("flipped-") + name)).voxels,
                                 volume.voxels.to(torch::kFloat32)))
            << name << " bit " << bit;
      } catch (const InputError&) {
        ++refused;
      }
    }
    EXPECT_GE(refused, 295) << name;
  }
}

TEST_F(ItkIoTest, ReadsRawAndCompressedDataWithinAndBeside) {
  const std::string raw = counting(), packed = gzip(raw, 6);
  expect_counting(file(kNrrd + ("encoding: raw\n\n" + raw), "a.nrrd"));
  expect_counting(file(kNrrd + ("encoding: gzip\n\n" + packed), "b.nrrd"));
  file(raw, "voxels.raw");
  file(packed, "voxels.raw.gz");
  expect_counting(file(kNrrd + std::string("encoding: raw\ndata file: voxels.raw\n"), "a.nhdr"));
  expect_counting(file(kNrrd + std::string("encoding: gz\ndata file: voxels.raw.gz\n"), "b.nhdr"));
  expect_counting(file(kMeta + ("ElementDataFile = LOCAL\n" + raw), "a.mha"));
  expect_counting(file(kMeta + std::string("ElementDataFile = voxels.raw\n"), "a.mhd"));
}

TEST_F(ItkIoTest, ReadsBigEndianVoxels) {
  std::string swapped = counting();
  for (std::size_t i = 0; i < swapped.size(); i += 2) std::swap(swapped[i], swapped[i + 1]);
  std::string nrrd = kNrrd, meta = kMeta;
  nrrd.replace(nrrd.find("little"), 6, "big");
  meta.replace(meta.find("MSB = False"), 11, "MSB = True");
  expect_counting(file(nrrd + "encoding: raw\n\n" + swapped, "a.nrrd"));
  expect_counting(file(meta + "ElementDataFile = LOCAL\n" + swapped, "a.mha"));
}

TEST_F(ItkIoTest, AWrongCompressedSizeIsRefused) {
  const Volume volume = sample();
  write_volume(folder_ / "a.mha", volume);
  std::string bytes = read_file(folder_ / "a.mha");
  const std::size_t digit = bytes.find("CompressedDataSize = ") + 21;
  ASSERT_GT(digit, 21U);
  EXPECT_TRUE(torch::equal(read_image(folder_ / "a.mha").voxels, volume.voxels.to(torch::kFloat32)))
      << "ITK's own number is right";
  bytes[digit] = bytes[digit] == '1' ? '2' : '1';
  expect_image_refused(file(bytes, "b.mha"), "bytes of compressed voxels");
}

TEST_F(ItkIoTest, RefusesChannelsBehindSpace) {
  std::string header = kNrrd;
  header.replace(header.find("sizes: 4 3 2"), 12, "sizes: 4 3 2 2");
  header.replace(header.find("dimension: 3"), 12, "dimension: 4");
  header.replace(header.find("(0,0,4)"), 7, "(0,0,4) none");
  header.replace(header.find("domain domain domain"), 20, "domain domain domain vector");
  expect_image_refused(file(header + "encoding: raw\n\n" + counting() + counting(), "a.nrrd"),
                       "channels");
}

TEST_F(ItkIoTest, RefusesRawDataOfAnotherLength) {
  const std::string raw = counting();
  for (const std::string& wrong : {raw + "x", raw.substr(1), std::string()}) {
    expect_image_refused(file(kNrrd + ("encoding: raw\n\n" + wrong), "a.nrrd"), "expected 48");
    expect_image_refused(file(kMeta + ("ElementDataFile = LOCAL\n" + wrong), "a.mha"),
                         "expected 48");
    EXPECT_THROW(read_volume_header(folder_ / "a.mha"), InputError);
  }
  expect_image_refused(file(kMeta + std::string("ElementDataFile = none.raw\n"), "a.mhd"),
                       "cannot be read");
  expect_image_refused(file(kNrrd + ("encoding: gzip\n\n" + gzip(raw + "xy", 1)), "b.nrrd"),
                       "more bytes");
  expect_image_refused(file(kNrrd + ("encoding: gzip\n\n" + gzip(raw.substr(2), 1)), "b.nrrd"),
                       "found 46 bytes of voxels, expected 48");
}

TEST_F(ItkIoTest, RefusesWhatItCannotCheck) {
  const std::string raw = counting();
  expect_image_refused(file(kNrrd + ("encoding: ascii\n\n1 2 3" + raw), "a.nrrd"), "encoding");
  expect_image_refused(file(kNrrd + ("byte skip: 4\nencoding: raw\n\n" + raw), "a.nrrd"), "skip");
  expect_image_refused(
      file(kNrrd + ("space units: \"m\" \"m\" \"m\"\nencoding: raw\n\n" + raw), "a.nrrd"), "\"m\"");
  expect_image_refused(file(kNrrd + ("sizes: 4 3 1\nencoding: raw\n\n" + raw), "a.nrrd"), "twice");
  expect_image_refused(file(kMeta + std::string("ElementDataFile = LIST\na\nb\n"), "a.mhd"),
                       "several files");
  expect_image_refused(file("hello", "a.nrrd"), "no NRRD");
  expect_image_refused(file("hello", "a.mha"), "no MetaImage");
  expect_image_refused(file("", "a.nhdr"), "");
}

TEST_F(ItkIoTest, RefusesAClaimOfATrillionVoxels) {
  std::string header = kNrrd;
  header.replace(header.find("4 3 2"), 5, "10000 10000 10000");
  expect_image_refused(file(header + "encoding: gzip\n\n" + gzip(counting(), 1), "a.nrrd"),
                       "2000000000000 bytes");
  header.replace(header.find("10000 10000 10000"), 17, "4000000000 4000000000 4000000000");
  expect_image_refused(file(header + "encoding: raw\n\n" + counting(), "a.nrrd"), "impossible");
}

TEST_F(ItkIoTest, RefusesBrokenGeometry) {
  const auto with_directions = [&](const std::string& directions) {
    std::string header = kNrrd;
    header.replace(header.find("(2,0,0) (0,3,0) (0,0,4)"), 23, directions);
    return file(header + "encoding: raw\n\n" + counting(), "a.nrrd");
  };
  expect_image_refused(with_directions("(2,0,0) (0,3,0) (1,0,4)"), "sheared");
  expect_image_refused(with_directions("(2,0,0) (2,0,0) (0,0,4)"), "singular");
  expect_image_refused(with_directions("(nan,0,0) (0,3,0) (0,0,4)"), "");
  EXPECT_NEAR(read_image(with_directions("(2,0,0) (0,3,0) (0.0008,0,4)")).geometry.direction[2],
              1e-4, 1e-6);
  const Volume sheared =
      read_image(with_directions("(2,0,0) (0,3,0) (3,0,4)"), {.allow_shear = true});
  EXPECT_NEAR(sheared.geometry.spacing_mm[2], 5, 1e-9);
  EXPECT_NEAR(sheared.geometry.direction[2], 0.6, 1e-9);
}

class DicomTest : public ::testing::Test {
 protected:
  static constexpr int kSlices = 5;

  // Slice k of a series along z, 2.5 mm apart, with values 100 k, 100 k + 1, ...
  static testing::DicomSlice slice(int k) {
    testing::DicomSlice slice{
        .number = k + 1, .position_mm = {-10, 20, 30 + 2.5 * k}, .spacing_mm = {0.5, 0.75}};
    for (int i = 0; i < slice.width * slice.height; ++i)
      slice.values.push_back(static_cast<std::int16_t>(1024 + 100 * k + i));
    return slice;
  }
  void write(const testing::DicomSlice& slice) {
    // Names in another order than positions.
    testing::write_dicom(folder_ / ("IM" + std::to_string(900 - slice.number)), slice);
  }
  void write_all() {
    for (int k = 0; k < kSlices; ++k) write(slice(k));
  }
  std::filesystem::path image_file(int k) { return folder_ / ("IM" + std::to_string(899 - k)); }

  testing::TemporaryFolder folder_;
};

TEST_F(DicomTest, ReadsASeriesInTheOrderOfItsPositions) {
  write_all();
  const Volume volume = read_image(folder_.path());
  EXPECT_EQ(volume.geometry.size, (Size3{4, 3, kSlices}));
  EXPECT_EQ(volume.geometry.spacing_mm, (std::array<double, 3>{0.5, 0.75, 2.5}));
  EXPECT_EQ(volume.geometry.origin_mm, (std::array<double, 3>{-10, 20, 30}));
  for (int k = 0; k < kSlices; ++k) {
    EXPECT_TRUE(torch::equal(volume.voxels[0][k].flatten(),
                             torch::arange(100 * k, 100 * k + 12, torch::kFloat32)));
  }
  EXPECT_EQ(corner_distance_voxels(volume.geometry, read_volume_header(folder_.path()).geometry),
            0);
  EXPECT_TRUE(is_volume_file(folder_.path()));
}

TEST_F(DicomTest, AppliesEverySlicesOwnScaling) {
  write_all();
  testing::DicomSlice scaled = slice(2);
  scaled.slope = "0.5";
  scaled.intercept = "3";
  write(scaled);
  const Volume volume = read_image(folder_.path());
  EXPECT_EQ(volume.voxels.index({0, 2, 0, 1}).item<float>(), 0.5F * (1024 + 201) + 3);
  EXPECT_EQ(volume.voxels.index({0, 3, 0, 1}).item<float>(), 301);
}

TEST_F(DicomTest, RefusesAMissingSlice) {
  write_all();
  std::filesystem::remove(image_file(2));
  expect_image_refused(folder_.path(), "5.000 mm apart, the others 2.500 mm: a slice is missing");
}

TEST_F(DicomTest, RefusesASliceTooMany) {
  write_all();
  testing::DicomSlice twice = slice(2);
  twice.number = 77;
  write(twice);
  expect_image_refused(folder_.path(), "0.000 mm apart");
}

TEST_F(DicomTest, RefusesTwoSeriesAndNamesThem) {
  write_all();
  testing::DicomSlice other = slice(7);
  other.series = "9.8.7";
  write(other);
  expect_image_refused(folder_.path(), "1.2.3.4");
  expect_image_refused(folder_.path(), "9.8.7");
}

TEST_F(DicomTest, RefusesASliceOfAnotherOrientation) {
  write_all();
  testing::DicomSlice localizer = slice(6);
  localizer.rows_and_columns = {0, 1, 0, 0, 0, 1};
  write(localizer);
  expect_image_refused(folder_.path(), "orientation differ");
}

TEST_F(DicomTest, RefusesATiltedGantryUnlessShearIsAllowed) {
  for (int k = 0; k < kSlices; ++k) {
    testing::DicomSlice tilted = slice(k);
    tilted.position_mm[1] += 0.5 * k;
    write(tilted);
  }
  expect_image_refused(folder_.path(), "tilted gantry");
  const Geometry grid = read_image(folder_.path(), {.allow_shear = true}).geometry;
  EXPECT_NEAR(grid.point({0, 0, 4})[1], 22, 1e-6);
  EXPECT_NEAR(grid.point({0, 0, 4})[2], 40, 1e-6);
}

TEST_F(DicomTest, RefusesOneSliceAndNone) {
  expect_image_refused(folder_.path(), "no DICOM");
  write(slice(0));
  expect_image_refused(folder_.path(), "one slice");
}

TEST_F(DicomTest, AFlippedBitNeverEndsTheProcess) {
  write_all();
  const std::string whole = read_file(image_file(2));
  Random random{4};
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    const auto bit = random.below(static_cast<std::int64_t>(bytes.size()) * 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    testing::written(image_file(2), bytes);
    try {
      EXPECT_EQ(read_image(folder_.path()).geometry.size[2], kSlices);
    } catch (const InputError&) {
    }
  }
}

TEST_F(DicomTest, RefusesASliceWithoutAPlace) {
  write_all();
  const std::string whole = read_file(image_file(2));
  for (const char tag : {'\x32', '\x37'}) {  // position, orientation
    std::string bytes = whole;
    bytes[bytes.find(std::string("\x20\0", 2) + tag + std::string("\0DS", 3)) + 2] = '\x33';
    testing::written(image_file(2), bytes);
    expect_image_refused(folder_.path(), "");
  }
}

TEST_F(DicomTest, RefusesRunLengthCoding) {
  write_all();
  std::string bytes = read_file(image_file(2));
  const std::string syntax = "1.2.840.10008.1.2.1";
  bytes[bytes.find(syntax) + syntax.size() - 1] = '5';
  testing::written(image_file(2), bytes);
  expect_image_refused(folder_.path(), "transfer syntax");
}

TEST_F(DicomTest, RefusesATruncatedSlice) {
  write_all();
  const std::string whole = read_file(image_file(2));
  for (std::size_t length = 140; length < whole.size(); length += 7) {
    testing::written(image_file(2), whole.substr(0, length));
    EXPECT_THROW(read_image(folder_.path()), InputError) << "cut to " << length;
  }
  // The last slice leaves no gap behind it.
  const std::string last = read_file(image_file(kSlices - 1));
  write_file(image_file(2), whole);
  for (std::size_t length = 140; length < last.size(); length += 7) {
    testing::written(image_file(kSlices - 1), last.substr(0, length));
    EXPECT_THROW(read_image(folder_.path()), InputError) << "cut to " << length;
  }
}

}  // namespace
}  // namespace lamp
