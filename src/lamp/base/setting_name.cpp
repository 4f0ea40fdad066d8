// One table, empty for users of the library.
#include "lamp/base/setting_name.h"

#include <utility>

namespace lamp {
namespace {

SettingNames& given_names() {
  static SettingNames names;
  return names;
}

}  // namespace

void name_settings(SettingNames names) { given_names() = std::move(names); }

std::string setting_name(std::string_view key) {
  const auto given = given_names().find(key);
  return given == given_names().end() ? std::string(key) : given->second;
}

std::string setting_to(std::string_view key, const std::string& value) {
  return setting_name(key) + (given_names().contains(key) ? " " : "=") + value;
}

}  // namespace lamp
