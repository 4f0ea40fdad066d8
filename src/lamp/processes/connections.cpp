// The one source that speaks c10d. Meeting takes three steps: the store, a roll call over it, and
// Gloo's connections, each process with each.
#include "lamp/processes/connections.h"

#include <c10/util/Logging.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/processes/meeting_point.h"
#include "lamp/processes/text_list.h"
#include "lamp/processes/watch.h"

namespace lamp {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Store = c10::intrusive_ptr<c10d::Store>;

// Gloo's own time-out would close every connection of the group: the watch decides instead.
constexpr std::chrono::hours kNever(24 * 365);
constexpr double kLeastTimeout = 0.5;
constexpr double kPatience = 1;  // beyond the time that is given to each step

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

class StoreBoard : public Board {
 public:
  explicit StoreBoard(Store store) : store_(std::move(store)) {}
  void set(const std::string& key, const std::string& value) override {
    store_->set(key, bytes_of(value));
  }
  std::optional<std::string> get(const std::string& key) override {
    if (!store_->check({key})) return std::nullopt;
    return text_of(store_->get(key));
  }
  std::vector<std::string> get_all(const std::vector<std::string>& keys) override {
    std::vector<std::string> texts;
    for (const auto& bytes : store_->multiGet(keys)) texts.push_back(text_of(bytes));
    return texts;
  }
  std::string set_once(const std::string& key, const std::string& value) override {
    return text_of(store_->compareSet(key, {}, bytes_of(value)));
  }

 private:
  Store store_;
};

class WorkFlight : public Flight {
 public:
  explicit WorkFlight(c10::intrusive_ptr<c10d::Work> work) : work_(std::move(work)) {}
  // Without a time of its own Gloo takes that of the connecting.
  bool wait() override { return work_->wait(kNever); }
  void abort() override { work_->abort(); }

 private:
  c10::intrusive_ptr<c10d::Work> work_;
};

class GlooConnections : public Connections {
 public:
  GlooConnections(c10::intrusive_ptr<c10d::Backend> group, std::shared_ptr<Board> board,
                  std::vector<std::string> hosts)
      : group_(std::move(group)), board_(std::move(board)), hosts_(std::move(hosts)) {}

  std::shared_ptr<Flight> send(const torch::Tensor& bytes, int to, int tag) override {
    std::vector<at::Tensor> tensors{bytes};
    const std::lock_guard lock(mutex_);  // c10d counts messages without one
    return std::make_shared<WorkFlight>(group_->send(tensors, to, tag));
  }
  std::shared_ptr<Flight> receive(const torch::Tensor& bytes, int from, int tag) override {
    std::vector<at::Tensor> tensors{bytes};
    const std::lock_guard lock(mutex_);
    return std::make_shared<WorkFlight>(group_->recv(tensors, from, tag));
  }
  std::shared_ptr<Board> board() override { return board_; }
  const std::vector<std::string>& hosts() const override { return hosts_; }

 private:
  std::mutex mutex_;
  c10::intrusive_ptr<c10d::Backend> group_;
  std::shared_ptr<Board> board_;
  std::vector<std::string> hosts_;
};

// One process on its way into the run.
class Arrival {
 public:
  Arrival(const Launch& launch, double connect_s)
      : launch_(launch),
        connect_s_(connect_s),
        deadline_(Clock::now() + milliseconds(static_cast<std::int64_t>(connect_s * 1000))) {}

  std::unique_ptr<Connections> connect() {
    const Store store = open_store();
    const std::vector<Presence> all = call_the_roll(store);
    std::vector<std::string> hosts;
    for (const Presence& presence : all) hosts.push_back(presence.host);
    auto group = connect_group(store, reachable_address(all, launch_.rank));
    return std::make_unique<GlooConnections>(std::move(group), std::make_shared<StoreBoard>(store),
                                             std::move(hosts));
  }

  std::string place() const { return place_text(launch_.address, launch_.port); }

 private:
  milliseconds left() const {
    const auto time = std::chrono::duration_cast<milliseconds>(deadline_ - Clock::now());
    return std::max(time, milliseconds(static_cast<std::int64_t>(kLeastTimeout * 1000)));
  }
  bool keeps_store() const { return launch_.rank == 0 && !launch_.uses_agent_store; }
  std::string waited() const { return " within " + shortest(connect_s_) + " s"; }

  Store open_store();
  std::vector<Presence> call_the_roll(const Store& store);
  void wait_for_all(const Store& store, const std::vector<std::string>& keys);
  c10::intrusive_ptr<c10d::Backend> connect_group(const Store& store, const std::string& address);

