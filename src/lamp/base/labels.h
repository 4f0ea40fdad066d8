// Which labels there may be: one rule for data sets and models, since the ones become the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "lamp/base/fault.h"

namespace lamp {

inline constexpr int kLargestLabel = 32767;            // label maps are int16 at the most
inline constexpr std::size_t kLongestLabelName = 256;  // bytes

// Why a label may not be: what was found, what was expected and what to do. Names are not empty
// and hold no control characters, for they are printed and head the columns of tables. (That no
// two labels share an id or a name, who reads a list of them sees.)
std::optional<Fault> fault_of_label(std::int64_t id, const std::string& name);

}  // namespace lamp
