// Several processes of a worker or the program, as a launcher would start them on one machine.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/temporary_folder.h"

namespace lamp::testing {

// Nothing listens there now.
inline int free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof address);
  socklen_t length = sizeof address;
  getsockname(probe, reinterpret_cast<sockaddr*>(&address), &length);
  close(probe);
  return ntohs(address.sin_port);
}

class ProcessGroup {
 public:
  using Variables = std::map<std::string, std::string>;
  using Clock = std::chrono::steady_clock;

#ifdef LAMP_PROCESSES_WORKER
  ProcessGroup(const std::string& part, int world, Variables variables = {})
      : ProcessGroup(std::vector<std::string>{LAMP_PROCESSES_WORKER, part}, world,
                     std::move(variables)) {}
#endif
  // Program and arguments.
  ProcessGroup(std::vector<std::string> command, int world, Variables variables = {})
      : command_(std::move(command)), world_(world), variables_(std::move(variables)) {}
  ~ProcessGroup() {
    for (const auto& [rank, process] : running_) {
      kill(process, SIGKILL);
      waitpid(process, nullptr, 0);
    }
  }
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  void start_all() {
    for (int rank = 0; rank < world_; ++rank) start(rank);
  }
  void start(int rank, const Variables& own = {}) {
    Variables all = {{"RANK", std::to_string(rank)},
                     {"WORLD_SIZE", std::to_string(world_)},
                     {"LOCAL_WORLD_SIZE", std::to_string(world_)},
                     {"LOCAL_RANK", std::to_string(rank)},
                     {"MASTER_ADDR", "127.0.0.1"},
                     {"MASTER_PORT", std::to_string(port_)},
                     {"OMP_NUM_THREADS", "1"}};
    for (const auto& from : {variables_, own})
      for (const auto& [name, value] : from) all[name] = value;
    const std::string out = file(rank, "out"), err = file(rank, "err");
    const pid_t process = fork();
    if (process == 0) {
      for (const auto& [name, value] : all) setenv(name.c_str(), value.c_str(), 1);
      (void)!std::freopen(out.c_str(), "w", stdout);
      (void)!std::freopen(err.c_str(), "w", stderr);
      std::vector<char*> arguments;
      for (std::string& word : command_) arguments.push_back(word.data());
      arguments.push_back(nullptr);
      execv(arguments.front(), arguments.data());
      _exit(127);
    }
    running_[rank] = process;
  }

  // All have joined and are at work.
  void wait_until_ready() {
    for (int rank = 0; rank < world_; ++rank)
      for (int i = 0; i < 3000 && text(rank, "out").find("ready") == std::string::npos; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  void signal(int rank, int number) { kill(running_.at(rank), number); }
  // Exit code, or 128 + signal; -1 if it has not ended within so many seconds.
  int wait(int rank, double seconds = 30) {
    const auto deadline = Clock::now() + std::chrono::duration<double>(seconds);
    int status = 0;
    while (waitpid(running_.at(rank), &status, WNOHANG) == 0) {
      if (Clock::now() > deadline) return -1;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    running_.erase(rank);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  void expect_all_done() {
    for (int rank = 0; rank < world_; ++rank)
      EXPECT_EQ(wait(rank), 0) << rank << ": " << error(rank);
  }
  std::string error(int rank) const { return text(rank, "err"); }
  std::string output(int rank) const { return text(rank, "out"); }
  int port() const { return port_; }

 private:
  std::string file(int rank, const std::string& kind) const {
    return (folder_ / (kind + std::to_string(rank))).string();
  }
  std::string text(int rank, const std::string& kind) const {
    std::ostringstream all;
    all << std::ifstream(file(rank, kind)).rdbuf();
    return all.str();
  }

  std::vector<std::string> command_;
  const int world_;
  const Variables variables_;
  const int port_ = free_port();
  const TemporaryFolder folder_;
  std::map<int, pid_t> running_;
};

}  // namespace lamp::testing
