// Whole volume or windows: what the user asks for, and what the memory allows.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"

namespace lamp {

struct PatchRequest {
  enum Kind { kAuto, kWhole, kFixed };
  Kind kind = kAuto;
  Size3 size = {0, 0, 0};  // x, y, z; only for kFixed
};

// "auto", "whole" or "X,Y,Z"; throws UsageError for anything else.
PatchRequest parse_patch(const std::string& text);
// x, y, z of "64,64,64"; throws UsageError that names `what`.
Size3 parse_size(const std::string& text, const std::string& what);

struct PatchChoice {
  bool whole = true;
  Size3 size = {0, 0, 0};             // the window, or the volume if whole
  std::optional<std::int64_t> bytes;  // estimated need, where it was worked out
  bool alone = false;                 // fits only while no other case is loaded or written

  // "whole" or [x, y, z].
  Json to_json() const;
};

// What decides, apart from the request.
struct PatchBudget {
  Size3 volume;              // x, y, z on the network's grid
  std::int64_t multiple;     // windows are multiples of this, or as long as the volume
  std::int64_t limit_bytes;  // for everything that the case needs
  bool user_limit;           // --memory was given: what is beyond it is refused
  // Need of a window (whole = false) or of the volume in one pass.
  std::function<std::int64_t(const Size3&, bool whole)> need;
  // What there is, to the last byte: what needs more is refused without --memory as well.
  std::int64_t most_bytes = std::numeric_limits<std::int64_t>::max();
  std::int64_t taken_bytes = 0;  // of --memory, by the program itself
};

// One step down on the longest axis that can still be shortened; false if none can.
bool shorten(Size3& size, std::int64_t multiple);

// auto: the whole volume if it fits, else the largest window that does, found by shortening the
// longest axis again and again. Throws DoesNotFit, which says what would fit or how much is
// missing.
PatchChoice choose_patch(const PatchRequest& request, const PatchBudget& budget);

}  // namespace lamp
