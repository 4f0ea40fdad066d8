// Forward, recomputation, backward and the weights' half of one micro-batch on one stage.
#include "lamp/pipeline/stage.h"

#include <ATen/autocast_mode.h>
#include <torch/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/utils.h>

#include <algorithm>
#include <utility>

namespace lamp {
namespace {

using torch::autograd::Edge;

bool differentiable(const torch::Tensor& tensor) {
  return tensor.is_floating_point() || tensor.is_complex();
}

Edge edge_of(const torch::Tensor& tensor) {
  return tensor.requires_grad() ? torch::autograd::impl::gradient_edge(tensor) : Edge();
}

// Layers may share a parameter.
bool is_among(const torch::Tensor& tensor, const std::vector<torch::Tensor>& tensors) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const torch::Tensor& other) { return other.is_same(tensor); });
}

// Gives buffers their values back without telling autograd, which remembers running statistics for
// a backward pass although training never reads them there.
void put_back(const std::vector<torch::Tensor>& buffers, const std::vector<torch::Tensor>& values) {
  const at::AutoDispatchBelowADInplaceOrView untracked;
  const c10::InferenceMode no_gradients(false);
  for (std::size_t i = 0; i < values.size(); ++i) buffers[i].copy_(values[i]);
}

std::vector<torch::Tensor> copies(const std::vector<torch::Tensor>& tensors) {
  const torch::NoGradGuard no_gradients;
  std::vector<torch::Tensor> result;
  for (const torch::Tensor& tensor : tensors) result.push_back(tensor.clone());
  return result;
}

}  // namespace

// Where the graph of a stage begins: keeps the gradient of what arrived just as it comes. A leaf
// tensor would do, but torch brings a leaf's gradient into the leaf's memory layout, and on another
// layout the kernels before the cut round otherwise than in one graph.
struct Stage::Arrival : torch::autograd::Node {
  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    gradient = std::move(gradients[0]);
    // A view, such as a concatenation's part of its gradient, would keep all of that until the
    // stage that it is for is done with it.
    if (gradient.defined() && gradient.storage().nbytes() > gradient.nbytes())
      gradient = gradient.clone();
    return {};
  }
  torch::Tensor gradient;
};

// The stage's side of the skips: its own stay in a map, the others are sent and received.
class Stage::Skips : public SkipPort {
 public:
  Skips(Stage& stage, InFlight& state, int microbatch, bool first_time)
      : stage_(stage), state_(state), microbatch_(microbatch), first_time_(first_time) {}

  void stash(const std::string& name, torch::Tensor tensor) override {
    const auto to = stage_.outgoing_.find(name);
    if (to == stage_.outgoing_.end()) {
      local_.stash(name, std::move(tensor));
      return;
    }
    Sent& sent = state_.stashed[name];
    sent.edge = edge_of(tensor);
    if (!first_time_) return;
    sent.wants_gradient = stage_.wants_gradient(state_, tensor, microbatch_);
    stage_.skip_bytes_ += static_cast<std::int64_t>(tensor.nbytes());
    stage_.transfer_.send({Cargo::kActivation, stage_.index(), to->second, name}, microbatch_,
                          {tensor.detach(), sent.wants_gradient});
  }

  torch::Tensor pop(const std::string& name) override {
    const auto from = stage_.incoming_.find(name);
    if (from == stage_.incoming_.end()) return local_.pop(name);
    Arrived& arrived = state_.popped[name];
    if (first_time_)
      arrived =
          stage_.receive({Cargo::kActivation, from->second, stage_.index(), name}, microbatch_);
    torch::Tensor tensor = arrived.tensor;
    if (!stage_.step_->training) arrived.tensor.reset();
    return tensor;
  }

 private:
  Stage& stage_;
  InFlight& state_;
  int microbatch_;
  bool first_time_;
  LocalSkips local_;
};

