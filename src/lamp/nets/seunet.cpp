// Residual blocks on the way down (stride 2) and, over the concatenation, on the way up.
#include "lamp/nets/seunet.h"

#include <algorithm>

namespace lamp {
namespace {

constexpr std::int64_t kReduction = 16;

std::int64_t squeezed(std::int64_t channels) {
  return std::max<std::int64_t>(1, channels / kReduction);
}

}  // namespace

Links seunet_links(const NetConfig& config) {
  const auto filters = encoder_filters(config);
  Links links;
  links.push_back(
      conv_link("encoder_0.conv", {.in = config.in_channels, .out = filters[0], .stride = 2}));
  links.push_back(norm_activation_link("encoder_0.bn", filters[0]));
  for (std::size_t i = 1; i < filters.size(); ++i) {
    const std::string above = "encoder_" + std::to_string(i - 1);
    links.push_back(stash_link(above + ".stash", above));
    append_residual_block(
        links, "encoder_" + std::to_string(i),
        {.in = filters[i - 1], .out = filters[i], .stride = 2, .squeezed = squeezed(filters[i])});
  }
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::int64_t level = config.depth - 1 - i;
    const std::int64_t channels = filters[level];
    const std::string name = "decoder_" + std::to_string(i);
    links.push_back(upsampling_link(name + ".up", filters[level + 1], channels));
    links.push_back(concat_link(name + ".concat", "encoder_" + std::to_string(level)));
    append_residual_block(links, name,
                          {.in = 2 * channels, .out = channels, .squeezed = squeezed(channels)});
  }
  append_head(links, "head.up", "head.out", filters[0], config.classes);
  return links;
}

}  // namespace lamp
