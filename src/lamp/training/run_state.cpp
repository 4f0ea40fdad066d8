// Tensor names: "model.<name>", "optimizer.<parameter>:<slot>", "random.cpu"; the cursor is JSON in
// the metadata.
#include "lamp/training/run_state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/base/safetensors.h"

namespace lamp {
namespace {

Json to_json(const Cursor& cursor) {
  return {{"stage", cursor.stage},        {"epoch", cursor.epoch},
          {"step", cursor.step},          {"epochs_done", cursor.epochs_done},
          {"loss_sum", cursor.loss_sum},  {"epoch_seconds", cursor.epoch_seconds},
          {"best_dice", cursor.best_dice}};
}

Cursor parse_cursor(const std::map<std::string, std::string>& metadata, const std::string& file) {
  const auto found = metadata.find("cursor");
  if (found == metadata.end() || metadata.at("format") != "lamp-state")
    throw InputError("cannot resume", file, "it is no training state of lamp");
  const Json json = parse_json(found->second, file);
  Cursor cursor;
  try {
    cursor = {json.at("stage"),       json.at("epoch"),    json.at("step"),
              json.at("epochs_done"), json.at("loss_sum"), json.at("epoch_seconds"),
              json.at("best_dice")};
  } catch (const nlohmann::json::exception&) {
    throw InputError("cannot resume", file, "its cursor is damaged");
  }
  return cursor;
}

std::map<std::string, torch::Tensor> state_of(const Network& network) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& item : network.chain->named_parameters())
    tensors["model." + item.key()] = item.value();
  for (const auto& item : network.chain->named_buffers())
    tensors["model." + item.key()] = item.value();
  return tensors;
}

}  // namespace

NamedParameters named_parameters(const Network& network) {
  NamedParameters parameters;
  for (const auto& item : network.chain->named_parameters())
    parameters.emplace_back(item.key(), item.value());
  return parameters;
}

std::filesystem::path state_file(const std::filesystem::path& run) {
  return run / "state" / "state.safetensors";
}

void save_state(const std::filesystem::path& run, const Network& network,
                torch::optim::Optimizer& optimizer, const Cursor& cursor) {
  SafeTensors content{
      .tensors = state_of(network),
      .metadata = {{"format", "lamp-state"}, {"version", "1"}, {"cursor", to_json(cursor).dump()}}};
  for (auto& [name, tensor] : optimizer_state(optimizer, named_parameters(network)))
    content.tensors["optimizer." + name] = tensor;
  content.tensors["random.cpu"] = at::detail::getDefaultCPUGenerator().get_state();
  write_safetensors(state_file(run), content);
}

SavedState::SavedState(const std::filesystem::path& run) : file_(state_file(run)) {
  SafeTensors content = read_safetensors(file_);
  cursor_ = parse_cursor(content.metadata, file_.string());
  for (auto& [name, tensor] : content.tensors) {
    if (name.rfind("model.", 0) == 0)
      weights_[name] = std::move(tensor);
    else if (name.rfind("optimizer.", 0) == 0)
      optimizer_[name.substr(10)] = std::move(tensor);
    else if (name == "random.cpu")
      random_ = std::move(tensor);
  }
}

void SavedState::restore(Network& network) const {
  const torch::NoGradGuard no_grad;
  auto wanted = state_of(network);
  for (auto& [name, tensor] : wanted) {
    const auto found = weights_.find(name);
    if (found == weights_.end() || found->second.sizes() != tensor.sizes())
      throw InputError("cannot resume", file_.string(),
                       name.substr(6) + " is missing or has another shape");
    tensor.copy_(found->second);
  }
  if (random_.defined()) {
    auto generator = at::detail::getDefaultCPUGenerator();
    generator.set_state(random_);
  }
}

void SavedState::restore(torch::optim::Optimizer& optimizer,
                         const NamedParameters& parameters) const {
  restore_optimizer(optimizer, parameters, optimizer_);
}

}  // namespace lamp
