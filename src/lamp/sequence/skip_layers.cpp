// Stash and pop without parameters of their own.
#include "lamp/sequence/skip_layers.h"

#include <utility>

namespace lamp {

StashSkip::StashSkip(std::string name) : name_(std::move(name)) {}

torch::Tensor StashSkip::forward(torch::Tensor input, SkipPort& skips) {
  skips.stash(name_, input);
  return input;
}

ConcatSkip::ConcatSkip(std::string name) : name_(std::move(name)) {}

torch::Tensor ConcatSkip::forward(torch::Tensor input, SkipPort& skips) {
  return torch::cat({input, skips.pop(name_)}, 1);
}

}  // namespace lamp
