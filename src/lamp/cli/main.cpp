// Entry of the program: global options, the list of commands, and the one place where an error
// becomes a line on stderr and an exit code.
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/text.h"
#include "lamp/cli/commands.h"
#include "lamp/cli/memory_words.h"
#include "lamp/cli/option_names.h"
#include "lamp/cli/refused_value.h"
#include "lamp/cli/suggestions.h"

#ifndef LAMP_VERSION
#define LAMP_VERSION "0"
#endif

namespace lamp {
namespace {

// A file that is opened while standard output or error are closed takes their number, and then
// holds what is printed. What stands in their place refuses every byte.
void fill_closed_descriptors() {
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor)
    if (fcntl(descriptor, F_GETFD) < 0)
      open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

// Large activations come and go at every step. Giving their pages back to the system each time
// costs more than the arithmetic on them (2 to 8 times for element-wise layers), so the heap keeps
// what it has.
void keep_heap() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
  mallopt(M_ARENA_MAX, 1);  // further arenas cannot hold large blocks and would map them afresh
}

// torch's pools wait for ever where a thread cannot be started, or end the process. Each starts so
// many: one for its kernels, one for OpenMP's.
void check_startable(int threads) {
  std::vector<std::thread> started;
  std::mutex mutex;
  std::unique_lock held(mutex);  // they wait until all are there
  const auto wait = [&mutex] { const std::lock_guard until_all_are_there(mutex); };
  try {
    for (int i = 0; i < 2 * threads; ++i) started.emplace_back(wait);
  } catch (const std::exception&) {  // no thread, or no memory to note one
  }
  held.unlock();
  for (std::thread& thread : started) thread.join();
  const auto count = static_cast<int>(started.size());
  if (count < 2 * threads)
    throw DoesNotFit("does not fit: " + std::to_string(threads) +
                     " threads cannot be started here; give --threads " +
                     std::to_string(std::max(1, count / 4)) +
                     ", or raise the limits of memory or "
                     "processes (ulimit)");
}

void apply(const GlobalOptions& globals) {
  if (globals.quiet) set_log_level(LogLevel::kWarning);
  if (globals.verbose) set_log_level(LogLevel::kDebug);
  int threads = globals.threads;
  if (threads == 0 && std::getenv("OMP_NUM_THREADS") == nullptr)
    threads = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  if (threads > 1) check_startable(threads);
  if (threads > 0) at::set_num_threads(threads);
}

std::string one_line(std::string text) {
  if (const auto end = text.find('\n'); end != std::string::npos) text.resize(end);
  return text;
}

int report(const std::string& message, int exit_code) {
  std::fflush(stdout);
  std::cerr << "lamp: " << printable(message) << std::endl;
  return exit_code;
}

// What was printed may still wait in a buffer for a disk that is full or a reader that is gone.
int flush_output(int exit_code) {
  std::cout.flush();
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good();
  if (written || exit_code != kExitOk) return exit_code;
  return report(
      "cannot write the standard output (is the disk full, or is the reader gone?): its text is "
      "incomplete, files that were written are whole",
      kExitRuntime);
}

// An exception that no thread has caught: one line, too, instead of an abort.
[[noreturn]] void last_words() {
  try {
    if (const auto error = std::current_exception()) std::rethrow_exception(error);
    report("stopped by an error in the program", kExitRuntime);
  } catch (const std::bad_alloc&) {
    report("out of memory; the last saved state is whole", kExitDoesNotFit);
    _exit(kExitDoesNotFit);
  } catch (const std::exception& error) {
    report(one_line(error.what()) + "; the last saved state is whole", kExitRuntime);
  } catch (...) {
    report("stopped by an unknown error", kExitRuntime);
  }
  _exit(kExitRuntime);
}

// The libraries' own start may run out of memory before main() can catch anything; this is set
// before any of them starts, and so may use nothing but system calls.
[[noreturn]] void end_before_main() {
  constexpr std::string_view kWords =
      "lamp: out of memory while the program was loaded; allow it more (ulimit -v), 1 GB or more\n";
  [[maybe_unused]] const auto written = write(STDERR_FILENO, kWords.data(), kWords.size());
  _exit(kExitDoesNotFit);
}

void expect_little_memory() { std::set_terminate(end_before_main); }

__attribute__((section(".preinit_array"),
               used)) void (*const kBeforeLibraries)() = expect_little_memory;

// "bench input"; empty where none was given.
std::string command_of(const CLI::App& app) {
  std::string words;
  for (const CLI::App* part = &app; !part->get_subcommands().empty();) {
    part = part->get_subcommands().front();
    words += (words.empty() ? "" : " ") + part->get_name();
  }
  return words;
}

// command: what runs, for errors.
int run(int argc, char** argv, std::string& command) {
  CLI::App app("Segments whole 3-D medical images with large networks, on one device or several.",
               "lamp");
  GlobalOptions globals;
  app.set_version_flag("--version", "lamp " LAMP_VERSION);
  app.add_flag("--json", globals.json, "one JSON document on stdout");
  app.add_flag("-q,--quiet", globals.quiet, "only warnings and errors");
  app.add_flag("-v,--verbose", globals.verbose, "more detail");
  app.add_option("--seed", globals.seed, "seed of every random choice");
  app.add_option("--threads", globals.threads, "CPU threads in all")->check(CLI::Range(1, 4096));
  app.require_subcommand(1);
  app.fallthrough();
  add_synth_command(app, globals);
  add_prepare_command(app, globals);
  add_check_command(app, globals);
  add_train_command(app, globals);
  add_segment_command(app, globals);
  add_evaluate_command(app, globals);
  add_info_command(app, globals);
  add_plan_command(app, globals);
  add_bench_command(app, globals);
  add_simulate_command(app, globals);
  add_experiment_command(app, globals);
  app.parse_complete_callback([&] {
    command = command_of(app);
    if (const auto empty = empty_value(app)) throw UsageError(*empty);
    apply(globals);
  });
  try {
    if (const auto unknown = unknown_command(app, argc, argv)) return report(*unknown, kExitUsage);
    app.parse(argc, argv);
    return kExitOk;
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    if (const auto unknown = unknown_option(app)) return report(*unknown, kExitUsage);
    if (const auto refused = refused_value(app, error)) return report(*refused, kExitUsage);
    return report(std::string(error.what()) + "; see lamp --help", kExitUsage);
  }
}

}  // namespace

