// A network of one's own as a chain of layers with a long skip, trained over two devices for some
// steps. It learns to find the bright voxels of noise; the loss is printed and must fall.
// Usage: train_chain [DEVICE,DEVICE], such as cuda:0,cuda:1; default: two stages on the CPU.
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/conv.h>
#include <torch/optim/sgd.h>

#include <cstdlib>
#include <iostream>

#include "lamp/base/device.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/sequence/sequence.h"
#include "lamp/sequence/skip_layers.h"

namespace {

std::shared_ptr<lamp::Sequence> make_chain() {
  using torch::nn::Conv3d;
  using torch::nn::Conv3dOptions;
  const auto relu = [](torch::Tensor input) { return torch::relu(input); };
  return std::make_shared<lamp::Sequence>(std::vector<lamp::Link>{
      {"first", lamp::as_layer(Conv3d(Conv3dOptions(1, 8, 3).padding(1)), relu)},
      {"keep", std::make_shared<lamp::StashSkip>("long")},
      {"middle", lamp::as_layer(Conv3d(Conv3dOptions(8, 8, 3).padding(1)), relu)},
      {"join", std::make_shared<lamp::ConcatSkip>("long")},
      {"last", lamp::as_layer(Conv3d(Conv3dOptions(16, 2, 1)))}});
}

int train(const std::string& devices) {
  torch::manual_seed(1);
  const torch::Tensor image = torch::randn({4, 1, 16, 16, 16});
  const torch::Tensor label = image.squeeze(1).gt(0.5).to(torch::kLong);

  lamp::Pipeline pipeline(make_chain(), {.devices = lamp::parse_devices(devices),
                                         .partition = lamp::partition_by_counts({2, 3}, 5),
                                         .microbatches = 2});
  torch::optim::SGD optimizer(pipeline.chain().parameters(),
                              torch::optim::SGDOptions(0.3).momentum(0.9));
  double first = 0, last = 0;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const lamp::StepResult result =
        pipeline.step(image, [&](const torch::Tensor& output, const lamp::MicroBatch& part) {
          const torch::Tensor expected = label.narrow(0, part.first, part.count);
          return torch::nn::functional::cross_entropy(output, expected.to(output.device()));
        });
    optimizer.step();
    last = result.loss;
    if (step == 0) first = last;
    std::cout << "step " << step << "  loss " << last << "\n";
  }
  return last < first / 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return train(argc > 1 ? argv[1] : "cpu,cpu");
  } catch (const std::exception& error) {
    std::cerr << "train_chain: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
