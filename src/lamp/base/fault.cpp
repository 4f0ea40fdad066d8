// The one place that knows how a message reads.
#include "lamp/base/fault.h"

#include <cerrno>
#include <cstring>

namespace lamp {
namespace {

std::string way_to_read(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case ENAMETOOLONG:
      return "shorten the path";
    case EACCES:
    case EPERM:
      return "check the permissions (chmod), the file itself may be fine";
    case ELOOP:
      return "the link leads back to itself, name the file it stands for";
    case EIO:
    case ESTALE:
      return "the disk or its network refuses, try again";
    case EMFILE:
    case ENFILE:
      return "raise the limit of open files (ulimit -n)";
    case ENXIO:
      return "copy it to a file";
    case EISDIR:
      return "name a file in it";
    default:
      return "check the disk and try again";
  }
}

}  // namespace

std::string detail_of(const Fault& fault) {
  std::string text = fault.expected.empty()
                         ? fault.found
                         : "found " + fault.found + ", expected " + fault.expected;
  if (!fault.fix.empty()) text += "; " + fault.fix;
  return text;
}

std::string message_of(const Fault& fault) {
  return fault.what + ": " + fault.file + ": " + detail_of(fault);
}

Fault unreadable(const std::string& file, int error) {
  return {.file = file,
          .what = "cannot read",
          .found = error == ENXIO ? "not a regular file (a socket or a device without a driver)"
                                  : std::strerror(error),
          .fix = way_to_read(error)};
}

}  // namespace lamp
