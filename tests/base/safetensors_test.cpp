// The reader against files that lie: lengths, offsets, shapes, dtypes, pickles, cuts and flipped
// bytes.
#include "lamp/base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstdint>
#include <fstream>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using lamp::testing::TemporaryFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string with_length(const std::string& header, std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i) & 0xff);
  return bytes + header;
}

class SafeTensorsTest : public ::testing::Test {
 protected:
  std::string refusal_of(const std::string& bytes) {
    std::ofstream(file_, std::ios::binary) << bytes;
    try {
      read_safetensors(file_);
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), HasSubstr(file_.string()));
      return error.what();
    }
    return "accepted";
  }
  // A file of the given header and this many bytes of data.
  std::string refusal_of(const std::string& header, std::size_t data_bytes) {
    return refusal_of(with_length(header, header.size()) + std::string(data_bytes, '\1'));
  }

  TemporaryFolder folder_;
  std::filesystem::path file_ = folder_ / "file.safetensors";
};

TEST_F(SafeTensorsTest, GivesBackEveryDtypeAndShape) {
  SafeTensors content;
  content.metadata = {{"key", "value \" with quote"}};
  for (const auto dtype :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool})
    content.tensors[c10::toString(dtype)] = torch::arange(6).view({2, 3}).to(dtype);
  content.tensors["scalar"] = torch::tensor(3.5);
  content.tensors["empty"] = torch::empty({0, 4});
  content.tensors["strided"] = torch::arange(24.0).view({2, 3, 4}).transpose(0, 2);
  write_safetensors(file_, content);
  const SafeTensors read = read_safetensors(file_);
  EXPECT_EQ(read.metadata, content.metadata);
  ASSERT_EQ(read.tensors.size(), content.tensors.size());
  for (const auto& [name, tensor] : content.tensors) {
    EXPECT_EQ(read.tensors.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(torch::equal(read.tensors.at(name), tensor)) << name;
    EXPECT_TRUE(read.tensors.at(name).is_contiguous()) << name;
  }
}

// Every single bit of the data, and of the header wherever what it says still makes sense.
TEST_F(SafeTensorsTest, NoFlippedBitIsTakenForAValue) {
  const torch::Tensor weights = torch::tensor({1.5F, -2.0F, 0.0F}).view({3, 1});
  write_safetensors(file_, {.tensors = {{"w", weights}, {"step", torch::tensor(7)}},
                            .metadata = {{"config", R"({"spacing_mm": [1, 1, 2.5]})"}}});
  const std::string whole = read_file(file_);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ 1 << bit);
      const std::string said = refusal_of(damaged);
      if (said != "accepted") continue;
      // Only where the checksum's own name is hit, or the spaces behind the header; all that the
      // checksum guards is then as it was.
      const SafeTensors read = read_safetensors(file_);
      EXPECT_TRUE(torch::equal(read.tensors.at("w"), weights)) << at << " bit " << bit;
      EXPECT_EQ(read.tensors.at("step").item<int>(), 7) << at << " bit " << bit;
      EXPECT_EQ(read.metadata.at("config"), R"({"spacing_mm": [1, 1, 2.5]})") << at;
      EXPECT_EQ(read.metadata.size(), whole[at] == ' ' ? 1U : 2U) << at << " bit " << bit;
    }
  }
}

TEST_F(SafeTensorsTest, TellsWhatWasGivenInAModelsPlace) {
  EXPECT_THAT(refusal_of("\x1f\x8b\x08 and so on and on"), HasSubstr("a compressed file"));
  EXPECT_THAT(refusal_of(std::string("\x5c\x01\0\0\0\0\0\0 header of NIfTI", 22)),
              HasSubstr("NIfTI image"));
  EXPECT_THAT(refusal_of("NRRD0004 and a header"), HasSubstr("NRRD image"));
  EXPECT_THAT(refusal_of("{\"net\": {\"name\": \"unet\"}}"), HasSubstr("JSON file"));
}

TEST_F(SafeTensorsTest, DoesNotWaitForAPipe) {
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  EXPECT_THROW(read_safetensors(file_), InputError);
}

