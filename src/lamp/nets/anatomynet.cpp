// image -s2-> 28 -> 30 -> 32 -> 34 -> (32) 32 -> (30) 30 -> (28) 28 -up-> 14 (image) -> classes;
// (skip taken in).
#include "lamp/nets/anatomynet.h"

namespace lamp {
namespace {

constexpr std::int64_t kBlockReduction = 15;  // squeeze-and-excitation of the plain blocks
constexpr std::int64_t kSkipReduction = 16;   // of the blocks that take a skip in

// Two blocks, of which the first changes the number of channels; its input is what a later layer
// takes in.
void append_pair(Links& links, int layer, std::int64_t in, std::int64_t out) {
  const std::string name = "layer" + std::to_string(layer);
  links.push_back(stash_link(name + ".stash", "before_" + name));
  for (int i = 0; i < 2; ++i) {
    append_residual_block(links, name + "." + std::to_string(i),
                          {.in = i == 0 ? in : out, .out = out, .squeezed = out / kBlockReduction});
  }
}

// Takes in what came before layer `from` (`out` channels, as many as leave here), then one plain
// block.
void append_merge(Links& links, int layer, int from, std::int64_t in, std::int64_t out) {
  const std::string name = "layer" + std::to_string(layer);
  links.push_back(concat_link(name + ".concat", "before_layer" + std::to_string(from)));
  append_residual_block(links, name,
                        {.in = in + out, .out = out, .squeezed = out / kSkipReduction});
  append_residual_block(links, "layer" + std::to_string(layer + 1) + ".0",
                        {.in = out, .out = out, .squeezed = out / kBlockReduction});
}

}  // namespace

Links anatomynet_links(const NetConfig& config) {
  Links links;
  links.push_back(stash_link("image", "image"));
  links.push_back(
      conv_link("conv1", {.in = config.in_channels, .out = kAnatomyNetWidth, .stride = 2}));
  links.push_back(norm_activation_link("bn1", kAnatomyNetWidth));
  append_pair(links, 1, kAnatomyNetWidth, 30);
  append_pair(links, 2, 30, 32);
  append_pair(links, 3, 32, 34);
  append_merge(links, 4, 3, 34, 32);
  append_merge(links, 6, 2, 32, 30);
  append_merge(links, 8, 1, 30, 28);
  links.push_back(upsampling_link("layer10.deconv1", 28, 14));
  links.push_back(concat_link("layer10.concat", "image"));
  append_residual_block(links, "layer10",
                        {.in = 14 + config.in_channels, .out = 14, .shortcut_kernel = 3});
  links.push_back(conv_link("layer11.0", {.in = 14, .out = config.classes, .bias = true}));
  return links;
}

}  // namespace lamp