Stage::Stage(std::shared_ptr<Sequence> chain, const Partition& partition,
             const StageOptions& options, Transfer& transfer)
    : chain_(std::move(chain)), options_(options), transfer_(transfer) {
  for (const SkipTransfer& skip : skip_transfers(*chain_, partition)) {
    const auto j = static_cast<std::size_t>(index());
    if (skip.to_stage == j) incoming_[skip.name] = static_cast<int>(skip.from_stage);
    if (skip.from_stage == j) outgoing_[skip.name] = static_cast<int>(skip.to_stage);
  }
  for (const Skip& skip : chain_->skips())
    if (outgoing_.contains(skip.name)) outgoing_order_.push_back(skip.name);
  const auto popped_at = [&](const std::string& name) {
    return std::find_if(chain_->skips().begin(), chain_->skips().end(),
                        [&](const Skip& skip) { return skip.name == name; })
        ->to;
  };
  std::stable_sort(
      outgoing_order_.begin(), outgoing_order_.end(),
      [&](const std::string& a, const std::string& b) { return popped_at(a) > popped_at(b); });
  for (std::size_t link = options.links.first; link < options.links.last; ++link) {
    chain_->layers()[link]->to(options.device);
    for (const torch::Tensor& parameter : chain_->layers()[link]->parameters())
      if (!is_among(parameter, parameters_)) parameters_.push_back(parameter);
    if (!options.keeps_buffers) continue;
    for (const torch::Tensor& buffer : chain_->layers()[link]->buffers())
      buffers_.push_back(buffer);
  }
}

void Stage::begin(StepState& step) {
  step_ = &step;
  buffers_before_ = step.training ? copies(buffers_) : std::vector<torch::Tensor>();
  in_flight_.clear();
  slabs_.clear();
  statistics_.clear();
  events_.clear();
  flying_ = peak_in_flight_ = backwards_ = 0;
  boundary_bytes_ = skip_bytes_ = 0;
  link_ = options_.links.first;
}

void Stage::finish() {
  in_flight_.clear();
  step_ = nullptr;
}

void Stage::rollback() {
  in_flight_.clear();
  statistics_.clear();
  put_back(buffers_, buffers_before_);
  step_ = nullptr;
}

std::int64_t Stage::halo_bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [microbatch, slabs] : slabs_) bytes += slabs->sent_bytes();
  return bytes;
}

std::shared_ptr<SlabGroup> Stage::slabs_of(int microbatch) {
  if (options_.make_slabs == nullptr) return nullptr;
  auto& slabs = slabs_[microbatch];
  if (slabs == nullptr)
    slabs = options_.make_slabs(microbatch, step_->cuts[static_cast<std::size_t>(microbatch)]);
  return slabs;
}

double Stage::now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - step_->start).count();
}

void Stage::run(const Action& action) {
  switch (action.kind) {
    case ActionKind::kForward:
      return forward(action.microbatch);
    case ActionKind::kBackward:
      return backward(action.microbatch);
    case ActionKind::kWeight:
      return weight(action.microbatch);
  }
}

bool Stage::recomputes_now(int microbatch) const {
  return step_->training &&
         recomputes(options_.recompute, microbatch, static_cast<int>(step_->parts.size()));
}

Route Stage::boundary(Cargo cargo, bool ahead) const {
  const int other = index() + (ahead ? 1 : -1);
  const bool outward = (cargo == Cargo::kActivation) == ahead;
  return {cargo, outward ? index() : other, outward ? other : index(), ""};
}

Stage::Arrived Stage::arrive(torch::Tensor tensor, bool wants_gradient) {
  Arrived arrived{.tensor = std::move(tensor)};
  if (!wants_gradient) return arrived;
  arrived.node = std::make_shared<Arrival>();
  arrived.node->add_input_metadata(arrived.tensor);
  torch::autograd::impl::set_gradient_edge(arrived.tensor, {arrived.node, 0});
  return arrived;
}

Stage::Arrived Stage::receive(const Route& route, int microbatch) {
  Packet packet = transfer_.receive(route, microbatch, options_.device);
  return arrive(std::move(packet.tensor), packet.wants_gradient);
}

Stage::Arrived Stage::receive_input(int microbatch) {
  if (!is_first()) return receive(boundary(Cargo::kActivation, false), microbatch);
  const torch::Tensor& input = step_->inputs[static_cast<std::size_t>(microbatch)];
  return arrive(input.detach().to(options_.device), step_->training && input.requires_grad());
}

