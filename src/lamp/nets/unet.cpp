// Encoder 0 is a single strided convolution; the others and the decoders hold two convolutions of
// which only the first is normed and activated. Every convolution is a link of its own: the first
// 3^3 convolution of the last decoder alone takes a third of the arithmetic, so where a pipeline
// may cut decides how fast it can get.
#include "lamp/nets/unet.h"

namespace lamp {
namespace {

// conv 3^3 -> norm, activation -> conv 3^3 with bias. The published names of its three parts.
void append_double_conv(Links& links, const std::string& name, const ConvShape& first) {
  links.push_back(conv_link(name + ".conv.0.conv", first));
  links.push_back(norm_activation_link(name + ".conv.0.adn.N", first.out));
  links.push_back(
      conv_link(name + ".conv.1.conv", {.in = first.out, .out = first.out, .bias = true}));
}

void append_encoders(Links& links, const NetConfig& config) {
  const auto filters = encoder_filters(config);
  links.push_back(
      conv_link("encoder_0_Conv_conv", {.in = config.in_channels, .out = filters[0], .stride = 2}));
  links.push_back(norm_activation_link("encoder_0_Conv_adn_N", filters[0]));
  for (std::size_t i = 1; i < filters.size(); ++i) {
    const std::string above = std::to_string(i - 1);
    links.push_back(stash_link("encoder_" + above + "_stash", "encoder_" + above));
    append_double_conv(links, "encoder_" + std::to_string(i) + "_Down",
                       {.in = filters[i - 1], .out = filters[i], .stride = 2});
  }
}

// `below` channels come from the level below and `channels` stay. Between, the 1^3 convolution
// gives as many channels as came: 2 * channels, except under the cap of 1024 (which only the
// published count of width 128 shows).
void append_decoder(Links& links, std::int64_t index, std::int64_t level, std::int64_t below,
                    std::int64_t channels) {
  const std::string name = "decoder_" + std::to_string(index);
  links.push_back(upsampling_link(name + "_Up_deconv", below, channels));
  links.push_back(concat_link(name + "_concat", "encoder_" + std::to_string(level)));
  links.push_back(conv_link(name + "_Conv1x1x1",
                            {.in = 2 * channels, .out = below, .kernel = 1, .bias = true}));
  append_double_conv(links, name + "_Conv", {.in = below, .out = channels});
}

}  // namespace

Links unet_links(const NetConfig& config) {
  Links links;
  append_encoders(links, config);
  const auto filters = encoder_filters(config);
  for (std::int64_t i = 0; i < config.depth; ++i) {
    const std::int64_t level = config.depth - 1 - i;
    append_decoder(links, i, level, filters[level + 1], filters[level]);
  }
  const std::string head = "decoder_" + std::to_string(config.depth);
  append_head(links, head + "_Up_deconv", head + "_out", filters[0], config.classes);
  return links;
}

}  // namespace lamp
