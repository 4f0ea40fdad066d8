// link(2) makes the lock appear, flock(2) settles who may take over a stale one.
#include "lamp/base/output_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/json.h"
#include "lamp/base/log.h"

namespace lamp {
namespace fs = std::filesystem;
namespace {

constexpr const char* kLockFormat = "lamp-lock";
constexpr int kAttempts = 100;  // each is lost only to another process's start or end
constexpr std::size_t kLongestLock = 1 << 16;    // bytes
constexpr std::size_t kLongestLockedName = 200;  // file systems take 255, and endings are added

struct Owner {
  std::string host;
  std::string boot;  // the kernel's name for the time since the machine started; may be empty
  std::int64_t process = 0;
  std::int64_t started = 0;  // in clock ticks since then; 0 = not known
};

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_;
};

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::string boot_name() {
  std::string name;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> name;
  return name;
}

// State and start time of a process: fields 3 and 22 of /proc/PID/stat (proc(5)). The second field
// is its name in parentheses, which may hold blanks and parentheses itself.
struct ProcessState {
  char state = '?';
  std::int64_t started = 0;
};

std::optional<ProcessState> process_state(std::int64_t process) {
  std::ifstream in("/proc/" + std::to_string(process) + "/stat");
  std::ostringstream text;
  text << in.rdbuf();
  const std::string line = text.str();
  const auto end = line.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(end + 1));
  ProcessState found;
  fields >> found.state;
  std::string skipped;
  for (int field = 4; field < 22; ++field) fields >> skipped;
  fields >> found.started;
  if (!fields) return std::nullopt;
  return found;
}

Owner this_process() {
  Owner owner{.host = host_name(), .boot = boot_name(), .process = getpid()};
  if (const auto state = process_state(owner.process)) owner.started = state->started;
  return owner;
}

std::string text_of(const Owner& owner) {
  return dump_json({{"format", kLockFormat},
                    {"host", owner.host},
                    {"boot", owner.boot},
                    {"process", owner.process},
                    {"started", owner.started}}) +
         "\n";
}

std::optional<Owner> parse_owner(const std::string& text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("format", Json()) != kLockFormat) return std::nullopt;
  const Json host = json.value("host", Json()), boot = json.value("boot", Json());
  const Json process = json.value("process", Json()), started = json.value("started", Json());
  if (!host.is_string() || !boot.is_string() || !process.is_number_integer() ||
      !started.is_number_integer())
    return std::nullopt;
  return Owner{host.get<std::string>(), boot.get<std::string>(), process.get<std::int64_t>(),
               started.get<std::int64_t>()};
}

bool is_gone(const Owner& owner) {
  const std::string boot = boot_name();
  if (!boot.empty() && !owner.boot.empty() && boot != owner.boot) return true;
  if (owner.process <= 0) return true;
  if (kill(static_cast<pid_t>(owner.process), 0) != 0 && errno == ESRCH) return true;
  const auto state = process_state(owner.process);
  if (!state) return false;  // /proc does not show it: better to ask than to take it
  if (state->state == 'Z' || state->state == 'X') return true;
  return owner.started != 0 && state->started != owner.started;
}

std::string read_all(int descriptor) {
  std::string text(kLongestLock, '\0');
  const ssize_t got = pread(descriptor, text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// Short enough for a single write, so that a reader hardly ever sees a part of it.
bool write_all(int descriptor, const std::string& text) {
  const ssize_t written = pwrite(descriptor, text.data(), text.size(), 0);
  return written == static_cast<ssize_t>(text.size()) &&
         ftruncate(descriptor, static_cast<off_t>(text.size())) == 0;
}

bool is_at(int descriptor, const fs::path& file) {
  struct stat here {
  }, there{};
  return fstat(descriptor, &here) == 0 && lstat(file.c_str(), &there) == 0 &&
         here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

// link(2), "BUGS": over NFS the answer may be lost and the second try told that the name is there.
bool has_two_names(const fs::path& file) {
  struct stat found {};
  return lstat(file.c_str(), &found) == 0 && found.st_nlink == 2;
}

[[noreturn]] void fail(const fs::path& file) {
  const int cause = errno;
  throw Error("cannot lock the output: " + file.string() + ": " + std::strerror(cause) +
              "; choose another folder");
}

// What the lock stands for: a folder, or files in it.
std::string locked_place(const fs::path& file) {
  const std::string name = file.filename().string(), ending = kFolderLock;
  if (name == kRunLock || name == ending) return file.parent_path().string();
  return (file.parent_path() / name.substr(1, name.size() - 1 - ending.size())).string();
}

[[noreturn]] void refuse_held(const fs::path& file, const std::string& text,
                              const std::string& way_out) {
  const auto owner = parse_owner(text);
  throw Error("the output is in use: " + locked_place(file) + ": found " +
              (owner ? "process " + std::to_string(owner->process) + " on " + owner->host
                     : std::string("another process")) +
              " at work there; wait for it or " + way_out);
}

[[noreturn]] void refuse_unknown(const fs::path& file, const std::string& found) {
  throw Error("the output may be in use: " + locked_place(file) + ": found " + found +
              ", and whether that still runs cannot be told from here; if it does not, remove " +
              file.string());
}

}  // namespace

std::string lock_of(const std::string& name) {
  return "." + name.substr(0, kLongestLockedName) + kFolderLock;
}

bool is_lock_text(const std::string& text) { return parse_owner(text).has_value(); }

bool is_lock_file(const fs::path& file) {
  const std::string name = file.filename().string();
  std::error_code error;
  if ((name != kRunLock && !name.ends_with(kFolderLock)) ||
      !fs::is_regular_file(fs::symlink_status(file, error)))
    return false;
  try {
    return is_lock_text(read_file(file, kLongestLock));
  } catch (const InputError&) {  // gone meanwhile, or no lock of ours
    return false;
  }
}

OutputLock::MadeFolders::MadeFolders(const fs::path& folder) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path at = folder; !at.empty() && !fs::exists(at, error); at = at.parent_path()) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (fs::create_directory(*at, error)) paths.push_back(*at);
    if (error) {
      const std::string message = error.message();
      for (auto made = paths.rbegin(); made != paths.rend(); ++made) fs::remove(*made, error);
      throw Error("cannot create the output folder: " + folder.string() + ": " + message +
                  "; choose another folder");
    }
  }
}

