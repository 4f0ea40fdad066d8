// Where the processes of a run meet: addresses, without a word spoken over them yet.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace lamp {

// An address in numbers of the host `name`. Throws Error that says what to check.
std::string numeric_address(const std::string& name, int port);

bool is_loopback(const std::string& numeric);

// A socket bound to the port, for rank 0 to listen on: at that address alone, or everywhere where
// the name stands for this machine itself (127.*) though other machines have to reach it. Throws
// Error where the port is taken or the address is not this machine's.
int bound_socket(const std::string& numeric, int port, bool everywhere);

// Returns when something listens there. Throws Error after the deadline.
void wait_for_listener(const std::string& numeric, int port,
                       std::chrono::steady_clock::time_point deadline);

// This machine's address on the way there; no packet is sent.
std::string own_address_towards(const std::string& numeric, int port);

// What a process tells the others when it joins.
struct Presence {
  std::string host;         // its machine's name
  std::string own_address;  // in numbers, on the way to rank 0
  std::string rank_0;       // the address of rank 0, as seen there
};

// Where the others reach process `rank`: its own address; where that is the loopback's and others
// are on other machines, it is on rank 0's machine, and reached as those reach rank 0.
std::string reachable_address(const std::vector<Presence>& all, int rank);

// "node1:29500", "[::1]:29500".
std::string place_text(const std::string& address, int port);

}  // namespace lamp
