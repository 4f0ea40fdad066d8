// lamp_fuzz: reads damaged files of a format by the thousand and tells what became of them. An
// input is a pure function of format, seed and number: --first N --count 1 reads one again.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <thread>

#include "fuzz/fuzz_format.h"
#include "fuzz/fuzz_worker.h"
#include "support/temporary_folder.h"

namespace lamp::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kLook{20};
constexpr int kPatience = 3000;  // looks at an input that waits instead of working

Progress* shared_progress() {
  void* memory =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return new (memory) Progress();
}

// Waits for the worker's end, or ends it when it stands still. Looks are counted, not seconds:
// whoever stops this process for a while stops the worker, too. Returns its status as waitpid does.
int watch(pid_t worker, const Progress& progress) {
  std::int64_t seen = -1;
  int looks = 0;
  for (int status = 0;;) {
    if (waitpid(worker, &status, WNOHANG) == worker) return status;
    const std::int64_t now = progress.next;
    looks = now == seen ? looks + 1 : 0;
    seen = now;
    if (looks > kPatience) kill(worker, SIGKILL);
    std::this_thread::sleep_for(kLook);
  }
}

std::string end_of(int status) {
  if (WIFSIGNALED(status)) return "ended by signal " + std::to_string(WTERMSIG(status));
  if (WEXITSTATUS(status) == kWorkerTooSlow) return "too slow";
  if (WEXITSTATUS(status) == kWorkerTooLarge) return "more than 3 GiB of memory";
  return "ended with status " + std::to_string(WEXITSTATUS(status));
}

void print_outcome(const FuzzFormat& format, const FuzzOptions& options, const Progress& progress,
                   double seconds) {
  std::cout << format.name << ": " << progress.next - options.first << " inputs of up to "
            << progress.largest << " bytes in " << static_cast<std::int64_t>(seconds) << " s, "
            << progress.findings << " findings";
  for (std::size_t i = 0; i < format.readers.size(); ++i)
    std::cout << "; " << format.readers[i].first << ": " << progress.taken[i] << " taken, "
              << progress.refused[i] << " refused";
  std::cout << std::endl;
}

// Returns the number of findings.
std::int64_t fuzz(const FuzzFormat& format, const FuzzOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Progress& progress = *shared_progress();
  progress.next = options.first;
  for (int status = -1; status != kWorkerDone;) {
    const testing::TemporaryFolder folder;
    const pid_t worker = fork();
    if (worker == 0) {
      try {
        work(format, options, folder.path(), progress);
      } catch (const std::exception& error) {  // while making the seeds
        std::cerr << format.name << ": " << error.what() << std::endl;
        _exit(1);
      }
    }
    status = watch(worker, progress);
    if (status == kWorkerDone) break;
    ++progress.findings;
    const std::int64_t number = progress.next - 1;
    if (number < options.first)
      throw std::runtime_error(format.name + ": the worker did not start");
    std::cerr << "FINDING " << format.name << " " << number << ": " << end_of(status)
              << "\n  kept in " << keep_input(format, options, folder.path(), number).string()
              << std::endl;
  }
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  print_outcome(format, options, progress, passed.count());
  return progress.findings;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Reads damaged files; whatever is neither taken nor refused in one line is reported");
  FuzzOptions options{.keep = "fuzz-findings"};
  std::vector<std::string> names;
  app.add_option("-f,--format", names, "Formats to read (default: all)");
  app.add_option("-n,--count", options.count, "Inputs of each format");
  app.add_option("--seed", options.seed, "Another seed, other inputs");
  app.add_option("--first", options.first, "The number of the first input");
  app.add_option("--seconds", options.seconds, "Processor time for one reader and input");
  app.add_option("--keep", options.keep, "Where the inputs of findings go");
  CLI11_PARSE(app, argc, argv);
  std::vector<FuzzFormat> formats;
  for (const auto& group : {volume_formats(), dicom_formats(), list_formats(), training_formats()})
    formats.insert(formats.end(), group.begin(), group.end());
  std::int64_t findings = 0;
  for (const FuzzFormat& format : formats)
    if (names.empty() || std::find(names.begin(), names.end(), format.name) != names.end())
      findings += fuzz(format, options);
  return findings == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lamp::fuzz

int main(int argc, char** argv) {
  try {
    return lamp::fuzz::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "lamp_fuzz: " << error.what() << std::endl;
    return 2;
  }
}
