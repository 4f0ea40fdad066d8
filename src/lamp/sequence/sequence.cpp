// Builds, checks and runs a chain of layers.
#include "lamp/sequence/sequence.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "lamp/sequence/run_context.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {
namespace {

// A node of the module tree that stands for the part of a link's name before a dot.
class Group : public torch::nn::Module {};

// Lets a layer use only the skips it declares, each once.
class DeclaredSkips : public SkipPort {
 public:
  DeclaredSkips(SkipPort& port, const Layer& layer, const std::string& layer_name)
      : port_(port), layer_(layer_name), stashes_(layer.stashes()), pops_(layer.pops()) {}

  void stash(const std::string& name, torch::Tensor tensor) override {
    TORCH_CHECK(take(stashes_, name), "layer ", layer_, " stashes \"", name,
                "\", which it does not declare or has stashed before");
    stashed_.push_back(tensor.unsafeGetTensorImpl());
    port_.stash(name, std::move(tensor));
  }
  torch::Tensor pop(const std::string& name) override {
    TORCH_CHECK(take(pops_, name), "layer ", layer_, " pops \"", name,
                "\", which it does not declare or has popped before");
    return port_.pop(name);
  }
  // What is handed on is another tensor than what was stashed. Else its gradient would be one sum
  // over the skip's use and all later ones, in an order that a cut behind this layer changes; so it
  // is the skip's plus that of the others, cut or not, to the same bits.
  torch::Tensor apart(torch::Tensor output) const {
    const bool shared =
        std::find(stashed_.begin(), stashed_.end(), output.unsafeGetTensorImpl()) != stashed_.end();
    return shared ? torch::alias(output) : output;
  }
  void check_done() const {
    TORCH_CHECK(stashes_.empty(), "layer ", layer_, " declares the stash \"", stashes_.front(),
                "\" but did not stash it");
    TORCH_CHECK(pops_.empty(), "layer ", layer_, " declares the pop \"", pops_.front(),
                "\" but did not pop it");
  }

 private:
  static bool take(std::vector<std::string>& names, const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) return false;
    names.erase(found);
    return true;
  }

  SkipPort& port_;
  const std::string& layer_;
  std::vector<std::string> stashes_;
  std::vector<std::string> pops_;
  std::vector<const void*> stashed_;
};

// Keeps the context's number of planes, which layers inside may change.
torch::Tensor run_layer(Layer& layer, torch::Tensor input, DeclaredSkips& port) {
  RunContext* context = RunContext::current();
  if (context == nullptr || context->slabs == nullptr)
    return port.apart(layer.forward(std::move(input), port));
  const SlabGroup& slabs = *context->slabs;
  const auto rule = layer.plane_rule(slabs.axis());
  TORCH_CHECK(rule, "a layer that cannot run on slabs of a volume");
  const std::int64_t planes = rule->output_planes(context->planes);
  torch::Tensor output = port.apart(layer.forward(std::move(input), port));
  context->planes = planes;
  TORCH_CHECK(output.size(slabs.axis()) == slabs.owned(planes).count(), "found ",
              output.size(slabs.axis()), " planes of a slab, expected ",
              slabs.owned(planes).count());
  return output;
}

std::vector<std::string> split_at_dots(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '.')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  for (const auto& part : parts)
    TORCH_CHECK(!part.empty(), "layer \"", name, "\": a name has no empty part");
  return parts;
}

}  // namespace

void LocalSkips::stash(const std::string& name, torch::Tensor tensor) {
  TORCH_CHECK(tensors_.emplace(name, std::move(tensor)).second, "skip \"", name,
              "\" stashed twice");
}

torch::Tensor LocalSkips::pop(const std::string& name) {
  auto node = tensors_.extract(name);
  TORCH_CHECK(!node.empty(), "skip \"", name, "\" popped, but it is not there");
  return std::move(node.mapped());
}

