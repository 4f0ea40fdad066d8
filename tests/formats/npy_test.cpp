// Arrays that are read hold what was written, value by value; everything else is refused in one
// line and never crashes.
#include "lamp/formats/npy.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/types.h>

#include <chrono>
#include <limits>

#include "formats/npy_samples.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/size3.h"
#include "support/temporary_folder.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

using testing::array_bytes;
using testing::encoded;
using testing::expect_refused;
using testing::NpyFile;
using testing::shape_of;
using testing::written;

constexpr Shape3 kSize = {3, 4, 5};  // z, y, x
constexpr std::int64_t kCount = 60;

class NpyTest : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& bytes) {
    return written(folder_ / "array.npy", bytes);
  }

  static NpyFile sound() {
    std::vector<std::int16_t> values(kCount);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<std::int16_t>(37 * i - 1000);
    return {.data = array_bytes(values, kSize, false, false)};
  }

  void expect_npy_refused(const std::string& bytes, const std::string& part) {
    const auto path = file(bytes);
    expect_refused([&] { read_npy_volume(path, {1, 1, 1}); }, part);
    expect_refused([&] { read_npy_volume(path, {1, 1, 1}); }, "array.npy");
  }

  void expect_header_refused(const std::string& dictionary, const std::string& part) {
    NpyFile changed = sound();
    changed.header = dictionary;
    expect_npy_refused(changed.bytes(), part);
  }

  // Writes `values` in each order, byte order and version, and reads them as an image.
  template <typename T>
  void expect_every_form_reads(const std::string& code, const std::vector<T>& values) {
    for (const bool big : {false, true}) {
      for (const bool fortran : {false, true}) {
        for (const int version : {1, 2, 3}) {
          NpyFile array{.descr = (sizeof(T) == 1 ? "|"
                                  : big          ? ">"
                                                 : "<") +
                                 code,
                        .fortran_order = fortran,
                        .shape = shape_of(kSize),
                        .version = version,
                        .data = array_bytes(values, kSize, fortran, big)};
          SCOPED_TRACE(array.dictionary() + " version " + std::to_string(version));
          const Volume image =
              to_image(read_npy_volume(file(array.bytes()), {1, 2, 3}), {}, "array.npy");
          ASSERT_EQ(image.geometry.size, (Size3{5, 4, 3}));
          EXPECT_EQ(image.geometry.spacing_mm, (std::array<double, 3>{1, 2, 3}));
          ASSERT_EQ(image.voxels.sizes(), (std::vector<std::int64_t>{1, 3, 4, 5}));
          const float* found = image.voxels.const_data_ptr<float>();
          for (std::int64_t i = 0; i < kCount; ++i)
            ASSERT_EQ(found[i], static_cast<float>(values[static_cast<std::size_t>(i)])) << i;
        }
      }
    }
  }

  template <typename T>
  static std::vector<T> values() {
    using Limits = std::numeric_limits<T>;
    std::vector<T> numbers = {Limits::lowest(), Limits::max(), T{0}, T{1}};
    if (sizeof(T) == 8) numbers = {T{0}, T{1}, T{100}, T{99}};  // not beyond float32
    for (std::int64_t i = 4; i < kCount; ++i) numbers.push_back(static_cast<T>(i * 7919 % 30011));
    if (!std::is_integral_v<T>) numbers[7] = static_cast<T>(-0.375);
    return numbers;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(NpyTest, EveryTypeOrderAndVersionReadsValueByValue) {
  expect_every_form_reads("u1", values<std::uint8_t>());
  expect_every_form_reads("i1", values<std::int8_t>());
  expect_every_form_reads("u2", values<std::uint16_t>());
  expect_every_form_reads("i2", values<std::int16_t>());
  expect_every_form_reads("u4", values<std::uint32_t>());
  expect_every_form_reads("i4", values<std::int32_t>());
  expect_every_form_reads("u8", values<std::uint64_t>());
  expect_every_form_reads("i8", values<std::int64_t>());
  expect_every_form_reads("f4", values<float>());
  expect_every_form_reads("f8", values<double>());
}

TEST_F(NpyTest, BooleansAreZerosAndOnes) {
  std::vector<std::uint8_t> bits(kCount);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = i % 3 == 0;
  expect_every_form_reads("b1", bits);
  bits[11] = 7;
  NpyFile damaged{.descr = "|b1", .data = array_bytes(bits, kSize, false, false)};
  expect_npy_refused(damaged.bytes(), "the byte 7 in an array of bool");
}

TEST_F(NpyTest, HalvesBecomeFloats) {
  for (const bool big : {false, true}) {
    for (const bool fortran : {false, true}) {
      std::vector<std::uint16_t> halves(kCount, 0xC000);  // -2
      halves[0] = 0x3C00;                                 // 1
      halves[1] = 0x3555;                                 // 0.333251953125
      halves[59] = 0x7BFF;                                // 65504, the largest
      NpyFile array{.descr = big ? ">f2" : "<f2",
                    .fortran_order = fortran,
                    .data = array_bytes(halves, kSize, fortran, big)};
      const Volume image = to_image(read_npy_volume(file(array.bytes()), {1, 1, 1}), {}, "a");
      const float* found = image.voxels.const_data_ptr<float>();
      EXPECT_EQ(found[0], 1.0F);
      EXPECT_EQ(found[1], 0.333251953125F);
      EXPECT_EQ(found[2], -2.0F);
      EXPECT_EQ(found[59], 65504.0F);
    }
  }
}

TEST_F(NpyTest, LabelsKeepLargeWholeNumbers) {
  std::vector<std::uint32_t> labels(kCount, 3);
  labels[5] = 2147483647;
  const NpyFile array{.descr = ">u4", .data = array_bytes(labels, kSize, false, true)};
  const Volume label = to_label(read_npy_volume(file(array.bytes()), {1, 1, 1}), "array.npy");
  ASSERT_EQ(label.voxels.scalar_type(), torch::kInt32);
  EXPECT_EQ(label.voxels.flatten()[5].item<int>(), 2147483647);
  EXPECT_EQ(label.voxels.flatten()[6].item<int>(), 3);
}

TEST_F(NpyTest, ArraysOfOtherDimensionsReadAsTheyAre) {
  NpyFile array{.descr = "<i2", .fortran_order = true, .shape = "(2, 3)"};
  for (const std::int16_t value : {0, 10, 1, 11, 2, 12}) array.data += encoded(value, false);
  const NpyArray read = read_npy(file(array.bytes()));
  EXPECT_EQ(read.shape, (std::vector<std::int64_t>{2, 3}));
  std::string expected;
  for (const std::int16_t value : {0, 1, 2, 10, 11, 12}) expected += encoded(value, false);
  EXPECT_EQ(read.bytes.substr(read.offset), expected);
  array = {.descr = "<i2", .shape = "()", .data = encoded(std::int16_t{5}, false)};
  EXPECT_TRUE(read_npy(file(array.bytes())).shape.empty());
  array = {.descr = "<f8", .fortran_order = true, .shape = "(0, 4, 5)"};
  EXPECT_EQ(read_npy(file(array.bytes())).shape, (std::vector<std::int64_t>{0, 4, 5}));
}

TEST_F(NpyTest, HeadersOfOtherWritersRead) {
  for (const char* header :
       {"{\"descr\":\"<i2\",\"fortran_order\":False,\"shape\":(3,4,5)}",
        "{'shape': (3L, 4L, 5L), 'fortran_order': False, 'descr': '<i2'}",
        "  { 'descr' :\t'<i2' , 'fortran_order' : False ,\n 'shape' : ( 3 , 4 , 5 , ) , }  "}) {
    NpyFile array = sound();
    array.header = header;
    EXPECT_NO_THROW(read_npy_volume(file(array.bytes()), {1, 1, 1})) << header;
  }
}

TEST_F(NpyTest, RefusesObjectsAndRecordsWithoutOpeningThem) {
  for (const char* descr : {"|O", "O", "|O8", "<O"}) {
    NpyFile array = sound();
    array.descr = descr;
    expect_npy_refused(array.bytes(), "Python objects");
  }
  expect_header_refused(
      "{'descr': [('a', '<f4'), ('b', '<i2')], 'fortran_order': False, 'shape': (10,), }",
      "an array of records");
  for (const char* descr : {"<c8", "<U5", "|S10", "<M8[s]", "|V8", "<f16", "<f3", "<i3", "<i", "",
                            "<", "i2x", "<<i2"}) {
    NpyFile array = sound();
    array.descr = descr;
    expect_npy_refused(array.bytes(), "values of type");
  }
}

TEST_F(NpyTest, RefusesHeadersThatAreNone) {
  const std::string good = "{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4, 5), }";
  expect_header_refused("__import__('os').system('true')", "expected '{'");
  expect_header_refused("{'descr': __import__('os'), 'fortran_order': False, 'shape': (3, 4, 5)}",
                        "expected a string");
  expect_header_refused("{'descr': '<i2', 'fortran_order': 1, 'shape': (3, 4, 5)}",
                        "expected True or False");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False, 'shape': [3, 4, 5]}",
                        "expected '('");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False, 'shape': 60}", "expected '('");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False, 'shape': (60)}", "a tuple");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4, 5.0)}",
                        "expected ')'");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False, 'shape': (3, 4, 2+3)}",
                        "expected ')'");
  expect_header_refused("{'descr': '<i2', 'fortran_order': False}", "expected all three");
  expect_header_refused("{}", "expected all three");
  expect_header_refused("{'descr': '<i2', 'descr': '<i2', 'shape': (3, 4, 5)}", "twice");
  expect_header_refused("{'descr': '<i2', 'colour': 1}", "the key \"colour\"");
  expect_header_refused("{'descr': '<i\\x32', 'fortran_order': False, 'shape': (3, 4, 5)}",
                        "a plain string");
  expect_header_refused("{'descr': '<i2", "a plain string");
  expect_header_refused(good + "{}", "behind its header");
  expect_header_refused(std::string("{\0}", 3), "expected a string");
  expect_header_refused(std::string(9000, '{'), "expected a string");
  expect_header_refused(std::string(9000, '('), "expected '{'");
  std::string many = "{'descr': '<i2', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < 100; ++i) many += "1, ";
  expect_header_refused(many + ")}", "more than 32 axes");
}

