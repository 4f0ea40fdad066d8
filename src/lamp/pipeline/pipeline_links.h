// What a pipeline needs of other processes where each runs one row of the grid of replicas, stages
// and slabs (rows in the order of PipelineOptions::devices): its own stage of its own lane. Whoever
// knows the other processes implements it.
//
// Every call may throw what the others' failure is; then the run is over.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "lamp/pipeline/transfer.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

class PipelineLinks {
 public:
  virtual ~PipelineLinks() = default;

  virtual std::size_t row() const = 0;   // this process's
  virtual std::size_t rows() const = 0;  // in all

  // Between this lane's stages. skips: names of the chain's skips, in its order.
  virtual std::unique_ptr<Transfer> transfer(std::vector<std::string> skips) = 0;
  // Of a micro-batch of this stage; made anew for each in every step.
  virtual std::shared_ptr<SlabGroup> slabs(int microbatch, SlabCut cut, c10::Device device) = 0;
  // Lets every wait of this process end, for good: its stage has failed.
  virtual void cancel() = 0;
  virtual void throw_if_failed() const = 0;

  // Calls of all rows, in the same order everywhere.
  virtual std::vector<std::string> gather(const std::string& own) = 0;  // by row
  // The row's tensor, on the CPU; others give anything.
  virtual torch::Tensor broadcast(torch::Tensor own, std::size_t row) = 0;

  // Calls of all rows of a stage. By lane; undefined where that one gave nothing.
  virtual std::vector<torch::Tensor> gather_of_stage(torch::Tensor own) = 0;
  // The first `lanes` lanes' gradients of the stage's parameters become their sum in lane order, in
  // every lane: the bits that GradientSum gives.
  virtual void sum_gradients(const std::vector<torch::Tensor>& parameters, std::size_t lanes) = 0;
};

}  // namespace lamp
