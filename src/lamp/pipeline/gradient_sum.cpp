// Gradients handed over by their lanes, summed by their owners.
#include "lamp/pipeline/gradient_sum.h"

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/utils.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "lamp/pipeline/chain_copy.h"
#include "lamp/pipeline/transfer.h"

namespace lamp {
namespace {

// In lane order. The first addition makes a tensor of its own: torch may have taken a lane's
// gradient without a copy, and then its memory may still be read in that lane's backward pass.
torch::Tensor sum_in_order(const std::vector<SentTensor>& gradients, c10::Device device) {
  torch::Tensor sum;
  int summands = 0;
  for (const SentTensor& sent : gradients) {
    const torch::Tensor gradient = sent.on(device);
    if (!gradient.defined()) continue;
    ++summands;
    if (summands == 1)
      sum = gradient;
    else if (summands == 2)
      sum = sum + gradient;
    else
      sum.add_(gradient);
  }
  return sum;
}

}  // namespace

std::vector<std::size_t> deal_by_bytes(const std::vector<std::int64_t>& bytes, std::size_t lanes) {
  std::vector<std::size_t> order(bytes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return bytes[a] > bytes[b]; });
  std::vector<std::int64_t> dealt(lanes, 0);
  std::vector<std::size_t> owners(bytes.size());
  for (const std::size_t parameter : order) {
    const auto least = std::min_element(dealt.begin(), dealt.end());
    owners[parameter] = static_cast<std::size_t>(least - dealt.begin());
    *least += bytes[parameter];
  }
  return owners;
}

// On a lane's parameter: torch calls it in the backward pass, once a graph, with the gradient
// added.
class GradientSum::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSum& sum, std::size_t lane, std::size_t parameter)
      : sum_(sum), lane_(lane), parameter_(parameter) {}
  void operator()(const torch::Tensor&) override { sum_.after_gradient(lane_, parameter_); }

 private:
  GradientSum& sum_;
  std::size_t lane_;
  std::size_t parameter_;
};

GradientSum::~GradientSum() {
  for (const LaneShare& lane : lanes_)
    for (const torch::Tensor& parameter : lane.parameters)
      torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
}

void GradientSum::add_lane(const std::vector<torch::Tensor>& parameters) {
  const std::size_t lane = lanes_.size();
  if (lane == 0)
    for (const torch::Tensor& parameter : parameters)
      bytes_.push_back(static_cast<std::int64_t>(parameter.nbytes()));
  TORCH_CHECK(parameters.size() == bytes_.size(), "lane ", lane, " has ", parameters.size(),
              " parameters, expected ", bytes_.size());
  lanes_.push_back({.parameters = parameters, .sent = std::vector<SentTensor>(parameters.size())});
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    lanes_.back().places[parameters[i].unsafeGetTensorImpl()] = i;
    side_.add(parameters[i].device());
    torch::autograd::impl::set_post_acc_grad_hooks(parameters[i],
                                                   std::make_unique<Hook>(*this, lane, i));
  }
}

void GradientSum::send_weights() {
  const auto owners = deal_by_bytes(bytes_, lanes_.size());
  side_.wait_for_thread();  // for the optimizer, and for the last step's reads
  const SideStreams::Scope beside(side_);
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    const torch::Tensor& first = lanes_.front().parameters[i];
    const torch::Tensor& owned = lanes_[owners[i]].parameters[i];
    if (owners[i] > 0) take_value(first, owned);
    for (std::size_t lane = 1; lane < lanes_.size(); ++lane) {
      const torch::Tensor& other = lanes_[lane].parameters[i];
      if (lane != owners[i]) take_value(other.device() == first.device() ? first : owned, other);
    }
    for (LaneShare& lane : lanes_) lane.sent[i] = SentTensor(lane.parameters[i]);
  }
}

void GradientSum::await_weights(std::size_t lane, const torch::nn::Module& layer) const {
  if (side_.empty()) return;
  const LaneShare& own = lanes_[lane];
  for (const torch::Tensor& parameter : layer.parameters())
    own.sent.at(own.places.at(parameter.unsafeGetTensorImpl())).on(parameter.device());
}

