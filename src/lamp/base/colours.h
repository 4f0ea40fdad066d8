// Okabe and Ito's colours, which people with any kind of colour vision tell apart. Every picture
// that LAMP draws takes its colours from here.
#pragma once

namespace lamp {

inline constexpr const char* kOrange = "#e69f00";
inline constexpr const char* kSkyBlue = "#56b4e9";
inline constexpr const char* kBluishGreen = "#009e73";
inline constexpr const char* kYellow = "#f0e442";
inline constexpr const char* kDarkBlue = "#0072b2";
inline constexpr const char* kVermillion = "#d55e00";
inline constexpr const char* kReddishPurple = "#cc79a7";

}  // namespace lamp
