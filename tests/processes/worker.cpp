// One process of a run, for the tests: joins as its environment says, plays the part that its
// argument names, and ends as the program would.
#include <torch/types.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "lamp/pipeline/in_process_slabs.h"
#include "lamp/processes/process_slabs.h"
#include "lamp/processes/process_transfer.h"
#include "lamp/processes/same_everywhere.h"
#include "lamp/processes/world.h"

namespace lamp {
namespace {

constexpr int kTag = kFirstTag;

void expect(bool is_so, const std::string& what) {
  if (!is_so) throw Error("wrong: " + what);
}

void say(const std::string& line) { std::cout << line << std::endl; }

bool same_bits(const torch::Tensor& a, const torch::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  if (a.sizes() != b.sizes() || a.scalar_type() != b.scalar_type()) return false;
  const torch::Tensor x = a.contiguous(), y = b.contiguous();
  return x.nbytes() == 0 || std::memcmp(x.data_ptr(), y.data_ptr(), x.nbytes()) == 0;
}

// The same in every process.
std::vector<torch::Tensor> known_tensors() {
  torch::manual_seed(3);
  std::vector<torch::Tensor> tensors = {torch::Tensor()};
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kFloat16, torch::kBFloat16, torch::kInt8,
        torch::kUInt8, torch::kInt16, torch::kInt32, torch::kInt64, torch::kBool}) {
    tensors.push_back((torch::randn({2, 3, 9, 11, 13}) * 50).to(type));
    tensors.push_back((torch::randn({3}) * 50).to(type));
  }
  tensors.push_back(torch::empty({0, 3}));
  tensors.push_back(torch::randn({2, 8, 6, 10, 12}).to(at::MemoryFormat::ChannelsLast3d));
  tensors.push_back(torch::randn({2, 8, 6, 10, 12}).narrow(2, 1, 3));
  tensors.push_back(torch::randn({1, 16, 64, 64, 64}));  // 16 MiB: many pieces of a socket
  return tensors;
}

// Stage 0 and 2 in rank 0, stage 1 in rank 1: there and back, with a skip past stage 1 in one
// process and one from stage 0 to stage 1.
void send_tensors(World& world) {
  ProcessTransfer transfer(world, {.stage_ranks = {0, 1, 0}, .skips = {"a", "b"}, .lane = 3});
  transfer.reset(2);
  const auto tensors = known_tensors();
  const Route there{Cargo::kActivation, 0, 1, ""}, back{Cargo::kGradient, 1, 0, ""},
      skip{Cargo::kActivation, 0, 1, "b"}, local{Cargo::kActivation, 0, 2, "a"};
  const bool first = world.rank() == 0;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const int number = static_cast<int>(i);
    if (first) {
      transfer.send(skip, number, {tensors[tensors.size() - 1 - i], false});
      transfer.send(there, number, {tensors[i], true});
      transfer.send(local, number, {tensors[i], true});
      expect(same_bits(transfer.receive(local, number, c10::kCPU).tensor, tensors[i]), "local");
      expect(same_bits(transfer.receive(back, number, c10::kCPU).tensor, tensors[i]), "gradient");
    } else {
      const Packet packet = transfer.receive(there, number, c10::kCPU);
      expect(packet.wants_gradient, "wants a gradient");
      expect(same_bits(packet.tensor, tensors[i]), "activation " + std::to_string(i));
      if (packet.tensor.defined() && tensors[i].is_non_overlapping_and_dense())
        expect(packet.tensor.strides() == tensors[i].strides(), "strides " + std::to_string(i));
      const Packet other = transfer.receive(skip, number, c10::kCPU);
      expect(!other.wants_gradient && same_bits(other.tensor, tensors[tensors.size() - 1 - i]),
             "skip");
      transfer.send(back, number, {packet.tensor});
    }
  }
}