void GradientSum::reset(std::size_t lanes) {
  const std::lock_guard lock(mutex_);
  cancelled_ = false;
  owners_ = deal_by_bytes(bytes_, std::max<std::size_t>(lanes, 1));
  gradients_.resize(bytes_.size());
  for (auto& by_lane : gradients_) by_lane = std::vector<SentTensor>(lanes);
  summed_ = std::vector<SentTensor>(bytes_.size());
  missing_.assign(bytes_.size(), lanes);
  for (LaneShare& lane : lanes_) {
    lane.in_last_backward = false;
    lane.handed_over.assign(bytes_.size(), false);
    lane.complete.clear();
    lane.left = 0;
  }
  for (std::size_t lane = 1; lane < lanes_.size(); ++lane)
    for (const torch::Tensor& parameter : lanes_[lane].parameters) parameter.mutable_grad().reset();
  for (const std::size_t owner : owners_) ++lanes_[owner].left;
}

void GradientSum::begin_last_backward(std::size_t lane) {
  const std::lock_guard lock(mutex_);
  lanes_[lane].in_last_backward = true;
}

void GradientSum::finish(std::size_t lane) {
  {
    const std::lock_guard lock(mutex_);
    lanes_[lane].in_last_backward = false;
  }
  for (std::size_t i = 0; i < bytes_.size(); ++i) hand_over(lane, i);
  while (const auto complete = next_own(lane, /*waits=*/true)) leave_sum(lane, *complete);
}

void GradientSum::cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
  changed_.notify_all();
}

// Never waits: other lanes' backward passes may need this one.
void GradientSum::after_gradient(std::size_t lane, std::size_t parameter) {
  {
    const std::lock_guard lock(mutex_);
    if (!lanes_[lane].in_last_backward || cancelled_) return;
  }
  hand_over(lane, parameter);
  while (const auto complete = next_own(lane, /*waits=*/false)) leave_sum(lane, *complete);
}

// Once: the first lane's gradient is then the sum's place.
void GradientSum::hand_over(std::size_t lane, std::size_t parameter) {
  LaneShare& from = lanes_[lane];
  const std::lock_guard lock(mutex_);
  if (from.handed_over[parameter]) return;
  from.handed_over[parameter] = true;
  gradients_[parameter][lane] =
      SentTensor(std::exchange(from.parameters[parameter].mutable_grad(), {}));
  if (--missing_[parameter] > 0) return;
  lanes_[owners_[parameter]].complete.push_back(parameter);
  changed_.notify_all();
}

std::optional<GradientSum::Complete> GradientSum::next_own(std::size_t lane, bool waits) {
  LaneShare& own = lanes_[lane];
  std::unique_lock lock(mutex_);
  if (waits) {
    changed_.wait(lock, [&] { return cancelled_ || own.left == 0 || !own.complete.empty(); });
    if (cancelled_) throw Cancelled();
  }
  if (own.complete.empty()) return std::nullopt;
  const std::size_t parameter = own.complete.back();
  own.complete.pop_back();
  --own.left;
  return Complete{parameter, std::exchange(gradients_[parameter], {})};
}

void GradientSum::leave_sum(std::size_t owner, const Complete& complete) {
  const torch::NoGradGuard no_gradients;
  const SideStreams::Scope beside(side_);
  const torch::Tensor& first = lanes_.front().parameters[complete.parameter];
  const c10::Device device = lanes_[owner].parameters[complete.parameter].device();
  const torch::Tensor sum = sum_in_order(complete.gradients, device);
  summed_[complete.parameter] = SentTensor(SentTensor(sum).on(first.device()));
}

void GradientSum::take_sums() {
  for (std::size_t i = 0; i < bytes_.size(); ++i) {
    const torch::Tensor& first = lanes_.front().parameters[i];
    torch::Tensor sum = std::exchange(summed_[i], SentTensor()).on(first.device());
    if (sum.defined()) first.mutable_grad() = std::move(sum);
  }
}

}  // namespace lamp
