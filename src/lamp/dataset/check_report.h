// A check's result for programs and for people.
#pragma once

#include <string>

#include "lamp/base/json.h"
#include "lamp/dataset/dataset_check.h"

namespace lamp {

// {file, what, found, expected, fix}.
Json to_json(const Fault& fault);
// {ok, faults [{file, what, found, expected, fix}], cases (their number), labels {id: name}, notes,
// ignored [{file, reason}], case_facts []}.
Json to_json(const CheckReport& report);

// For people: sizes, spacings, labels with annotated fractions and volumes, notes, faults.
std::string describe(const CheckReport& report);

}  // namespace lamp
