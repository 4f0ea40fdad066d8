// The parts of the error that a call must throw.
#pragma once

#include <gtest/gtest.h>

#include "lamp/base/fault.h"

namespace lamp::testing {

template <typename E, typename Call>
Fault fault_of(Call call) {
  try {
    call();
  } catch (const E& error) {
    return error.fault();
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace lamp::testing
