// People's text: one line each on stderr, with a level. Data goes to stdout and never through here.
#pragma once

#include <string>

namespace lamp {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Lines below `level` are dropped. The default is kInfo; -v asks for kDebug, -q for kWarning.
// Thread-safe.
void set_log_level(LogLevel level);
// Whether info lines (and so progress bars) reach the terminal.
bool info_is_shown();

// Appends every line (also the dropped debug lines) to `file` until close_log_file.
// One file at a time; a second call replaces the first. Throws Error if the file cannot be opened
// or is a link.
void open_log_file(const std::string& file);
void close_log_file();

void log_debug(const std::string& message);
void log_info(const std::string& message);
void log_warning(const std::string& message);

// Warns once for each distinct `message` in the life of the process, so that a thousand cases give
// one line.
void log_warning_once(const std::string& message);

}  // namespace lamp
