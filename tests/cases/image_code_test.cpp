// Fewer bytes, the same bits.
#include "lamp/cases/image_code.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cstring>

#include "lamp/base/sha256.h"
#include "lamp/cases/preprocess.h"

namespace lamp {
namespace {

using Window = std::optional<std::array<double, 2>>;

// Hounsfield units with both ends beyond every window.
torch::Tensor ct(std::int64_t least = -1024, std::int64_t most = 3071) {
  torch::manual_seed(3);
  torch::Tensor values = torch::randint(least, most + 1, {2, 5, 7, 11}).to(torch::kFloat32);
  values.flatten()[0] = static_cast<double>(least);
  values.flatten()[1] = static_cast<double>(most);
  return values;
}

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  const torch::Tensor x = a.contiguous(), y = b.contiguous();
  return x.sizes() == y.sizes() && x.scalar_type() == y.scalar_type() &&
         std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

torch::Tensor plain(const torch::Tensor& values, const Window& window) {
  return window ? apply_window(values, *window) : values;
}

TEST(ImageCodeTest, WholeNumbersTakeOneByteWithinANarrowWindowAndTwoElsewhere) {
  const struct {
    torch::Tensor values;
    Window window;
    torch::ScalarType type;
  } cases[] = {{ct(), std::array<double, 2>{-21, 89}, torch::kUInt8},
               {ct(), std::array<double, 2>{-21.5, 89.25}, torch::kUInt8},
               {ct(), std::array<double, 2>{-160, 95}, torch::kUInt8},
               {ct(), std::array<double, 2>{-160, 96}, torch::kInt16},
               {ct(), std::array<double, 2>{-200, 300}, torch::kInt16},
               {ct(), std::nullopt, torch::kInt16},
               {ct(0, 255), std::nullopt, torch::kUInt8},
               {ct(100, 60000), std::nullopt, torch::kInt16},
               {ct(0, 70000), std::nullopt, torch::kFloat32}};
  for (const auto& c : cases) {
    const CodedImage coded = encode_image(c.values, c.window);
    EXPECT_EQ(coded.stored.scalar_type(), c.type);
    EXPECT_TRUE(same_bits(decode_image(coded.stored, coded.code), plain(c.values, c.window)));
  }
}

TEST(ImageCodeTest, ValuesThatAreNotWholeStayAsTheyAre) {
  for (const Window& window : {Window(), Window(std::array<double, 2>{-21, 89})}) {
    torch::Tensor values = ct();
    values.flatten()[300] = 20.5;
    EXPECT_EQ(encode_image(values, window).stored.scalar_type(), torch::kFloat32);
    EXPECT_TRUE(same_bits(encode_image(values, window).stored, plain(values, window)));
    values.flatten()[300] = std::nan("");
    EXPECT_EQ(encode_image(values, window).stored.scalar_type(), torch::kFloat32);
  }
}

TEST(ImageCodeTest, AMinusZeroIsNotLost) {
  torch::Tensor values = torch::zeros({1, 2, 2, 2});
  values.flatten()[3] = -0.0;
  const CodedImage coded = encode_image(values, std::nullopt);
  EXPECT_TRUE(same_bits(decode_image(coded.stored, coded.code), values));
}

TEST(ImageCodeTest, APartDecodesToThatPart) {
  const Window window = std::array<double, 2>{-200, 300};
  const torch::Tensor values = ct();
  const CodedImage coded = encode_image(values, window);
  const auto part = [](const torch::Tensor& whole) {
    return whole.narrow(1, 1, 3).narrow(2, 2, 4).narrow(3, 3, 5);
  };
  EXPECT_TRUE(same_bits(decode_image(part(coded.stored), coded.code), part(plain(values, window))));
}

TEST(ImageCodeTest, TheGivenImageIsLeftAlone) {
  const torch::Tensor values = ct();
  const torch::Tensor copy = values.clone();
  const CodedImage coded = encode_image(values, std::array<double, 2>{-21, 89});
  decode_image(coded.stored, coded.code).fill_(7);
  EXPECT_TRUE(torch::equal(values, copy));
}

// The standard's own examples, and a length that crosses blocks in pieces.
TEST(Sha256Test, GivesTheStandardsDigests) {
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  const std::string million(1000000, 'a');
  EXPECT_EQ(sha256(million), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  Sha256 pieces;
  for (std::size_t at = 0; at < million.size(); at += 37) pieces.add(million.substr(at, 37));
  EXPECT_EQ(pieces.hex(), sha256(million));
}

}  // namespace
}  // namespace lamp
