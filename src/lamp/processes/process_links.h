// A grid of replicas, stages and slabs over the processes of a world: row r of it is rank r's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lamp/pipeline/pipeline_links.h"
#include "lamp/processes/gradient_exchange.h"
#include "lamp/processes/world.h"

namespace lamp {

struct ProcessGrid {
  int replicas = 1;
  int stages = 1;
  int slabs = 1;
};

class ProcessLinks : public PipelineLinks {
 public:
  // The grid has as many rows as the world has processes; the world outlives this and all that it
  // makes.
  ProcessLinks(World& world, const ProcessGrid& grid);

  std::size_t row() const override { return static_cast<std::size_t>(world_.rank()); }
  std::size_t rows() const override { return static_cast<std::size_t>(world_.size()); }
  std::unique_ptr<Transfer> transfer(std::vector<std::string> skips) override;
  std::shared_ptr<SlabGroup> slabs(int microbatch, SlabCut cut, c10::Device device) override;
  void cancel() override { until_->cancel(); }
  void throw_if_failed() const override { world_.throw_if_failed(); }
  std::vector<std::string> gather(const std::string& own) override {
    return world_.gather_texts(own);
  }
  torch::Tensor broadcast(torch::Tensor own, std::size_t row) override;
  std::vector<torch::Tensor> gather_of_stage(torch::Tensor own) override;
  void sum_gradients(const std::vector<torch::Tensor>& parameters, std::size_t lanes) override;

 private:
  int rank_of(int replica, int stage, int slab) const {
    return (replica * grid_.stages + stage) * grid_.slabs + slab;
  }
  torch::Tensor received(int from, int tag);  // on the CPU

  World& world_;
  ProcessGrid grid_;
  int replica_, stage_, slab_;  // of this process
  StageRanks lanes_;            // of its stage
  std::shared_ptr<Cancellation> until_ = std::make_shared<Cancellation>();
};

}  // namespace lamp