// Where there is no graph yet because it will be built by recomputation, anything that could want
// a gradient is taken to want one.
bool Stage::wants_gradient(const InFlight& state, const torch::Tensor& tensor,
                           int microbatch) const {
  if (!step_->training || !differentiable(tensor)) return false;
  if (!recomputes_now(microbatch)) return tensor.requires_grad();
  const auto wants = [](const torch::Tensor& parameter) { return parameter.requires_grad(); };
  return state.input.node != nullptr ||
         std::any_of(parameters_.begin(), parameters_.end(), wants) ||
         std::any_of(state.popped.begin(), state.popped.end(),
                     [](const auto& skip) { return skip.second.node != nullptr; });
}

torch::Tensor Stage::run_links(InFlight& state, int microbatch, bool first_time) {
  const torch::AutoGradMode gradients(step_->training &&
                                      !(first_time && recomputes_now(microbatch)));
  std::vector<NormStatistics> ignored;
  RunContext context{.seed = step_->seed,
                     .step = step_->step,
                     .microbatch = step_->first_microbatch + microbatch,
                     .training = step_->training};
  context.slabs = slabs_of(microbatch);
  if (context.slabs)
    context.planes = step_->planes[static_cast<std::size_t>(microbatch)][options_.links.first];
  if (step_->collects_statistics) context.statistics = first_time ? &statistics_ : &ignored;
  if (options_.split_backward && step_->training) {
    state.weight_tasks = std::make_shared<WeightTasks>();
    context.weight_tasks = state.weight_tasks;
  }
  const RunScope scope(context);
  Skips skips(*this, state, microbatch, first_time);
  torch::Tensor tensor = state.input.tensor;
  if (!step_->training) state.input.tensor.reset();
  const std::int64_t samples = tensor.size(0);
  for (link_ = options_.links.first; link_ < options_.links.last; ++link_) {
    if (*step_->cancelled) throw Cancelled();
    if (step_->between_links) step_->between_links();
    if (options_.sum != nullptr && first_time)
      options_.sum->await_weights(options_.lane, *chain_->layers()[link_]);
    tensor = chain_->run(std::move(tensor), link_, link_ + 1, skips);
    TORCH_CHECK(tensor.defined() && tensor.dim() > 0 && tensor.size(0) == samples, "layer ",
                link_name(), " turns a batch of ", samples, " samples into ",
                tensor.defined() ? c10::str(tensor.sizes()) : "nothing",
                "; the first dimension must stay");
  }
  link_ = options_.links.last - 1;
  return tensor;
}

void Stage::forward(int microbatch) {
  InFlight& state = in_flight_[microbatch];
  state.input = receive_input(microbatch);
  const double start = now();
  torch::Tensor output = run_links(state, microbatch, /*first_time=*/true);
  peak_in_flight_ = std::max(peak_in_flight_, ++flying_);
  if (!is_last()) {
    state.output = {edge_of(output), wants_gradient(state, output, microbatch)};
    boundary_bytes_ += static_cast<std::int64_t>(output.nbytes());
    events_.push_back({row(), WorkKind::kForward, microbatch, start, now()});
    transfer_.send(boundary(Cargo::kActivation, true), microbatch,
                   {output.detach(), state.output.wants_gradient});
  } else {
    if (step_->loss == nullptr) step_->outputs[static_cast<std::size_t>(microbatch)] = output;
    if (step_->training && !recomputes_now(microbatch)) state.result = output;
    events_.push_back({row(), WorkKind::kForward, microbatch, start, now()});
  }
  if (!step_->training) {
    in_flight_.erase(microbatch);
    --flying_;
  }
}

// Begins before the gradient has arrived, so that it hides in the waiting.
void Stage::run_again(InFlight& state, int microbatch) {
  const double start = now();
  const auto buffers = copies(buffers_);
  torch::Tensor output = run_links(state, microbatch, /*first_time=*/false);
  put_back(buffers_, buffers);
  if (is_last())
    state.result = output;
  else
    state.output.edge = edge_of(output);
  events_.push_back({row(), WorkKind::kRecompute, microbatch, start, now()});
}

