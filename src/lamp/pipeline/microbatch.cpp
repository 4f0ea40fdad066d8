// Views, and one copy where there are several.
#include "lamp/pipeline/microbatch.h"

namespace lamp {

std::vector<torch::Tensor> scatter(const torch::Tensor& batch,
                                   const std::vector<MicroBatch>& parts) {
  std::vector<torch::Tensor> views;
  for (const MicroBatch& part : parts) views.push_back(batch.narrow(0, part.first, part.count));
  return views;
}

torch::Tensor gather(const std::vector<torch::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : torch::cat(parts);
}

}  // namespace lamp