// Only what is still empty goes.
OutputLock::MadeFolders::~MadeFolders() {
  for (auto at = paths.rbegin(); at != paths.rend(); ++at)
    if (rmdir(at->c_str()) != 0) return;
}

OutputLock::OutputLock(const fs::path& folder, const std::string& name, std::string way_out)
    : file_((folder.empty() ? fs::path(".") : folder) / name),
      way_out_(std::move(way_out)),
      made_(file_.parent_path()) {
  for (int attempt = 0; attempt < kAttempts; ++attempt)
    if (create() || take_over()) return;
  refuse_held(file_, "", way_out_);
}

OutputLock::~OutputLock() {
  if (is_at(descriptor_, file_)) {  // else somebody removed it by hand
    if (stale_.empty() || !write_all(descriptor_, stale_)) unlink(file_.c_str());
  }
  close(descriptor_);
}

void OutputLock::start() { stale_.clear(); }

void OutputLock::keep() {
  start();
  made_.paths.clear();
}

bool OutputLock::create() {
  const std::string text = text_of(this_process());
  int unique = 0;
  fs::path aside;
  int number = -1;
  do {
    const std::string name = file_.filename().string();
    aside =
        file_.parent_path() / ((name.starts_with('.') ? "" : ".") + name + "." +
                               std::to_string(getpid()) + "-" + std::to_string(unique++) + ".tmp");
    number = open(aside.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
  } while (number < 0 && errno == EEXIST && unique < kAttempts);
  if (number < 0) fail(file_);
  Descriptor descriptor(number);
  flock(descriptor.get(), LOCK_EX | LOCK_NB);  // where it is not supported, the text alone counts
  const bool written = write_all(descriptor.get(), text);
  const bool answered = written && link(aside.c_str(), file_.c_str()) == 0;
  const int cause = errno;
  const bool linked = answered || (written && has_two_names(aside));
  unlink(aside.c_str());
  if (linked) {
    descriptor_ = descriptor.release();
    return true;
  }
  if (cause == EEXIST) return false;
  errno = cause;
  if (cause != EPERM && cause != EOPNOTSUPP && cause != ENOSYS && cause != EMLINK) fail(file_);
  // A file system without hard links.
  Descriptor plain(open(file_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644));
  if (plain.get() < 0 && errno == EEXIST) return false;
  if (plain.get() < 0 || !write_all(plain.get(), text)) fail(file_);
  flock(plain.get(), LOCK_EX | LOCK_NB);
  descriptor_ = plain.release();
  return true;
}

bool OutputLock::take_over() {
  Descriptor descriptor(open(file_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (descriptor.get() < 0 && errno == ENOENT) return false;
  if (descriptor.get() < 0) fail(file_);
  if (flock(descriptor.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    if (!is_at(descriptor.get(), file_)) return false;
    refuse_held(file_, read_all(descriptor.get()), way_out_);
  }
  if (!is_at(descriptor.get(), file_)) return false;  // its holder has just left
  const std::string text = read_all(descriptor.get());
  const auto owner = parse_owner(text);
  if (!owner) refuse_unknown(file_, "a lock that names no process");
  if (owner->host != host_name())
    refuse_unknown(file_,
                   "the lock of process " + std::to_string(owner->process) + " on " + owner->host);
  if (!is_gone(*owner)) refuse_held(file_, text, way_out_);
  if (!write_all(descriptor.get(), text_of(this_process()))) fail(file_);
  log_info("taking over " + locked_place(file_) + " from process " +
           std::to_string(owner->process) + ", which has ended without a word");
  stale_ = text;
  descriptor_ = descriptor.release();
  return true;
}

}  // namespace lamp
