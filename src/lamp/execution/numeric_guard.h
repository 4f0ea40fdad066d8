// Finds where a NaN or infinity came from, so that a run that stops can name the layer.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "lamp/execution/optimizer.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/pipeline_links.h"

namespace lamp {

// L2 norm over all gradients, accumulated in double. Undefined gradients count as zero.
double gradient_norm(const NamedParameters& parameters);

// The same over all processes, each of which has the gradients of its own stage and none of others:
// a call of all. The bits are those of gradient_norm() on one device of all their threads.
double gradient_norm(const NamedParameters& parameters, PipelineLinks& links, int all_threads);

// Runs the chain link by link: the name of the first link whose output is not finite; "the input"
// if it was not; "the loss" if every link's output is finite. Changes batch-norm statistics: call
// it when the run is over.
std::string first_non_finite_layer(Network& network, const torch::Tensor& input);

// The parameter closest to the output whose gradient is not finite; empty if there is none.
std::string first_non_finite_gradient(const NamedParameters& parameters);
// Among all processes: a call of all.
std::string first_non_finite_gradient(const NamedParameters& parameters, PipelineLinks& links);

}  // namespace lamp