  const Launch launch_;
  const double connect_s_;
  const Clock::time_point deadline_;
  std::string rank_0_;  // in numbers
};

// What runs share an address, one after another under a launcher that restarts, must not share
// names in the store.
Store Arrival::open_store() {
  rank_0_ = numeric_address(launch_.address, launch_.port);
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(launch_.port);
  options.waitWorkers = false;
  options.isServer = keeps_store();
  if (keeps_store()) {
    const bool is_one_machine =
        launch_.local_world == launch_.world || is_loopback(launch_.address);
    options.masterListenFd =
        bound_socket(rank_0_, launch_.port, is_loopback(rank_0_) && !is_one_machine);
  } else {
    wait_for_listener(rank_0_, launch_.port, deadline_);
  }
  options.timeout = left();
  const Store store = c10::make_intrusive<c10d::TCPStore>(rank_0_, options);
  return c10::make_intrusive<c10d::PrefixStore>(
      "lamp/" + launch_.token + "/" + std::to_string(launch_.restart_count), store);
}

void Arrival::wait_for_all(const Store& store, const std::vector<std::string>& keys) {
  try {
    store->wait(keys, left());
  } catch (const std::exception&) {
    std::vector<std::string> missing;
    for (std::size_t rank = 0; rank < keys.size(); ++rank)
      if (!store->check({keys[rank]})) missing.push_back("rank " + std::to_string(rank));
    if (missing.empty()) return;
    throw Error(joined_first(missing, 5) + " of " + std::to_string(launch_.world) +
                " processes did not come to " + place() + waited() +
                "; check that all were started, with the same MASTER_ADDR and MASTER_PORT");
  }
}

std::vector<Presence> Arrival::call_the_roll(const Store& store) {
  const std::string rank = std::to_string(launch_.rank);
  if (store->add("came/" + rank, 1) != 1)
    throw Error("rank " + rank + " has come to " + place() +
                " already: another run uses this port, or two processes have one number; set "
                "MASTER_PORT to a free port");
  StoreBoard board(store);
  Watch::first_beat(board, launch_.rank);
  board.set("here/" + rank,
            packed_texts({launch_.host, own_address_towards(rank_0_, launch_.port), rank_0_}));
  std::vector<std::string> keys;
  for (int other = 0; other < launch_.world; ++other)
    keys.push_back("here/" + std::to_string(other));
  wait_for_all(store, keys);
  std::vector<Presence> all;
  for (const std::string& text : board.get_all(keys)) {
    const std::vector<std::string> parts = unpacked_texts(text);
    if (parts.size() != 3) throw Error("a process of another version has come to " + place());
    all.push_back({parts[0], parts[1], parts[2]});
  }
  return all;
}

c10::intrusive_ptr<c10d::Backend> Arrival::connect_group(const Store& store,
                                                         const std::string& address) {
  auto options = c10d::ProcessGroupGloo::Options::create(left());
  options->threads = 1;  // for collectives, which are not used
  options->devices.push_back(
      c10d::ProcessGroupGloo::createDeviceForHostname(address, /*lazyInit=*/false));
  c10::intrusive_ptr<c10d::Backend> group = c10::make_intrusive<c10d::ProcessGroupGloo>(
      c10::make_intrusive<c10d::PrefixStore>("gloo", store), launch_.rank, launch_.world, options);
  group->setTimeout(kNever);
  return group;
}

// torch's library writes many lines with a call stack wherever a connection breaks; here that is
// one line of our own.
void quiet_c10d() {
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr)
    FLAGS_caffe2_log_level = static_cast<int>(c10::GLOG_FATAL);
}

}  // namespace

std::unique_ptr<Connections> connect_processes(const Launch& launch, double connect_s) {
  quiet_c10d();
  const auto arrival = std::make_shared<Arrival>(launch, connect_s);
  std::packaged_task<std::unique_ptr<Connections>()> task([arrival] { return arrival->connect(); });
  auto connected = task.get_future();
  // On a thread that may be left behind: a stranger at the address that accepts a connection and
  // says nothing would hold it for ever.
  std::thread(std::move(task)).detach();
  const auto patience = milliseconds(static_cast<std::int64_t>(1000 * (connect_s + kPatience)));
  try {
    if (connected.wait_for(patience) == std::future_status::ready) return connected.get();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    const std::string text = error.what();
    throw Error(
        "the processes of this run could not connect over " + arrival->place() + ": " +
        shortened(text.substr(0, text.find('\n')), 200) +
        "; another process has failed, or MASTER_ADDR and MASTER_PORT are another program's");
  }
  throw Error("no answer from rank 0 at " + arrival->place() + " within " + shortest(connect_s) +
              " s, though something listens there; check MASTER_ADDR and MASTER_PORT");
}

}  // namespace lamp
