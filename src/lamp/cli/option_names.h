// The library's settings as the command line writes them.
#pragma once

#include "lamp/base/setting_name.h"

namespace lamp {

// "execution.microbatches" -> "--microbatches". One word a setting, whatever the command.
const SettingNames& option_names();

}  // namespace lamp