// A header of 128 bytes begins with 0x80, as a pickle does.
TEST_F(SafeTensorsTest, ReadsHeadersOfEveryLength) {
  for (std::size_t padding = 0; padding < 300; ++padding) {
    SafeTensors content{.tensors = {{"x", torch::ones(1)}},
                        .metadata = {{"padding", std::string(padding, 'x')}}};
    write_safetensors(file_, content);
    EXPECT_NO_THROW(read_safetensors(file_)) << padding;
  }
}

TEST_F(SafeTensorsTest, RefusesAMissingFileAndAFolder) {
  EXPECT_THROW(read_safetensors(folder_ / "absent"), InputError);
  EXPECT_THROW(read_safetensors(folder_.path()), InputError);
}

TEST_F(SafeTensorsTest, RefusesAPickleWithTheWayToConvertIt) {
  const std::string zip = std::string("PK\3\4\0\0\x8\x8", 8) + std::string(200, 'x');
  EXPECT_THAT(refusal_of(zip), AllOf(HasSubstr(".pt"), HasSubstr("save_file")));
  const std::string pickle = "\x80\x02\x8a\nl\xfc\x9c" + std::string(200, 'x');
  EXPECT_THAT(refusal_of(pickle), AllOf(HasSubstr(".pt"), HasSubstr("save_file")));
}

TEST_F(SafeTensorsTest, RefusesImpossibleHeaderLengths) {
  EXPECT_THAT(refusal_of(std::string()), HasSubstr("too few"));
  EXPECT_THAT(refusal_of(std::string(7, '\0')), HasSubstr("too few"));
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{1} << 20, std::uint64_t{1} << 40, std::uint64_t{1} << 63,
        ~std::uint64_t{0}})
    EXPECT_THAT(refusal_of(with_length("{}", length)), HasSubstr("claims")) << length;
  EXPECT_NE(refusal_of(with_length("{}", 0)), "accepted");
}

