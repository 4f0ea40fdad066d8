// The configuration of the loss, its terms put together, and the weights that go into it.
#include "lamp/objective/losses.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/objective/anatomy_loss.h"
#include "lamp/objective/boundary_loss.h"
#include "lamp/objective/cross_entropy.h"
#include "lamp/objective/lamp_loss.h"

namespace lamp {
namespace {

const std::map<std::string, LossConfig> kNamed = {
    {"lamp", {}},
    {"anatomynet", {.dice = "batch"}},
    {"dice", {.focal_weight = 0}},
    {"cross_entropy", {.dice = "none", .focal_weight = 0, .cross_entropy_weight = 1}},
    {"dice_cross_entropy", {.focal_weight = 0, .cross_entropy_weight = 1}},
    // Kervadec's start value: the boundary term has the size of distances, the Dice term of 1.
    {"dice_boundary", {.focal_weight = 0, .boundary_weight = 0.01}},
};

std::vector<std::string> loss_names() {
  std::vector<std::string> names;
  for (const auto& item : kNamed) names.push_back(item.first);
  return names;
}

double weight(ObjectReader& reader, const std::string& key, double fallback) {
  const auto value = reader.get<double>(key, fallback);
  if (!std::isfinite(value) || value < 0)
    throw UsageError("configuration: " + reader.where(key) + ": found " + shortest(value) +
                     ", expected 0 or more");
  return value;
}

std::vector<double> class_weight_values(const Json& json, const std::string& where) {
  std::vector<double> values;
  for (const Json& item : json) {
    if (!item.is_number()) throw_wrong_type(where, item, "a number");
    values.push_back(item.get<double>());
    if (!std::isfinite(values.back()) || values.back() < 0)
      throw UsageError("configuration: " + where + ": found " + shortest(values.back()) +
                       ", expected weights of 0 or more");
  }
  if (std::all_of(values.begin(), values.end(), [](double value) { return value == 0; }))
    throw UsageError("configuration: " + where + ": found no weight above 0, expected one for " +
                     "each class, background first");
  return values;
}

class MixedLoss : public Loss {
 public:
  MixedLoss(LossConfig config, torch::Tensor class_weights)
      : config_(std::move(config)), class_weights_(std::move(class_weights)) {}

  torch::Tensor operator()(const torch::Tensor& logits, const torch::Tensor& labels,
                           const torch::Tensor& annotated, const LossSlab* slab) const override {
    check_loss_input(logits, labels, slab);
    const LossInput input{logits, labels, weights_of(logits, annotated), slab};
    std::vector<torch::Tensor> terms;
    if (config_.dice == "batch") {
      terms.push_back(anatomy_loss(input, config_.focal_weight));
    } else if (config_.dice == "per_sample" || config_.focal_weight > 0) {
      const double dice_weight = config_.dice == "per_sample" ? 1 : 0;
      terms.push_back(lamp_loss(input, dice_weight, config_.focal_weight));
    }
    if (config_.cross_entropy_weight > 0)
      terms.push_back(config_.cross_entropy_weight * cross_entropy_loss(input));
    if (config_.boundary_weight > 0)
      terms.push_back(config_.boundary_weight * boundary_loss(input));
    torch::Tensor sum = terms.front();
    for (std::size_t i = 1; i < terms.size(); ++i) sum = sum + terms[i];
    return sum;
  }

  bool sum_over_samples() const override { return config_.dice != "batch"; }

 private:
  torch::Tensor weights_of(const torch::Tensor& logits, const torch::Tensor& annotated) const {
    const std::int64_t samples = logits.size(0), classes = logits.size(1);
    TORCH_CHECK(class_weights_.numel() == classes, "loss: ", class_weights_.numel(),
                " class weights for ", classes, " classes");
    TORCH_CHECK(
        annotated.dim() == 2 && annotated.size(0) == samples && annotated.size(1) == classes,
        "loss: expected flags [", samples, ", ", classes, "], got ", annotated.sizes());
    const auto type = compute_type(logits);
    return annotated.to(logits.device(), type) * class_weights_.to(logits.device(), type);
  }

  LossConfig config_;
  torch::Tensor class_weights_;  // [C]
};

}  // namespace

LossConfig parse_loss_config(const Json& json) {
  if (json.is_null()) return {};
  ObjectReader reader(json, "loss");
  LossConfig config = kNamed.at(reader.choice("name", "lamp", loss_names()));
  config.dice = reader.choice("dice", config.dice, {"per_sample", "batch", "none"});
  config.focal_weight = weight(reader, "focal_weight", config.focal_weight);
  config.cross_entropy_weight = weight(reader, "cross_entropy_weight", config.cross_entropy_weight);
  config.boundary_weight = weight(reader, "boundary_weight", config.boundary_weight);
  if (reader.at("class_weights").is_array()) {
    config.class_weight_values =
        class_weight_values(reader.at("class_weights"), reader.where("class_weights"));
  } else {
    config.class_weights =
        reader.choice("class_weights", config.class_weights, {"uniform", "inverse_frequency"});
  }
  reader.finish();
  if (config.dice == "none" && config.focal_weight == 0 && config.cross_entropy_weight == 0 &&
      config.boundary_weight == 0)
    throw UsageError("configuration: loss: found no term, expected \"dice\" or a weight above 0");
  return config;
}

Json to_json(const LossConfig& config) {
  Json json = {{"dice", config.dice},
               {"focal_weight", config.focal_weight},
               {"cross_entropy_weight", config.cross_entropy_weight},
               {"boundary_weight", config.boundary_weight},
               {"class_weights", config.class_weights}};
  if (!config.class_weight_values.empty()) json["class_weights"] = config.class_weight_values;
  return json;
}

std::unique_ptr<Loss> make_loss(const LossConfig& config, const torch::Tensor& class_weights) {
  TORCH_CHECK(class_weights.dim() == 1, "loss: class weights of shape ", class_weights.sizes());
  return std::make_unique<MixedLoss>(config, class_weights);
}

torch::Tensor annotation_flags(const std::vector<std::vector<int>>& annotated_ids, int classes) {
  const auto samples = static_cast<std::int64_t>(annotated_ids.size());
  torch::Tensor flags = torch::ones({samples, classes});
  auto flag = flags.accessor<float, 2>();
  for (std::int64_t n = 0; n < samples; ++n) {
    const auto& ids = annotated_ids[static_cast<std::size_t>(n)];
    for (const int id : ids)
      TORCH_CHECK(id >= 0 && id < classes, "annotated class ", id, " of ", classes);
    if (ids.empty()) continue;
    for (int c = 1; c < classes; ++c) {
      if (std::find(ids.begin(), ids.end(), c) != ids.end()) continue;
      flag[n][c] = 0;
      flag[n][0] = 0;
    }
  }
  return flags;
}

torch::Tensor inverse_frequency_weights(const std::vector<std::int64_t>& voxel_counts) {
  double sum = 0;
  int present = 0;
  for (const std::int64_t count : voxel_counts) {
    TORCH_CHECK(count >= 0, "voxel count ", count);
    if (count == 0) continue;
    sum += 1 / static_cast<double>(count);
    ++present;
  }
  std::vector<double> weights;
  for (const std::int64_t count : voxel_counts)
    weights.push_back(count == 0 ? 1 : present / (sum * static_cast<double>(count)));
  return torch::tensor(weights, torch::kFloat32);
}

}  // namespace lamp
