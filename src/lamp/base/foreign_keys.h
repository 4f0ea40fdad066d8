// The words that users bring along from other programs.
#pragma once

#include <string>

namespace lamp {

// Where the configuration keeps what other programs (nnU-Net, MONAI, PyTorch) call `word`, such as
// "optimizer.lr" for "learning_rate"; empty if it is no such word.
std::string place_of_foreign_key(const std::string& word);

}  // namespace lamp
