// The errors a user may meet, one class for each exit code of the program. Every message is one
// line that says what was found, what was expected and what to do. Misuse of the library by its
// caller is TORCH_CHECK's business instead.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "lamp/base/fault.h"
#include "lamp/base/text.h"

namespace lamp {

// Exit codes of the program (a promise: scripts rely on them).
enum ExitCode : int {
  kExitOk = 0,
  kExitRuntime = 1,
  kExitUsage = 2,
  kExitInput = 3,
  kExitSomeCasesFailed = 4,
  kExitDoesNotFit = 5,
  kExitInterrupted = 128,  // plus the signal's number: 130 or 143
};

// Something failed while running (full disk, a NaN loss, a device that went away). Control
// characters are written out here, once for all: messages quote names and keys of files from
// strangers, and stay one line all the same.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, int exit_code = kExitRuntime)
      : std::runtime_error(printable(message)), exit_code_(exit_code) {}
  int exit_code() const { return exit_code_; }

 private:
  int exit_code_;
};

// The command line or a configuration asks for something that does not exist or contradicts itself.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& message) : Error(message, kExitUsage) {}
};

// A user's file is missing, damaged or not what it claims.
class InputError : public Error {
 public:
  explicit InputError(Fault fault)
      : Error(message_of(fault), kExitInput), fault_(std::move(fault)) {}
  const Fault& fault() const { return fault_; }
  const std::string& file() const { return fault_.file; }

 private:
  Fault fault_;
};

// Throws the InputError of `file` and "cannot read"; `rest` holds the other parts.
[[noreturn]] inline void cannot_read(const std::string& file, Fault rest) {
  rest.file = file;
  rest.what = "cannot read";
  throw InputError(std::move(rest));
}

// The work does not fit the memory or the devices; the message says what would.
class DoesNotFit : public Error {
 public:
  explicit DoesNotFit(const std::string& message) : Error(message, kExitDoesNotFit) {}
};

// A signal asked the program to stop and the state has been saved.
class Interrupted : public Error {
 public:
  Interrupted(const std::string& message, int signal) : Error(message, kExitInterrupted + signal) {}
};

}  // namespace lamp
