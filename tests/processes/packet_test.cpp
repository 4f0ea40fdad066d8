// Tensors to bytes and back, and bytes that are no tensor.
#include "lamp/processes/packet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

torch::Tensor round_trip(const torch::Tensor& tensor) {
  const PackedTensor packed = pack(tensor, true, 7);
  UnpackedTensor arrived = unpack(packed.frame, 7, "rank 1 on b");
  EXPECT_TRUE(arrived.wants_gradient);
  EXPECT_EQ(arrived.has_rest, packed.rest.defined());
  if (arrived.has_rest)
    std::memcpy(arrived.tensor.data_ptr(), packed.rest.data_ptr(), packed.rest.nbytes());
  return arrived.tensor;
}

std::vector<torch::Tensor> many_tensors() {
  std::vector<torch::Tensor> tensors;
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16, torch::kInt8,
        torch::kUInt8, torch::kInt16, torch::kInt32, torch::kInt64, torch::kBool}) {
    tensors.push_back((torch::randn({2, 3, 4, 5, 6}) * 50).to(type));
    tensors.push_back((torch::randn({2, 3}) * 50).to(type));
    tensors.push_back(torch::ones({}, type));
    tensors.push_back(torch::empty({0, 4}, type));
  }
  const torch::Tensor volume = torch::randn({2, 8, 6, 10, 12});
  tensors.push_back(volume.to(at::MemoryFormat::ChannelsLast3d));
  tensors.push_back(torch::randn({1, 1, 6, 10, 12}).to(at::MemoryFormat::ChannelsLast3d));
  tensors.push_back(volume.transpose(1, 3));
  tensors.push_back(volume.narrow(2, 1, 3));
  tensors.push_back(volume.to(at::MemoryFormat::ChannelsLast3d).narrow(2, 1, 3));
  tensors.push_back(torch::tensor({std::nanf("7"), -0.0F, 1e-45F}));
  return tensors;
}

TEST(PacketTest, EveryKindOfTensorComesBackBitForBit) {
  for (const torch::Tensor& tensor : many_tensors()) {
    const torch::Tensor back = round_trip(tensor);
    ASSERT_EQ(back.sizes(), tensor.sizes());
    ASSERT_EQ(back.scalar_type(), tensor.scalar_type());
    if (tensor.is_non_overlapping_and_dense() && tensor.numel() > 0) {
      EXPECT_EQ(back.strides(), tensor.strides());
    }
    EXPECT_EQ(back.suggest_memory_format(), tensor.suggest_memory_format()) << tensor.sizes();
    const torch::Tensor a = tensor.contiguous(), b = back.contiguous();
    EXPECT_EQ(std::memcmp(a.data_ptr(), b.data_ptr(), a.nbytes()), 0) << tensor.sizes();
  }
}

TEST(PacketTest, AnUndefinedTensorStaysOne) {
  const UnpackedTensor arrived = unpack(pack({}, false, 3).frame, 3, "rank 1 on b");
  EXPECT_FALSE(arrived.tensor.defined());
  EXPECT_FALSE(arrived.wants_gradient);
  EXPECT_FALSE(arrived.has_rest);
}

TEST(PacketTest, WhatCannotTravelIsMisuse) {
  EXPECT_THROW(pack(torch::zeros({2}, torch::kComplexFloat), false, 1), c10::Error);
  EXPECT_THROW(pack(torch::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1}), false, 1), c10::Error);
}

std::string refusal(const torch::Tensor& frame, std::int64_t number = 7) {
  try {
    unpack(frame, number, "rank 1 on b");
  } catch (const Error& error) {
    return error.what();
  } catch (const c10::Error&) {
    return "no memory for that";
  }
  return "accepted";
}

// Offsets as packet.cpp lays the header out: magic, number, 4 flags and 4 bytes, sizes, strides.
void put(const torch::Tensor& frame, std::int64_t offset, std::int64_t value) {
  std::memcpy(static_cast<char*>(frame.data_ptr()) + offset, &value, sizeof value);
}

TEST(PacketTest, NonsenseIsRefusedWithTheSendersName) {
  const torch::Tensor good = pack(torch::randn({2, 3}), false, 7).frame;
  EXPECT_EQ(refusal(good), "accepted");
  EXPECT_THAT(refusal(torch::zeros({kFrameBytes}, torch::kByte)),
              HasSubstr("rank 1 on b sent something that is no tensor"));
  EXPECT_THAT(refusal(good, 8), HasSubstr("message 7 where 8 was expected"));
  constexpr std::int64_t kSizes = 24, kStrides = kSizes + 64;
  const auto changed = [&](std::int64_t offset, std::int64_t value) {
    const torch::Tensor frame = good.clone();
    put(frame, offset, value);
    return refusal(frame);
  };
  EXPECT_THAT(changed(kSizes, -2), HasSubstr("impossible sizes"));
  EXPECT_THAT(changed(kSizes, INT64_MAX), HasSubstr("impossible sizes"));
  EXPECT_THAT(changed(kSizes, std::int64_t{1} << 45), HasSubstr("impossible sizes"));
  EXPECT_THAT(changed(kStrides, 1), HasSubstr("impossible sizes"));
  EXPECT_THAT(changed(kStrides, -3), HasSubstr("impossible sizes"));
  torch::Tensor frame = good.clone();
  frame[18] = 200;  // dtype
  EXPECT_THAT(refusal(frame), HasSubstr("unknown kind"));
  frame = good.clone();
  frame[19] = 9;  // dimensions
  EXPECT_THAT(refusal(frame), HasSubstr("unknown kind"));
}

TEST(PacketTest, NoFrameOfNoiseEndsTheProgram) {
  torch::manual_seed(1);
  const torch::Tensor good = pack(torch::randn({2, 3}), false, 7).frame;
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    torch::Tensor frame = good.clone();
    frame[torch::randint(0, 152, {}).item<std::int64_t>()] = torch::randint(0, 256, {}).item<int>();
    if (refusal(frame) != "accepted") ++refused;
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace lamp
