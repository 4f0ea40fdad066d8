// A network of one's own as a chain of layers with a long skip, trained for some steps. It learns
// to find the bright voxels of noise; the loss is printed and must fall.
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/conv.h>
#include <torch/optim/sgd.h>

#include <cstdlib>
#include <iostream>

#include "lamp/sequence/sequence.h"
#include "lamp/sequence/skip_layers.h"

namespace {

lamp::Sequence make_chain() {
  using torch::nn::Conv3d;
  using torch::nn::Conv3dOptions;
  const auto relu = [](torch::Tensor input) { return torch::relu(input); };
  return lamp::Sequence(
      {{"first", lamp::as_layer(Conv3d(Conv3dOptions(1, 8, 3).padding(1)), relu)},
       {"keep", std::make_shared<lamp::StashSkip>("long")},
       {"middle", lamp::as_layer(Conv3d(Conv3dOptions(8, 8, 3).padding(1)), relu)},
       {"join", std::make_shared<lamp::ConcatSkip>("long")},
       {"last", lamp::as_layer(Conv3d(Conv3dOptions(16, 2, 1)))}});
}

}  // namespace

int main() {
  torch::manual_seed(1);
  lamp::Sequence chain = make_chain();
  torch::optim::SGD optimizer(chain.parameters(), torch::optim::SGDOptions(0.3).momentum(0.9));
  const torch::Tensor image = torch::randn({2, 1, 16, 16, 16});
  const torch::Tensor label = image.squeeze(1).gt(0.5).to(torch::kLong);
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const torch::Tensor loss = torch::nn::functional::cross_entropy(chain.forward(image), label);
    loss.backward();
    optimizer.step();
    last = loss.item<double>();
    if (step == 0) first = last;
    std::cout << "step " << step << "  loss " << last << "\n";
  }
  return last < first / 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
