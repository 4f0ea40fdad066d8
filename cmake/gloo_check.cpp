// Whether this torch and these headers of Gloo go together: two ranks of one process add a number
// each and swap one.
#include <torch/types.h>
#include <unistd.h>

#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <vector>

int main() {
  alarm(60);  // it has hung
  auto store = c10::make_intrusive<c10d::HashStore>();
  std::vector<int> right(2);
  const auto run = [&](int rank) {
    auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::seconds(20));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    c10d::ProcessGroupGloo group(store, rank, 2, options);
    std::vector<at::Tensor> sum{torch::full({4}, rank + 1.0F)},
        swapped{torch::full({4}, rank + 1.0F)};
    group.allreduce(sum)->wait();
    std::vector<at::Tensor> other{torch::zeros({4})};
    const auto receiving = group.recv(other, 1 - rank, 5);
    group.send(swapped, 1 - rank, 5)->wait();
    receiving->wait();
    right[rank] = sum[0][3].item<float>() == 3 && other[0][3].item<float>() == 2.0F - rank;
  };
  std::thread other(run, 1);
  run(0);
  other.join();
  return right[0] && right[1] ? 0 : 1;
}
