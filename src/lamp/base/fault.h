// What is wrong with a user's file, in parts: messages are put together from them in one place,
// and nobody takes a message apart to get at one.
#pragma once

#include <string>

namespace lamp {

struct Fault {
  std::string file = {};      // or folder
  std::string what = {};      // "a leak", "cannot read"
  std::string found = {};     // what is there, or what is the case; never empty
  std::string expected = {};  // empty where `found` leaves nothing to say
  std::string fix = {};       // what the user can do
};

// "found <found>, expected <expected>; <fix>", or "<found>; <fix>" if nothing is expected.
std::string detail_of(const Fault& fault);
// "<what>: <file>: <detail>".
std::string message_of(const Fault& fault);

// Of a file or folder that the system does not open or read, for this errno.
Fault unreadable(const std::string& file, int error);

}  // namespace lamp