TEST_F(SafeTensorsTest, RefusesHeadersThatAreNoObjects) {
  for (const char* header : {"[]", "3", "null", "{", "", "\"x\"", "{\"a\": 1}", "{\"a\": []}",
                             R"({"__metadata__": 4})", R"({"__metadata__": {"a": 4}})"})
    EXPECT_NE(refusal_of(header, 0), "accepted") << header;
  const std::string deep(200'000, '[');
  EXPECT_NE(refusal_of(deep, 0), "accepted");
}

TEST_F(SafeTensorsTest, AMessageIsShortAndOneLineWhateverTheNames) {
  const std::string name = "a\\nb" + std::string(1 << 20, 'x');
  for (const std::string& header :
       {R"({")" + name + R"(": {}})", R"({"__metadata__": {")" + name + R"(": 4}})",
        R"({"a": {"dtype": ")" + name + R"(", "shape": [], "data_offsets": [0, 4]}})"}) {
    const std::string message = refusal_of(header, 4);
    EXPECT_LT(message.size(), 400U);
    EXPECT_EQ(message.find('\n'), std::string::npos);
  }
}

TEST_F(SafeTensorsTest, RefusesOffsetsThatDoNotFit) {
  const auto one = [&](const std::string& dtype, const std::string& shape,
                       const std::string& offsets) {
    return refusal_of(R"({"a": {"dtype": ")" + dtype + R"(", "shape": )" + shape +
                          R"(, "data_offsets": )" + offsets + "}}",
                      16);
  };
  EXPECT_EQ(one("F32", "[4]", "[0, 16]"), "accepted");
  EXPECT_THAT(one("F32", "[5]", "[0, 16]"), HasSubstr("does not take the bytes"));
  EXPECT_THAT(one("F32", "[4]", "[16, 0]"), HasSubstr("does not take the bytes"));
  EXPECT_THAT(one("F32", "[4]", "[16, 32]"), HasSubstr("gap"));
  EXPECT_THAT(one("F32", "[8]", "[0, 32]"), HasSubstr("cut short"));
  EXPECT_THAT(one("F32", "[3]", "[0, 12]"), HasSubstr("damaged"));
  EXPECT_NE(one("F32", "[4]", "[-16, 0]"), "accepted");
  EXPECT_NE(one("F32", "[-4]", "[0, 16]"), "accepted");
  EXPECT_NE(one("F32", "[4.0]", "[0, 16]"), "accepted");
  EXPECT_NE(one("F32", "[4]", "[0]"), "accepted");
  EXPECT_NE(one("F32", "4", "[0, 16]"), "accepted");
  EXPECT_NE(one("F4", "[4]", "[0, 16]"), "accepted");
  EXPECT_NE(one("F32", "[4]", "[0, 18446744073709551616]"), "accepted");
}

TEST_F(SafeTensorsTest, RefusesShapesThatOverflow) {
  for (const char* shape : {"[9223372036854775807, 2]", "[4294967296, 4294967296]",
                            "[18446744073709551615]", "[1073741824, 1073741824, 1073741824]"}) {
    const std::string header = R"({"a": {"dtype": "F32", "shape": )" + std::string(shape) +
                               R"(, "data_offsets": [0, 0]}})";
    EXPECT_THAT(refusal_of(header, 0), HasSubstr("absurd")) << shape;
  }
  // A zero hides the overflow of what stands beside it.
  EXPECT_NE(
      refusal_of(
          R"({"a": {"dtype": "F32", "shape": [0, 9223372036854775807], "data_offsets": [0, 0]}})",
          0),
      "accepted");
  // Each length is allowed, but no tensor has such strides.
  EXPECT_NE(
      refusal_of(
          R"({"a": {"dtype": "F32", "shape": [0, 1099511627776, 1099511627776], "data_offsets": [0, 0]}})",
          0),
      "accepted");
}

TEST_F(SafeTensorsTest, RefusesTensorsThatOverlap) {
  EXPECT_THAT(refusal_of(R"({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                             "b": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}})",
                         6),
              HasSubstr("overlaps"));
}

TEST_F(SafeTensorsTest, RefusesEveryCut) {
  write_safetensors(
      file_, {.tensors = {{"a", torch::ones({8, 8})}, {"b", torch::ones({5}, torch::kInt64)}},
              .metadata = {{"k", "v"}}});
  const std::string bytes = read_file(file_);
  for (std::size_t size = 0; size < bytes.size(); size += 64)
    EXPECT_NE(refusal_of(bytes.substr(0, size)), "accepted") << size;
  EXPECT_NE(refusal_of(bytes.substr(0, bytes.size() - 1)), "accepted");
  EXPECT_NE(refusal_of(bytes + "x"), "accepted");
  EXPECT_EQ(refusal_of(bytes), "accepted");
}

TEST_F(SafeTensorsTest, NeverCrashesOnAChangedByte) {
  write_safetensors(
      file_, {.tensors = {{"a", torch::ones({3, 2})}, {"b", torch::ones({4}, torch::kInt16)}},
              .metadata = {{"k", "v"}}});
  const std::string bytes = read_file(file_);
  torch::manual_seed(3);
  int refused = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (int i = 0; i < 4; ++i) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(torch::randint(256, {1}).item<std::int64_t>());
      if (refusal_of(changed) != "accepted") ++refused;  // another exception would fail the test
    }
  }
  EXPECT_GT(refused, 100);
}

TEST_F(SafeTensorsTest, WritesDataThatIsAlignedForItsType) {
  write_safetensors(file_, {.tensors = {{"a", torch::ones({3}, torch::kUInt8)},
                                        {"b", torch::ones({2}, torch::kFloat64)}},
                            .metadata = {}});
  const std::string bytes = read_file(file_);
  EXPECT_EQ(static_cast<unsigned char>(bytes[0]) % 8, 0);
  EXPECT_THAT(bytes, HasSubstr(R"("b":{"dtype":"F64","shape":[2],"data_offsets":[0,16]})"));
}

}  // namespace
}  // namespace lamp
