// Reduced precision with distrust. bf16 and fp16 are 2 to 3 times faster than fp32 where the device
// has them, but their kernels are not always right: on CPUs with AVX512-BF16, torch 2.11's bf16
// channels-last weight gradient of a 3-D convolution at 2x2x2 voxels is NaN or 1e37 in a tenth to a
// half of the calls. So every convolution shape is compared with fp32 before it is trusted, once a
// process, and runs in fp32 where the two disagree.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

namespace lamp {

enum class Precision { kFp32, kBf16, kFp16 };

// "fp32", "bf16", "fp16". Throws UsageError for another name, or for fp16 on a CPU (bf16 is the
// CPU's reduced precision).
Precision parse_precision(const std::string& name, c10::DeviceType device);
std::string to_string(Precision precision);
at::ScalarType dtype_of(Precision precision);

// Whether the device multiplies bf16 itself, and why or why not, in words: what "auto" goes by.
// Elsewhere torch converts every number there and back, which is slower than fp32.
struct Bf16Support {
  bool is_fast;
  std::string why;
};
Bf16Support bf16_support(c10::Device device);

// While it lives, convolutions of this thread run in `precision` on `device` although the weights
// stay in fp32 (torch's autocast: sums, losses and batch-norm statistics stay in fp32). For kFp32
// it does nothing.
class PrecisionScope {
 public:
  PrecisionScope(Precision precision, c10::Device device);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  c10::DeviceType device_;
  bool active_;
  bool before_ = false;
  at::ScalarType dtype_before_ = torch::kFloat32;
};

// One convolution as a kernel sees it.
struct KernelShape {
  bool transposed = false;
  std::vector<std::int64_t> input;   // [N, C, D, H, W]
  std::vector<std::int64_t> weight;  // as torch lays it out
  std::vector<std::int64_t> stride;
  std::vector<std::int64_t> padding;
  at::ScalarType dtype = torch::kBFloat16;
  c10::Device device = c10::kCPU;
  bool channels_last = false;
  bool forward_only = false;  // prediction: gradients do not matter
};

// Whether output, input gradient and weight gradient in reduced precision agree with fp32 on random
// data (relative L2 error of at most 2 %, all finite). Small shapes are tried many times, because
// the known fault comes and goes; shapes over 2^22 voxels x channels are checked at a smaller size
// of the same parity. For prediction only the output is compared, and volumes of all sizes share
// their checks: an axis counts as its length up to 16 voxels (8 where there are more than 32
// channels), beyond that as even or odd. Remembered for the process; a shape that fails is said
// once in the log. Thread-safe.
bool kernel_agrees(const KernelShape& shape);

// For tests: the check itself, not remembered, with a kernel whose last result (the weight
// gradient, or the output where only that counts) is off by `fault` in one place.
bool check_kernel(const KernelShape& shape, double fault = 0);

}  // namespace lamp
