// A network as the rest of the program sees it: its description, its chain of layers, and a forward
// pass that takes volumes of any size.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct NetConfig {
  std::string name = "unet";  // unet | seunet | anatomynet
  std::int64_t width = 32;    // filters of the first convolution; anatomynet's is always 28
  std::int64_t depth = 4;     // encoder blocks after the first; anatomynet's is always 1
  std::int64_t in_channels = 1;
  std::int64_t classes = 2;  // with the background
};

// {"name", "width", "depth", "in_channels", "classes"}; null gives the defaults. Throws UsageError
// for unknown keys, wrong types and sizes that no network has.
NetConfig parse_net_config(const Json& json);
Json to_json(const NetConfig& config);

// Filters of the encoder blocks, depth + 1 numbers: each twice the one before, at most 1024.
std::vector<std::int64_t> encoder_filters(const NetConfig& config);

// Copies share the chain.
struct Network {
  NetConfig config;
  std::shared_ptr<Sequence> chain;
  std::int64_t stride_multiple = 1;  // the chain itself takes only multiples of this in D, H and W

  // [N, C, D, H, W] of any size -> logits [N, classes, D, H, W]:
  // crop(chain(prepare(input)), input).
  torch::Tensor forward(const torch::Tensor& input) const;
  // What the chain takes, for those who run the chain themselves: padded, in the weights' layout.
  // Throws UsageError where batch norm in training mode would see a single value per channel.
  torch::Tensor prepare(const torch::Tensor& input) const;
  // Extends the scan (base/beyond_scan.h) up to the next multiple; crop() undoes it on the output.
  torch::Tensor pad(const torch::Tensor& input) const;
  torch::Tensor crop(const torch::Tensor& output, const torch::Tensor& input) const;
  // The same for the output of a slab: `planes` of the padded volume along an axis of the output.
  // None are left where it lies beyond the input altogether.
  torch::Tensor crop_slab(const torch::Tensor& output, const torch::Tensor& input,
                          std::int64_t axis, const PlaneRange& planes) const;

  // Throws UsageError that begins with `what` ("patch") if an axis of a window x, y, z is shorter
  // than the network's stride: most of what the network would see is padding.
  void check_window(const std::string& what, const Size3& size) const;

  // Lays convolution weights out as D, H, W, C and brings inputs into that order (layout_choice.h
  // knows when). Values stay the same up to rounding.
  void use_channels_last();
  bool channels_last = false;
  // An input of the chain in the weights' layout.
  torch::Tensor laid_out(const torch::Tensor& input) const;

  // Parameters and buffers by name; the tensors share memory with the network.
  std::map<std::string, torch::Tensor> state() const;

  // Kaiming normal for every convolution (standard deviation sqrt(2 / fan in), He et al. 2015; fan
  // in as PyTorch counts it: weight.size(1) x kernel volume), batch norm 1 and 0, biases and linear
  // layers uniform in +-1/sqrt(fan in). The same seed gives the same weights; no other generator is
  // touched.
  void initialise(std::uint64_t seed);

 private:
  static torch::Tensor cropped(const torch::Tensor& output, const Shape3& size);
};

std::int64_t parameter_count(const Network& network);

}  // namespace lamp
