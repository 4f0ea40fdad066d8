// An input is sound or refused in one line that names the file. A worker's clock counts its own
// processor time, for the machine may be busy with other things.
#include "fuzz/fuzz_worker.h"

#include <ATen/Parallel.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <typeinfo>

#include "fuzz/mutator.h"
#include "lamp/base/errors.h"
#include "lamp/base/log.h"

// The sanitizers' own, where the program is built with them.
extern "C" void __sanitizer_print_stack_trace() __attribute__((weak));

extern "C" const char* __asan_default_options() {
  return "detect_leaks=0:detect_odr_violation=0:max_allocation_size_mb=2048:"
         "allocator_may_return_null=0:quarantine_size_mb=64";
}
extern "C" const char* __ubsan_default_options() { return "halt_on_error=1:print_stacktrace=1"; }

namespace lamp::fuzz {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kLongestMessage = 4000;  // bytes
constexpr std::int64_t kMostResidentKiB = std::int64_t{3} << 20;
constexpr int kShownOfAKind = 3;

void on_too_slow(int) {
  if (__sanitizer_print_stack_trace != nullptr) __sanitizer_print_stack_trace();
  _exit(kWorkerTooSlow);
}

void set_clock(double seconds) {
  itimerval clock{};
  clock.it_value.tv_sec = static_cast<time_t>(std::floor(seconds));
  clock.it_value.tv_usec = static_cast<suseconds_t>((seconds - std::floor(seconds)) * 1e6);
  setitimer(ITIMER_PROF, &clock, nullptr);
}

std::string fault_of_message(const std::string& message) {
  if (message.size() > kLongestMessage)
    return "a message of " + std::to_string(message.size()) + " bytes";
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  return std::any_of(message.begin(), message.end(), is_control)
             ? "a control character in a message"
             : "";
}

// What is wrong with the way in which an input was refused; empty if nothing is.
std::string fault_of_refusal(const Error& error, const fs::path& folder) {
  const std::string message = error.what();
  if (std::string fault = fault_of_message(message); !fault.empty()) return fault;
  const bool named = message.find(folder.string()) != std::string::npos;
  return dynamic_cast<const InputError*>(&error) != nullptr && !named ? "a message without the file"
                                                                      : "";
}

class Worker {
 public:
  Worker(const FuzzFormat& format, const FuzzOptions& options, fs::path folder, Progress& progress)
      : format_(format), options_(options), folder_(std::move(folder)), progress_(progress) {}

  void read_all() {
    const std::vector<FuzzFiles> seeds = format_.seeds(folder_);
    const Mutator mutator(format_.words, seeds);
    const std::int64_t end = options_.first + options_.count;
    while (progress_.next < end) {
      const std::int64_t number = progress_.next++;
      Random random({options_.seed, static_cast<std::uint64_t>(number)});
      FuzzFiles files = mutator.input(random);
      if (format_.finish) format_.finish(files, random);
      read(files, number);
    }
  }

 private:
  void read(const FuzzFiles& files, std::int64_t number) {
    std::int64_t bytes = 0;
    for (const FuzzFile& file : files) {
      std::ofstream(folder_ / file.name, std::ios::binary) << file.bytes;
      bytes += std::ssize(file.bytes);
    }
    if (bytes > progress_.largest) progress_.largest = bytes;
    for (std::size_t i = 0; i < format_.readers.size(); ++i) {
      set_clock(options_.seconds);
      const std::string fault = fault_of(i);
      set_clock(0);
      if (!fault.empty()) report(fault, i, number);
    }
    check_memory();
    for (const FuzzFile& file : files) fs::remove(folder_ / file.name);
  }

  // What is wrong with what reader `i` did; empty if nothing is.
  std::string fault_of(std::size_t i) {
    try {
      format_.readers[i].second(folder_);
      ++progress_.taken[i];
      return "";
    } catch (const Error& error) {
      ++progress_.refused[i];
      const std::string fault = fault_of_refusal(error, folder_);
      return fault.empty() ? "" : fault + ": " + std::string(error.what()).substr(0, 300);
    } catch (const std::exception& error) {
      return std::string(typeid(error).name()) + ": " + std::string(error.what()).substr(0, 300);
    }
  }

  void report(const std::string& fault, std::size_t reader, std::int64_t number) {
    ++progress_.findings;
    std::string kind = fault.substr(0, 60);
    std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
    if (++kinds_[format_.readers[reader].first + kind] > kShownOfAKind) return;
    std::cerr << "FINDING " << format_.name << " " << number << " ("
              << format_.readers[reader].first << "): " << fault << "\n  kept in "
              << keep_input(format_, options_, folder_, number).string() << std::endl;
  }

  void check_memory() const {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    if (usage.ru_maxrss > kMostResidentKiB) _exit(kWorkerTooLarge);
  }

  const FuzzFormat& format_;
  const FuzzOptions& options_;
  const fs::path folder_;
  Progress& progress_;
  std::map<std::string, int> kinds_;
};

}  // namespace

void work(const FuzzFormat& format, const FuzzOptions& options, const fs::path& folder,
          Progress& progress) {
  std::signal(SIGPROF, on_too_slow);
  set_log_level(LogLevel::kError);
  at::set_num_threads(1);
  Worker(format, options, folder, progress).read_all();
  std::cout.flush();
  _exit(kWorkerDone);
}

fs::path keep_input(const FuzzFormat& format, const FuzzOptions& options, const fs::path& folder,
                    std::int64_t number) {
  const fs::path kept = options.keep / (format.name + "-" + std::to_string(options.seed) + "-" +
                                        std::to_string(number));
  fs::create_directories(kept);
  fs::copy(folder, kept, fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  return kept;
}

}  // namespace lamp::fuzz
