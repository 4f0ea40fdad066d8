// How a setting is called in messages. The library says what is wrong with a setting and names it
// by its key ("execution.microbatches"); whoever takes settings in other words says once at the
// start which: the program writes the words of its command line ("--microbatches").
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace lamp {

// By key: how users write the setting.
using SettingNames = std::map<std::string, std::string, std::less<>>;

// From now on these names stand in messages, and a value behind a name follows it after a space.
// Call it before threads start; messages that are made already stay as they are.
void name_settings(SettingNames names);

// "execution.microbatches", or the name that it was given.
std::string setting_name(std::string_view key);
// With a value, as users would write it: "execution.microbatches=4", or "--microbatches 4".
std::string setting_to(std::string_view key, const std::string& value);

}  // namespace lamp
