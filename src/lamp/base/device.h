// Which device the user means. CUDA support is loaded only when a CUDA device may be used, so that
// one program serves machines with and without a GPU and starts fast on both.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <vector>

namespace lamp {

// "auto" (every visible GPU, else cpu), "cpu", "cuda" (= cuda:0), "cuda:1", or several with commas:
// one pipeline stage each. Throws UsageError for anything else and for a CUDA device that is not
// there.
std::vector<c10::Device> parse_devices(const std::string& text);

// "cpu", "cuda:1".
std::vector<std::string> device_names(const std::vector<c10::Device>& devices);

// Until the kernels that a CUDA device was given are done; the CPU's are when their call returns.
void wait_for(c10::Device device);

}  // namespace lamp