void Stage::add_loss_root(InFlight& state, int microbatch,
                          std::vector<torch::autograd::Edge>& roots,
                          std::vector<torch::Tensor>& gradients) {
  const auto i = static_cast<std::size_t>(microbatch);
  const MicroBatch& part = step_->parts[i];
  const torch::Tensor loss = (*step_->loss)(state.result, {part, slabs_of(microbatch).get()});
  state.result.reset();
  TORCH_CHECK(loss.defined() && loss.numel() == 1, "the loss must be a single number, found ",
              loss.defined() ? c10::str(loss.sizes()) : "nothing");
  step_->losses[i] = loss.detach();
  if (!loss.requires_grad()) return;
  const double share = static_cast<double>(part.count) / static_cast<double>(step_->samples);
  roots.push_back(edge_of(loss));
  gradients.push_back(torch::full_like(loss, share * step_->gradient_scale));
}

// Skips first, the one that is popped last in front: the order in which one graph over the whole
// chain adds the gradients of a tensor that several others want, so that the bits are the same.
double Stage::run_graph(InFlight& state, int microbatch) {
  torch::autograd::edge_list roots;
  std::vector<torch::Tensor> gradients;
  const auto add = [&](const Route& route, Sent& sent) {
    if (!sent.wants_gradient) return;
    torch::Tensor gradient = transfer_.receive(route, microbatch, options_.device).tensor;
    if (!gradient.defined() || sent.edge.function == nullptr) return;
    roots.push_back(std::move(sent.edge));
    gradients.push_back(std::move(gradient));
  };
  for (const std::string& name : outgoing_order_)
    add({Cargo::kGradient, outgoing_.at(name), index(), name}, state.stashed[name]);
  if (!is_last()) add(boundary(Cargo::kGradient, true), state.output);
  const double start = now();
  if (is_last()) add_loss_root(state, microbatch, roots, gradients);
  if (*step_->cancelled) throw Cancelled();
  if (!roots.empty())
    torch::autograd::Engine::get_default_engine().execute(
        roots, gradients, /*keep_graph=*/false, /*create_graph=*/false, /*accumulate_grad=*/true);
  return start;
}

void Stage::send_back(InFlight& state, int microbatch) {
  for (auto& [name, skip] : state.popped)
    if (skip.node != nullptr)
      transfer_.send({Cargo::kGradient, index(), incoming_.at(name), name}, microbatch,
                     {std::move(skip.node->gradient)});
  if (state.input.node == nullptr) return;
  torch::Tensor gradient = std::move(state.input.node->gradient);
  if (is_first())
    step_->input_gradients[static_cast<std::size_t>(microbatch)] = std::move(gradient);
  else
    transfer_.send(boundary(Cargo::kGradient, false), microbatch, {std::move(gradient)});
}

void Stage::backward(int microbatch) {
  InFlight& state = in_flight_.at(microbatch);
  if (recomputes_now(microbatch)) run_again(state, microbatch);
  // Losses and gradients are outside of autocast, as in a plain run.
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  const torch::AutoGradMode gradients(true);
  // Weights' halves add to gradients without torch's engine, after the last backward pass, too.
  const bool is_last_one = ++backwards_ == static_cast<int>(step_->parts.size());
  if (is_last_one && options_.sum != nullptr && !options_.split_backward)
    options_.sum->begin_last_backward(options_.lane);
  const double start = run_graph(state, microbatch);
  events_.push_back({row(), WorkKind::kBackward, microbatch, start, now()});
  send_back(state, microbatch);
  --flying_;
  InFlight done = std::move(state);
  in_flight_.erase(microbatch);
  if (done.weight_tasks) in_flight_[microbatch].weight_tasks = std::move(done.weight_tasks);
}

void Stage::weight(int microbatch) {
  const auto found = in_flight_.find(microbatch);
  if (found == in_flight_.end()) return;
  const double start = now();
  const torch::NoGradGuard no_gradients;
  const c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
  for (auto& task : *found->second.weight_tasks) {
    if (*step_->cancelled) throw Cancelled();
    std::exchange(task, nullptr)();  // what it holds is freed at once
  }
  events_.push_back({row(), WorkKind::kWeight, microbatch, start, now()});
  in_flight_.erase(found);
}

void Stage::sum_gradients() {
  if (options_.sum != nullptr && step_->training) options_.sum->finish(options_.lane);
}

}  // namespace lamp
