// SIGINT, SIGTERM and SIGHUP as a flag that long work looks at between steps, so that it can save
// before it stops.
#pragma once

namespace lamp {

// From now on the first SIGINT, SIGTERM or SIGHUP only raises the flag; a second SIGINT or SIGTERM
// ends the process at once. A terminal that closes (SIGHUP) counts as SIGTERM, and under nohup it
// stays ignored. SIGPIPE is ignored: whoever reads our messages may stop reading them. What was
// caught before is forgotten.
void watch_signals();
// The signal that was caught, SIGTERM for SIGHUP, or 0. Async-signal-safe and thread-safe.
int caught_signal();
// Throws Interrupted ("stopped by SIGINT...") if a signal was caught.
void throw_if_interrupted(const char* what_was_saved);

}  // namespace lamp
