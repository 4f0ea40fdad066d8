// What a conversion says of itself, and the one option that is text.
#pragma once

#include <array>
#include <string>

#include "lamp/base/json.h"
#include "lamp/convert/prepare.h"

namespace lamp {

// "0.98,0.98,2.5". Throws UsageError for anything but three positive numbers.
std::array<double, 3> parse_spacing(const std::string& text);

// {folder, from, cases, training, test, converted, labels, partly_annotated, scaled, overlaps
// [{case, kept, lost, voxels}], notes, faults [{file, what, found, expected, fix}]}; cases = those
// in the source.
Json to_json(const PrepareReport& report);

// Exit 4 if some cases have faults, 3 if all have.
void throw_if_failed(const PrepareReport& report);

}  // namespace lamp
