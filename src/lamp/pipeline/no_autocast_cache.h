// Autocast without its memory of weights.
#pragma once

#include <ATen/autocast_mode.h>

namespace lamp {

// torch keeps weights cast by autocast for a whole process: one cast during a forward pass without
// gradients would be used, without its history, when that pass is run again with gradients. While
// this lives, this thread keeps none.
class NoAutocastCache {
 public:
  NoAutocastCache() { at::autocast::set_autocast_cache_enabled(false); }
  ~NoAutocastCache() { at::autocast::set_autocast_cache_enabled(before_); }
  NoAutocastCache(const NoAutocastCache&) = delete;
  NoAutocastCache& operator=(const NoAutocastCache&) = delete;

 private:
  bool before_ = at::autocast::is_autocast_cache_enabled();
};

}  // namespace lamp
