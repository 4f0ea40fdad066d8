// Prefix sums over links, counts over schedules.
#include "lamp/planner/stage_bounds.h"

namespace lamp {

StageBounds::StageBounds(const NetworkCosts& costs, const PipelineSetup& setup)
    : costs_(costs), setup_(setup) {
  const Schedule schedule =
      make_schedule(setup.schedule, static_cast<int>(setup.stages()), setup.microbatches);
  const bool splits = schedule.splits_backward();
  forward_ = backward_ = weight_ = {0};
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    const LayerCosts& layer = costs.layers[link];
    const double loss = link + 1 == costs.layers.size() ? costs.loss_s : 0;
    forward_.push_back(forward_.back() + layer.forward_s);
    backward_.push_back(backward_.back() + layer.backward_s + loss - (splits ? layer.weight_s : 0));
    weight_.push_back(weight_.back() + (splits ? layer.weight_s : 0));
  }
  chain_ = forward_.back() + backward_.back();
  for (const auto& actions : schedule.actions) {
    orders_.push_back(order_of(actions, setup.microbatches));
    forwards_first_ = forwards_first_ && orders_.back().before == setup.microbatches;
  }
  at_last_ = orders_.back().before - 1;
}

StageBounds::Order StageBounds::order_of(const std::vector<Action>& actions, int microbatches) {
  Order order;
  int forwards = 0, backwards = 0;
  for (const Action& action : actions) {
    if (action.kind == ActionKind::kForward) ++forwards;
    if (action.kind == ActionKind::kBackward && backwards++ == 0) order.before = forwards;
    if (action.kind == ActionKind::kWeight && backwards < microbatches) ++order.weights_early;
  }
  // From a forward to its own backward, from there to the next forward.
  order.loops = 0;
  int wanted = -1;  // the micro-batch whose backward ends the loop
  for (const Action& action : actions) {
    if (wanted < 0 && action.kind == ActionKind::kForward) wanted = action.microbatch;
    if (action.kind != ActionKind::kBackward) continue;
    if (action.microbatch == wanted) {
      ++order.loops;
      order.after_loops = -1;
      wanted = -1;
    }
    ++order.after_loops;
  }
  return order;
}

double StageBounds::more_transfers_s(double transfer) const {
  return (setup_.microbatches - 1) * transfer;
}

double StageBounds::transfer_s(std::size_t stage, std::size_t cut) const {
  if (setup_.shares_device(stage, stage + 1)) return 0;
  return static_cast<double>(costs_.layers[cut - 1].output_bytes) / setup_.bytes_per_s;
}

StageBound StageBounds::seconds(std::size_t stage, const StageRange& links,
                                RecomputeRule rule) const {
  const int m = setup_.microbatches;
  const double forward = sum(forward_, links);
  const double backward = sum(backward_, links);
  const double weight = sum(weight_, links);
  const Order& order = orders_[stage];
  int again = 0;
  for (int i = 0; i < m; ++i) again += recomputes(rule, i, m) ? 1 : 0;
  // The first micro-batch's recomputation may hide before its backward.
  const int later_again = again - (recomputes(rule, 0, m) ? 1 : 0);
  const double home = backward_[links.first];
  const double own = forward_[links.first] + m * (forward + backward) + again * forward;
  const double waited = chain_ - home + at_last_ * forward + (m - 1) * backward +
                        (m - order.before + later_again) * forward;
  const double round = chain_ - forward_[links.first] - home;
  const double end = order.weights_early * weight + home;
  StageBound bound{
      .own = own + end,
      .waited = waited + end,
      .loop = forward_[links.first] + order.loops * round + order.after_loops * backward + home,
      .loops = order.loops,
      .one_way = std::max(own, waited) + m * weight};
  if (forwards_first_) {
    bound.forward = (m - 1) * forward;
    bound.backward = (m - 1) * backward;
  }
  return bound;
}

}  // namespace lamp