void print_json(const Json& value) { std::cout << dump_json(value) << std::endl; }

}  // namespace lamp

namespace lamp {
namespace {

int run_and_report(int argc, char** argv) {
  std::string command;
  try {
    return run(argc, argv, command);
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report(out_of_memory_words(command, ""), kExitDoesNotFit);
  } catch (const c10::Error& error) {
    if (is_out_of_memory(error))
      return report(out_of_memory_words(command, asked_for(error)), kExitDoesNotFit);
    return report(one_line(error.what_without_backtrace()), kExitRuntime);
  } catch (const std::filesystem::filesystem_error& error) {
    return report("cannot reach " + printable(error.path1().string()) + ": " +
                      error.code().message() + "; check the path and its permissions",
                  kExitRuntime);
  } catch (const std::exception& error) {
    if (is_out_of_memory(error)) return report(out_of_memory_words(command, ""), kExitDoesNotFit);
    return report(one_line(error.what()), kExitRuntime);
  }
}

}  // namespace
}  // namespace lamp

int main(int argc, char** argv) {
  std::set_terminate(lamp::last_words);
  lamp::fill_closed_descriptors();
  lamp::keep_heap();
  lamp::name_settings(lamp::option_names());
  lamp::watch_signals();
  return lamp::flush_output(lamp::run_and_report(argc, argv));
}
