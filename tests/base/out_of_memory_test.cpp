// Messages as torch writes them.
#include "lamp/base/out_of_memory.h"

#include <gtest/gtest.h>

namespace lamp {
namespace {

c10::Error torch_error(const std::string& message) {
  return c10::Error(c10::SourceLocation{__func__, __FILE__, __LINE__}, message);
}

TEST(OutOfMemoryTest, TheHostsAllocatorCountsBytes) {
  const c10::Error error = torch_error(
      "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
      "you tried to allocate 129809240 bytes. Error code 12 (Cannot allocate memory)");
  EXPECT_TRUE(is_out_of_memory(error));
  EXPECT_EQ(asked_for(error), "123.8 MiB");  // 123.796
}

TEST(OutOfMemoryTest, AGpusWritesAUnit) {
  const c10::Error error =
      torch_error("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of");
  EXPECT_TRUE(is_out_of_memory(error));
  EXPECT_EQ(asked_for(error), "2.00 GiB");
}

TEST(OutOfMemoryTest, OthersSayNoNumber) {
  const c10::Error none = torch_error("cuDNN error: CUDNN_STATUS_ALLOC_FAILED");
  EXPECT_TRUE(is_out_of_memory(none));
  EXPECT_EQ(asked_for(none), "");
  EXPECT_EQ(asked_for(torch_error("DefaultCPUAllocator: you tried to allocate ")), "");
  EXPECT_FALSE(is_out_of_memory(torch_error("mat1 and mat2 shapes cannot be multiplied")));
}

}  // namespace
}  // namespace lamp
