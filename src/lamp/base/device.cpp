// Device names, and the one place that loads libtorch_cuda.so.
#include "lamp/base/device.h"

#include <dlfcn.h>
#include <torch/cuda.h>

#include <cctype>
#include <filesystem>
#include <sstream>

#include "lamp/base/errors.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

// The CUDA backend registers itself with torch when its library is loaded.
int load_cuda_devices() {
  static const bool loaded = std::filesystem::exists("/dev/nvidiactl") &&
                             dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr;
  return loaded ? static_cast<int>(torch::cuda::device_count()) : 0;
}

c10::Device parse_device(const std::string& name, const std::string& text) {
  if (name == "cpu") return c10::Device(c10::kCPU);
  const std::string index = name.rfind("cuda:", 0) == 0 ? name.substr(5)
                            : name == "cuda"            ? "0"
                                                        : "";
  bool digits = !index.empty() && index.size() < 4;
  for (const char c : index) digits = digits && std::isdigit(static_cast<unsigned char>(c));
  if (!digits) {
    throw UsageError(setting_name("execution.device") + ": found \"" + shortened(text) +
                     "\", expected auto, cpu, cuda, cuda:0 or several with commas such as cpu,cpu");
  }
  const int number = std::stoi(index);
  const int there = load_cuda_devices();
  if (number >= there) {
    throw UsageError(setting_name("execution.device") + ": " + name + " is not here: " +
                     counted(there, "CUDA device") + (there == 1 ? " is" : " are") +
                     " visible; use " + setting_to("execution.device", "cpu") + " or auto");
  }
  return {c10::kCUDA, static_cast<c10::DeviceIndex>(number)};
}

}  // namespace

std::vector<c10::Device> parse_devices(const std::string& text) {
  std::vector<c10::Device> devices;
  if (text == "auto") {
    for (int index = 0; index < load_cuda_devices(); ++index)
      devices.emplace_back(c10::kCUDA, static_cast<c10::DeviceIndex>(index));
    if (devices.empty()) devices.emplace_back(c10::kCPU);
    return devices;
  }
  std::istringstream parts(text);
  for (std::string name; std::getline(parts, name, ',');)
    devices.push_back(parse_device(name, text));
  if (devices.empty() || text.back() == ',') parse_device("", text);
  return devices;
}

std::vector<std::string> device_names(const std::vector<c10::Device>& devices) {
  std::vector<std::string> names;
  for (const c10::Device device : devices) names.push_back(device.str());
  return names;
}

void wait_for(c10::Device device) {
  if (!device.is_cpu()) torch::cuda::synchronize(device.index());
}

}  // namespace lamp