// Two activations may wait; the third send has to.
void keep_slots(World& world) {
  const Route there{Cargo::kActivation, 0, 1, ""};
  ProcessTransfer transfer(world, {.stage_ranks = {0, 1}});
  transfer.reset(2);
  const torch::Tensor go = torch::ones({1});
  if (world.rank() == 1) {
    world.receive_into(go, 0, kTag);
    for (int i = 0; i < 3; ++i)
      expect(transfer.receive(there, i, c10::kCPU).tensor.item<int>() == i, "order");
    return;
  }
  for (int i = 0; i < 2; ++i) transfer.send(there, i, {torch::tensor(i)});
  std::atomic<bool> is_sent = false;
  std::thread third([&] {
    transfer.send(there, 2, {torch::tensor(2)});
    is_sent = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const bool was_sent = is_sent;
  world.send(go, 1, kTag);
  third.join();
  expect(!was_sent, "the third send did not wait");
}

void cancel_waits(World& world) {
  ProcessTransfer transfer(world, {.stage_ranks = {0, 1}});
  const Route nothing{world.rank() == 0 ? Cargo::kGradient : Cargo::kActivation, 1 - world.rank(),
                      world.rank(), ""};
  std::thread cancelling([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    transfer.cancel();
  });
  bool is_cancelled = false;
  try {
    transfer.receive(nothing, 0, c10::kCPU);
  } catch (const Cancelled&) {
    is_cancelled = true;
  }
  cancelling.join();
  expect(is_cancelled, "the wait did not end with Cancelled");
  world.barrier();  // the world itself goes on
}

// Something that no other version or program may say.
void send_nonsense(World& world) {
  const Route there{Cargo::kActivation, 0, 1, ""};
  const LanePlace place{.stage_ranks = {0, 1}};
  if (world.rank() == 0) {
    world.send(torch::full({4096}, 7, torch::kByte), 1, kFirstTransferTag);
    world.barrier();
  } else {
    ProcessTransfer(world, place).receive(there, 0, c10::kCPU);
  }
}

torch::Tensor for_slab(int from, int to, int round) {
  torch::manual_seed(1000 * round + 10 * from + to);
  if ((from + to + round) % 5 == 0) return {};
  return torch::randn({1, 2 + round, 1 + to, 30, 40}).to(at::MemoryFormat::ChannelsLast3d);
}

// Sums of the same parts by threads of one process.
std::vector<torch::Tensor> sums_in_one_process(const std::vector<torch::Tensor>& parts,
                                               const SlabCut& cut) {
  const auto meeting = std::make_shared<SlabMeeting>(static_cast<int>(parts.size()));
  std::vector<torch::Tensor> sums(parts.size());
  std::vector<std::thread> threads;
  for (std::size_t slab = 0; slab < parts.size(); ++slab)
    threads.emplace_back([&, slab] {
      InProcessSlabs group(meeting, 0, static_cast<int>(slab), cut, c10::kCPU);
      sums[slab] = sum_over_slabs(group, parts[slab]);
    });
  for (std::thread& thread : threads) thread.join();
  return sums;
}

// The order of slabs is not that of ranks.
void exchange_slabs(World& world) {
  const int slabs = world.size();
  SlabPlace place{.slab_ranks = {}, .stage = 2, .replica = 1};
  for (int slab = 0; slab < slabs; ++slab) place.slab_ranks.push_back((slab + 1) % slabs);
  SlabCut cut{.axis = 2, .boundaries = {0}};
  for (int slab = 0; slab < slabs; ++slab) cut.boundaries.push_back(8 * (slab + 1));
  ProcessSlabs group(world, std::make_shared<Cancellation>(), place, 5, cut, c10::kCPU);
  expect(group.rank() == (world.rank() + slabs - 1) % slabs, "the slab of this rank");
  std::int64_t bytes = 0;
  for (int round = 0; round < 60; ++round) {
    std::vector<torch::Tensor> outgoing;
    for (int to = 0; to < slabs; ++to) {
      outgoing.push_back(for_slab(group.rank(), to, round % 7));
      if (to != group.rank() && outgoing.back().defined())
        bytes += static_cast<std::int64_t>(outgoing.back().nbytes());
    }
    const auto incoming = group.all_to_all(std::move(outgoing));
    for (int from = 0; from < slabs; ++from)
      expect(same_bits(incoming[static_cast<std::size_t>(from)],
                       for_slab(from, group.rank(), round % 7)),
             "round " + std::to_string(round) + " from slab " + std::to_string(from));
  }
  expect(group.sent_bytes() == bytes, "bytes sent");
  torch::manual_seed(9);
  std::vector<torch::Tensor> parts;
  for (int slab = 0; slab < slabs; ++slab) parts.push_back(torch::randn({2, 320}) * 1e3);
  const auto own = static_cast<std::size_t>(group.rank());
  expect(same_bits(sum_over_slabs(group, parts[own]), sums_in_one_process(parts, cut)[own]),
         "sums");
}

void exchange_texts(World& world) {
  const std::string own = "text of " + std::to_string(world.rank());
  const auto all = world.gather_texts(own);
  expect(static_cast<int>(all.size()) == world.size(), "a text of each");
  for (int rank = 0; rank < world.size(); ++rank)
    expect(all[static_cast<std::size_t>(rank)] == "text of " + std::to_string(rank),
           "texts by rank");
  const std::string plan(1 << 20, 'p');
  expect(world.broadcast_text(world.rank() == 0 ? plan : "mine") == plan, "rank 0's text");
  expect(world.broadcast_text("").empty(), "an empty text");
  expect(world.local_size() == world.size() && world.local_rank() == world.rank(), "one machine");
  expect(world.name(1) == "rank 1 on " + host_name(), "a name");
  world.barrier();
}

// Many threads at once, each with a tag of its own.
void talk_from_threads(World& world) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int thread = 0; thread < 6; ++thread)
    threads.emplace_back([&, thread] {
      for (int round = 0; round < 50; ++round) {
        const torch::Tensor out = torch::full({1 + 1000 * thread}, 100.0 * round + world.rank());
        const torch::Tensor in = torch::zeros_like(out);
        const int other = 1 - world.rank();
        Message receiving = world.irecv(in, other, kTag + thread);
        world.send(out, other, kTag + thread);
        receiving.wait();
        if (!torch::equal(in, torch::full_like(in, 100.0 * round + other))) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  expect(wrong == 0, "messages of threads");
}

// Until another process ends it. Rank 1 fails by itself if LAMP_TEST_FAILS is set.
void wait_for_the_end(World& world) {
  world.note_progress("in step 41");
  say("ready");
  const char* fails = std::getenv("LAMP_TEST_FAILS");
  if (fails != nullptr && world.rank() == 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    throw Error(fails, kExitInput);
  }
  world.receive_into(torch::zeros({1}), (world.rank() + 1) % world.size(), kTag);
}

// The same without a message.
void compute_until_the_end(World& world) {
  say("ready");
  while (true) {
    world.throw_if_failed();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// Rank 0 goes at once; the others still work for longer than silence may last.
void leave_one_by_one(World& world) {
  std::this_thread::sleep_for(std::chrono::milliseconds(700 * world.rank()));
}

// Waits last as long as they must, whatever time the connecting was given.
void wait_for_long(World& world) {
  const double connect_s = std::atof(std::getenv("LAMP_TEST_CONNECT"));
  const torch::Tensor number = torch::ones({1});
  if (world.rank() == 0) return world.receive_into(number, 1, kTag);
  std::this_thread::sleep_for(std::chrono::duration<double>(connect_s + 1));
  world.send(number, 0, kTag);
}

// A process that goes without a word to the world.
void unwind(World& world) {
  if (world.rank() == 1) throw std::runtime_error("a bug");
  world.receive_into(torch::zeros({1}), 1, kTag);
}

void leave_early(World& world) {
  if (world.rank() == 0) world.receive_into(torch::zeros({1}), 1, kTag);
}

void compare(World& world) {
  const char* version = std::getenv("LAMP_TEST_VERSION");
  check_same_everywhere(world, {{"program version", version == nullptr ? "0.2.0" : version},
                                {"configuration", "abc"}});
}

void pair_of_processes(World& world) {
  send_tensors(world);
  keep_slots(world);
  talk_from_threads(world);
  cancel_waits(world);
}

void four_processes(World& world) {
  exchange_texts(world);
  exchange_slabs(world);
}

const std::map<std::string, std::function<void(World&)>> kParts = {
    {"pair", pair_of_processes}, {"four", four_processes},   {"texts", exchange_texts},
    {"nonsense", send_nonsense}, {"wait", wait_for_the_end}, {"compute", compute_until_the_end},
    {"leave", leave_one_by_one}, {"long", wait_for_long},    {"unwind", unwind},
    {"early", leave_early},      {"compare", compare}};

// In place of torchrun's agent: keeps the store for all ranks, until it is killed.
void keep_store() {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(std::atoi(std::getenv("MASTER_PORT")));
  options.isServer = true;
  options.waitWorkers = false;
  const auto store = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  say("ready");
  while (true) pause();
}

double seconds_of(const char* variable, double otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atof(text);
}

void play(const std::string& part) {
  if (part == "keep") keep_store();
  const auto launch = read_launch([](const char* name) { return std::getenv(name); }, host_name());
  expect(launch.has_value(), "no launcher");
  const auto world = World::join(*launch, {.connect_s = seconds_of("LAMP_TEST_CONNECT", 30),
                                           .silent_s = seconds_of("LAMP_TEST_SILENT", 120)});
  try {
    kParts.at(part)(*world);
  } catch (const WorldFailed&) {
    throw;
  } catch (const Error& error) {
    if (part != "compare") world->fail(error.what(), error.exit_code());
    throw;
  }
}

int run(const std::string& part) {
  torch::set_num_threads(1);
  try {
    play(part);
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    return error.exit_code();
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return kExitRuntime;
  }
  say("done");
  return kExitOk;
}

}  // namespace
}  // namespace lamp

int main(int, char** arguments) { return lamp::run(arguments[1]); }
