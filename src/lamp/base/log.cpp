// spdlog behind four functions, so that no other file pays for its templates.
#include "lamp/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

struct Sinks {
  Sinks() {
    terminal->set_pattern("%^%v%$");
    terminal->set_level(spdlog::level::info);
    const char* no_color = std::getenv("NO_COLOR");  // no-color.org: set and not empty
    if (no_color != nullptr && *no_color != '\0')
      terminal->set_color_mode(spdlog::color_mode::never);
  }
  std::mutex mutex;  // guards everything below
  std::shared_ptr<spdlog::sinks::stderr_color_sink_mt> terminal =
      std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
  std::shared_ptr<spdlog::sinks::basic_file_sink_mt> file;
  std::set<std::string> warned;
};

Sinks& sinks() {
  static Sinks instance;
  return instance;
}

// A full disk costs the log, not the work.
void log_to_file(Sinks& all, const spdlog::details::log_msg& line) try {
  all.file->log(line);
  all.file->flush();
} catch (const spdlog::spdlog_ex& error) {
  all.file.reset();
  const std::string text = std::string("warning: the log file is given up: ") + error.what();
  all.terminal->log({spdlog::string_view_t("lamp"), spdlog::level::warn,
                     spdlog::string_view_t(text.data(), text.size())});
}

void write(spdlog::level::level_enum level, const std::string& message) {
  Sinks& all = sinks();
  const std::lock_guard lock(all.mutex);
  const std::string shown = printable(message);
  const spdlog::details::log_msg line(spdlog::string_view_t("lamp"), level,
                                      spdlog::string_view_t(shown.data(), shown.size()));
  if (all.terminal->should_log(level)) {
    all.terminal->log(line);
    all.terminal->flush();
  }
  if (all.file) log_to_file(all, line);
}

}  // namespace

void set_log_level(LogLevel level) {
  constexpr spdlog::level::level_enum kLevels[] = {spdlog::level::debug, spdlog::level::info,
                                                   spdlog::level::warn, spdlog::level::err};
  const std::lock_guard lock(sinks().mutex);
  sinks().terminal->set_level(kLevels[static_cast<int>(level)]);
}

bool info_is_shown() { return sinks().terminal->should_log(spdlog::level::info); }

void open_log_file(const std::string& file) try {
  // A link would have another's file appended to, a pipe would wait for a reader.
  std::error_code error;
  const auto type = std::filesystem::symlink_status(file, error).type();
  if (type != std::filesystem::file_type::regular && type != std::filesystem::file_type::not_found)
    throw Error("cannot open the log file: " + file +
                ": found a link or no regular file; move it away");
  auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
  sink->set_pattern("%Y-%m-%d %H:%M:%S %l %v");
  const std::lock_guard lock(sinks().mutex);
  sinks().file = std::move(sink);
} catch (const spdlog::spdlog_ex& error) {
  throw Error("cannot open the log file: " + file + ": " + error.what());
}

void close_log_file() {
  const std::lock_guard lock(sinks().mutex);
  sinks().file.reset();
}

void log_debug(const std::string& message) { write(spdlog::level::debug, message); }
void log_info(const std::string& message) { write(spdlog::level::info, message); }
void log_warning(const std::string& message) { write(spdlog::level::warn, "warning: " + message); }

void log_warning_once(const std::string& message) {
  {
    const std::lock_guard lock(sinks().mutex);
    if (!sinks().warned.insert(message).second) return;
  }
  log_warning(message);
}

}  // namespace lamp