TEST_F(NpyTest, RefusesShapesThatCannotBe) {
  const auto with_shape = [&](const std::string& shape, const std::string& part) {
    NpyFile array = sound();
    array.shape = shape;
    expect_npy_refused(array.bytes(), part);
  };
  with_shape("(-3, -4, 5)", "expected sizes from 0");
  with_shape("(3, 4, 99999999999999999999)", "expected sizes from 0");
  with_shape("(9223372036854775807, 9223372036854775807, 5)", "more than 2^62");
  with_shape("(4611686018427387904, 2, 1)", "more than 2^62");
  with_shape("(0, 9223372036854775807, 9223372036854775807)", "more than 2^62");
  with_shape(
      "(3, 4, 6)",
      "found 120 bytes of values, which are cut short unless its header is damaged, expected 144");
  with_shape("(3, 4, 4)", "expected 96 for its shape (3, 4, 4)");
  with_shape("(3, 20)", "of 2 axes, shape (3, 20), expected three");
  with_shape("(60,)", "of 1 axes");
  with_shape("(1, 3, 4, 5)", "of 4 axes");
  with_shape("(1, 12, 5)", "a 2-D image");
}

TEST_F(NpyTest, RefusesAClaimOfExabytesAtOnce) {
  NpyFile array = sound();
  array.shape = "(1000000, 1000000, 1000000)";
  const auto start = std::chrono::steady_clock::now();
  expect_npy_refused(array.bytes(), "expected 2000000000000000000 for its shape");
  std::string bytes = sound().bytes();
  bytes[6] = 2;  // now four bytes of length, two of which are the dictionary's own
  expect_npy_refused(bytes, "expected at most 10000");
  for (int i = 8; i < 12; ++i) bytes[static_cast<std::size_t>(i)] = '\xff';
  expect_npy_refused(bytes, "a header of 4294967295 bytes");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST_F(NpyTest, RefusesOtherFilesAndVersions) {
  expect_npy_refused("", "no .npy file");
  expect_npy_refused("\x93NUMPY", "no .npy file");
  expect_npy_refused(std::string("\x93NUMPY\1\0", 8), "ends within its header");
  expect_npy_refused(std::string("\x93NUMPY\1\0\x80", 9), "ends within its header");
  expect_npy_refused("PK\3\4 and the rest of a zip archive", "no .npy file");
  std::string bytes = sound().bytes();
  bytes[6] = 4;
  expect_npy_refused(bytes, "version 4.0");
  bytes[6] = 1, bytes[7] = 1;
  expect_npy_refused(bytes, "version 1.1");
  expect_refused([&] { read_npy(folder_ / "missing.npy"); }, "missing.npy");
  expect_refused([&] { read_npy(folder_.path()); }, "not a regular file");
}

// A hole on the disk takes no room there, but would in memory.
TEST_F(NpyTest, NeitherAHugeFileNorAPipeIsTouchedBeforeItsHeaderIsJudged) {
  for (const bool fortran : {false, true}) {
    NpyFile claim;
    claim.descr = "|u1";
    claim.fortran_order = fortran;
    claim.shape = "(20000, 20000, 20000)";
    const auto path = file(claim.bytes());
    std::filesystem::resize_file(path, claim.bytes().size() + 8'000'000'000'000);
    EXPECT_THROW(read_npy(path), DoesNotFit);
    std::filesystem::resize_file(path, claim.bytes().size() + 7'999'999'999'999);
    EXPECT_THROW(read_npy(path), InputError);  // not what the header says: no question of memory
  }
  const std::string pipe = (folder_ / "pipe.npy").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_refused([&] { read_npy(pipe); }, "pipe");
}

TEST_F(NpyTest, RefusesATruncatedOrLongerFile) {
  const std::string whole = sound().bytes();
  for (std::size_t length = 0; length < whole.size(); ++length)
    EXPECT_THROW(read_npy(file(whole.substr(0, length))), InputError) << length;
  EXPECT_NO_THROW(read_npy(file(whole)));
  expect_npy_refused(whole + "x", "followed by other data");
  expect_npy_refused(whole + whole, "followed by other data");
}

TEST_F(NpyTest, RefusesNotANumberInAnImageAndFractionsInALabel) {
  std::vector<float> values(kCount, 1);
  values[33] = std::numeric_limits<float>::quiet_NaN();
  values[34] = 0.5F;
  const NpyFile array{.descr = "<f4", .data = array_bytes(values, kSize, false, false)};
  const auto path = file(array.bytes());
  expect_refused(
      [&] {
        to_image(read_npy_volume(path, {1, 1, 1}), {}, path.string());
      },
      "1 NaN or infinite values, the first at voxel (3, 2, 1)");
  expect_refused(
      [&] {
        to_label(read_npy_volume(path, {1, 1, 1}), path.string());
      },
      "label value nan");
}

// Flipped bytes may change values (the format has no checksum) or be refused; nothing else.
TEST_F(NpyTest, RandomDamageIsRefusedOrReadAsSomeArray) {
  Random random{2026};
  int refused = 0;
  const std::vector<NpyFile> files = {
      sound(),
      {.descr = ">f8", .fortran_order = true, .data = std::string(480, '\1')},
      {.descr = "<f2", .fortran_order = true, .version = 3, .data = std::string(120, '\2')},
      {.descr = "|b1", .version = 2, .data = std::string(60, '\1')}};
  for (int round = 0; round < 4000; ++round) {
    std::string bytes = files[static_cast<std::size_t>(round % 4)].bytes();
    const auto changes = random.below(4) + 1;
    for (std::int64_t i = 0; i < changes; ++i) {
      // Mostly in the header, where it matters.
      const auto place =
          random.below(random.below(4) == 0 ? static_cast<std::int64_t>(bytes.size()) : 80);
      bytes[static_cast<std::size_t>(place)] = static_cast<char>(random.below(256));
    }
    if (random.below(8) == 0)
      bytes.resize(static_cast<std::size_t>(random.below(static_cast<std::int64_t>(bytes.size()))));
    const auto path = file(bytes);
    try {
      const NpyArray array = read_npy(path);
      std::int64_t count = 1;
      for (const std::int64_t size : array.shape) count *= size;
      EXPECT_EQ(static_cast<std::int64_t>(array.bytes.size() - array.offset),
                count * bytes_of(array.type));
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      ++refused;
    }
  }
  EXPECT_GT(refused, 2000);
  EXPECT_LT(refused, 4000);
}

}  // namespace
}  // namespace lamp
