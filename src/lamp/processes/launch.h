// Which of how many processes this one is. A launcher (torchrun, mpirun, srun) starts the same
// program many times and tells each copy by its environment; nothing here opens a connection.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace lamp {

struct Launch {
  int rank = 0;
  int world = 1;        // processes
  int local_rank = 0;   // among those of this machine
  int local_world = 0;  // processes of this machine; 0 = the launcher does not say
  std::string address;  // where rank 0 is reached, a name or a number
  int port = 0;
  // The launcher keeps the store at that address; rank 0 opens none.
  bool uses_agent_store = false;
  std::string host;      // this machine's name, for messages
  std::string token;     // the same in all processes of a run, another in each run; may be empty
  std::string launcher;  // "torchrun", "Open MPI", "MPICH" or "Slurm", for messages
  int restart_count = 0;
};

// The value of an environment variable; null where it is not set. As std::getenv.
using Environment = std::function<const char*(const char*)>;

// What the launcher says; nothing where there is none or where it started one process. The first of
// these counts: RANK and WORLD_SIZE (torchrun, or set by hand), OMPI_COMM_WORLD_*, PMI_*, SLURM_*
// (within srun only: the shell of a batch script is no rank). An address that nobody gives is that
// of the job's first host, or this machine's own for processes of one machine; a port that nobody
// gives follows from the job's number, or is 29500. Throws UsageError that names the variable which
// is missing or wrong, and the launcher.
std::optional<Launch> read_launch(const Environment& environment, const std::string& host);

// This machine's name.
std::string host_name();

}  // namespace lamp
