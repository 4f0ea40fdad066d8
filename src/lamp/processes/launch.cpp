// Each launcher's names for the same few numbers.
#include "lamp/processes/launch.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/processes/slurm_lists.h"

namespace lamp {
namespace {

constexpr int kMostProcesses = 65536;
constexpr int kMostPort = 65535;
constexpr int kUsualPort = 29500;
// Ports that follow from a job's number: below those that Linux hands out by itself.
constexpr int kFirstJobPort = 20000;
constexpr int kJobPorts = 10000;
// Slurm numbers a job's batch script and its interactive shell as steps from here on.
constexpr std::int64_t kFirstSpecialStep = 0xfffffff0;

struct LauncherNames {
  const char* launcher;
  const char* rank;
  const char* world;
  const char* local_rank;
  const char* local_world;
  std::array<const char*, 2> token;  // the first that is set
};

constexpr std::array kLaunchers = {
    LauncherNames{"torchrun",
                  "RANK",
                  "WORLD_SIZE",
                  "LOCAL_RANK",
                  "LOCAL_WORLD_SIZE",
                  {"TORCHELASTIC_RUN_ID", nullptr}},
    LauncherNames{"Open MPI",
                  "OMPI_COMM_WORLD_RANK",
                  "OMPI_COMM_WORLD_SIZE",
                  "OMPI_COMM_WORLD_LOCAL_RANK",
                  "OMPI_COMM_WORLD_LOCAL_SIZE",
                  {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"}},
    LauncherNames{"MPICH",
                  "PMI_RANK",
                  "PMI_SIZE",
                  "MPI_LOCALRANKID",
                  "MPI_LOCALNRANKS",
                  {"PMI_JOBID", nullptr}},
    LauncherNames{
        "Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", nullptr, {nullptr, nullptr}},
};

class LaunchReader {
 public:
  LaunchReader(const Environment& environment, const LauncherNames& names)
      : environment_(environment), names_(names) {}

  // Empty where it is not set.
  std::string text(const char* name) const {
    const char* value = name == nullptr ? nullptr : environment_(name);
    return value == nullptr ? "" : value;
  }
  bool is_set(const char* name) const { return !text(name).empty(); }

  // Throws UsageError where it is set to something else.
  std::optional<std::int64_t> number(const char* name, std::int64_t least,
                                     std::int64_t most) const {
    const std::string value = text(name);
    if (value.empty()) return std::nullopt;
    std::int64_t found = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), found);
    if (error != std::errc() || end != value.data() + value.size() || found < least || found > most)
      throw UsageError(std::string(name) + "=" + shortened(value) + " (set by " + names_.launcher +
                       "): expected a whole number from " + std::to_string(least) + " to " +
                       std::to_string(most));
    return found;
  }
  int small_number(const char* name, int least, int most, int otherwise) const {
    if (name == nullptr) return otherwise;
    return static_cast<int>(number(name, least, most).value_or(otherwise));
  }

  [[noreturn]] void missing(const std::string& name, const std::string& rest) const {
    throw UsageError(std::string(names_.launcher) + " started this process, but " + name +
                     " is not set: " + rest);
  }

  const LauncherNames& names() const { return names_; }

 private:
  const Environment& environment_;
  const LauncherNames& names_;
};

// The process belongs to a step of srun's.
bool is_within_srun(const LaunchReader& reader) {
  const auto step = reader.number("SLURM_STEP_ID", 0, INT64_MAX);
  return step && *step < kFirstSpecialStep;
}

const char* world_variable(const LaunchReader& reader) {
  const bool is_slurm = std::string_view(reader.names().launcher) == "Slurm";
  return is_slurm && reader.is_set("SLURM_STEP_NUM_TASKS") ? "SLURM_STEP_NUM_TASKS"
                                                           : reader.names().world;
}

bool is_there(const LaunchReader& reader) {
  if (std::string_view(reader.names().launcher) == "Slurm") return is_within_srun(reader);
  return reader.is_set(reader.names().rank) || reader.is_set(reader.names().world);
}

// FNV-1a: the same in all processes.
std::uint32_t hash_of(std::string_view text) {
  std::uint32_t hash = 2166136261U;
  for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 16777619U;
  return hash;
}

std::string token_of(const LaunchReader& reader) {
  for (const char* name : reader.names().token)
    if (reader.is_set(name)) return reader.text(name);
  if (!reader.is_set("SLURM_JOB_ID")) return "";
  return reader.text("SLURM_JOB_ID") + "." + reader.text("SLURM_STEP_ID");
}

int port_of(const LaunchReader& reader, const std::string& token) {
  if (const auto port = reader.number("MASTER_PORT", 1, kMostPort)) return static_cast<int>(*port);
  if (std::string_view(reader.names().launcher) == "torchrun")
    reader.missing("MASTER_PORT",
                   "set it to a free port of the machine of rank 0, the same one for all");
  if (token.empty()) return kUsualPort;
  return kFirstJobPort + static_cast<int>(hash_of(token) % kJobPorts);
}

std::string address_of(const LaunchReader& reader, const Launch& launch) {
  if (reader.is_set("MASTER_ADDR")) return reader.text("MASTER_ADDR");
  const bool is_torchrun = std::string_view(reader.names().launcher) == "torchrun";
  for (const char* list : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"})
    if (!is_torchrun && reader.is_set(list)) return first_host(reader.text(list), list);
  if (!is_torchrun && launch.local_world == launch.world) return "127.0.0.1";
  reader.missing("MASTER_ADDR", "set it to the machine of rank 0, the same for all processes");
}

int local_world_of(const LaunchReader& reader, int world) {
  if (std::string_view(reader.names().launcher) != "Slurm")
    return reader.small_number(reader.names().local_world, 1, world, 0);
  const std::string tasks = reader.text("SLURM_STEP_TASKS_PER_NODE");
  return tasks_on_node(tasks, reader.small_number("SLURM_NODEID", 0, kMostProcesses, 0));
}

std::optional<Launch> launch_by(const LaunchReader& reader, const std::string& host) {
  const char* world_name = world_variable(reader);
  Launch launch;
  launch.world = reader.small_number(world_name, 1, kMostProcesses, 0);
  if (launch.world == 1) return std::nullopt;
  if (launch.world == 0) reader.missing(world_name, "it is the number of processes");
  if (!reader.is_set(reader.names().rank))
    reader.missing(reader.names().rank,
                   "it is this process's number, from 0 to " + std::to_string(launch.world - 1));
  launch.launcher = reader.names().launcher;
  launch.host = host;
  launch.rank = reader.small_number(reader.names().rank, 0, launch.world - 1, 0);
  launch.local_world = local_world_of(reader, launch.world);
  const int most = (launch.local_world > 0 ? launch.local_world : launch.world) - 1;
  launch.local_rank = reader.small_number(reader.names().local_rank, 0, most, 0);
  launch.token = token_of(reader);
  launch.address = address_of(reader, launch);
  launch.port = port_of(reader, launch.token);
  launch.uses_agent_store = lower(reader.text("TORCHELASTIC_USE_AGENT_STORE")) == "true";
  launch.restart_count = reader.small_number("TORCHELASTIC_RESTART_COUNT", 0, INT32_MAX, 0);
  return launch;
}

}  // namespace

std::optional<Launch> read_launch(const Environment& environment, const std::string& host) {
  for (const LauncherNames& names : kLaunchers) {
    const LaunchReader reader(environment, names);
    if (is_there(reader)) return launch_by(reader, host);
  }
  return std::nullopt;
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "this machine";
  return name.data();
}

}  // namespace lamp