Sequence::Sequence(std::vector<Link> links) {
  TORCH_CHECK(!links.empty(), "a sequence needs at least one layer");
  for (auto& [name, layer] : links) {
    TORCH_CHECK(layer != nullptr, "layer ", name, " is null");
    TORCH_CHECK(std::find(names_.begin(), names_.end(), name) == names_.end(),
                "two layers are named ", name);
    names_.push_back(std::move(name));
    layers_.push_back(std::move(layer));
  }
  check_modules();
  find_skips();
  register_links();
}

// A module in two links would be on two devices at once when the chain is cut between them.
void Sequence::check_modules() const {
  std::unordered_map<const torch::nn::Module*, std::size_t> owner;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    for (const auto& module : layers_[i]->modules()) {
      const auto [found, is_new] = owner.emplace(module.get(), i);
      TORCH_CHECK(is_new || found->second == i, "layers ", names_[found->second], " and ",
                  names_[i], " hold the same module");
    }
  }
}

void Sequence::find_skips() {
  std::map<std::string, std::size_t> stashed;  // by the number of the link
  std::map<std::string, std::size_t> popped;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    for (const auto& name : layers_[i]->stashes()) {
      const auto [found, is_new] = stashed.emplace(name, i);
      TORCH_CHECK(is_new, "skip \"", name, "\" is stashed twice: by layers ", names_[found->second],
                  " and ", names_[i]);
      skips_.push_back({.name = name, .from = i, .to = i});
    }
    for (const auto& name : layers_[i]->pops()) {
      const auto [found, is_new] = popped.emplace(name, i);
      TORCH_CHECK(is_new, "skip \"", name, "\" is popped twice: by layers ", names_[found->second],
                  " and ", names_[i]);
    }
  }
  for (const auto& [name, to] : popped) {
    const auto from = stashed.find(name);
    TORCH_CHECK(from != stashed.end(), "skip \"", name, "\" is popped by layer ", names_[to],
                " but never stashed");
    TORCH_CHECK(from->second < to, "skip \"", name, "\" is popped by layer ", names_[to],
                " before layer ", names_[from->second], " stashes it");
  }
  for (auto& skip : skips_) {
    const auto to = popped.find(skip.name);
    TORCH_CHECK(to != popped.end(), "skip \"", skip.name, "\" is stashed by layer ",
                names_[skip.from], " but never popped");
    skip.to = to->second;
  }
}

void Sequence::register_links() {
  std::map<std::string, torch::nn::Module*> groups;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::vector<std::string> parts = split_at_dots(names_[i]);
    torch::nn::Module* parent = this;
    std::string path;
    for (std::size_t level = 0; level + 1 < parts.size(); ++level) {
      path += parts[level] + ".";
      auto& group = groups[path];
      if (group == nullptr) {
        TORCH_CHECK(!parent->named_children().contains(parts[level]), "layer ", names_[i],
                    " has a name inside another layer's");
        group = parent->register_module(parts[level], std::make_shared<Group>()).get();
      }
      parent = group;
    }
    TORCH_CHECK(!parent->named_children().contains(parts.back()), "layer ", names_[i],
                " has the name of a group of layers");
    parent->register_module(parts.back(), layers_[i]->named_module());
  }
}

torch::Tensor Sequence::forward(torch::Tensor input) {
  LocalSkips skips;
  torch::Tensor output = run(std::move(input), 0, size(), skips);
  TORCH_CHECK(skips.empty(), "a stashed skip was never popped");
  return output;
}

torch::Tensor Sequence::run(torch::Tensor input, std::size_t first, std::size_t last,
                            SkipPort& skips) {
  TORCH_CHECK(first <= last && last <= size(), "links ", first, " to ", last, " of ", size());
  torch::Tensor tensor = std::move(input);
  for (std::size_t i = first; i < last; ++i) {
    if (RunContext* context = RunContext::current()) {
      context->link = i;
      context->draws = 0;
    }
    try {
      DeclaredSkips port(skips, *layers_[i], names_[i]);
      tensor = run_layer(*layers_[i], std::move(tensor), port);
      port.check_done();
    } catch (c10::Error& error) {
      error.add_context("in layer " + names_[i]);
      throw;
    }
  }
  return tensor;
}

}  // namespace lamp
