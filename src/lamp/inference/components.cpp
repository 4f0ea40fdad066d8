// One sweep joins each voxel to the 13 neighbours before it (union-find), a second one numbers the
// pieces.
#include "lamp/inference/components.h"

#include <ATen/Dispatch.h>

#include <array>
#include <limits>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/json.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

class UnionFind {
 public:
  std::int32_t add() {
    parents_.push_back(static_cast<std::int32_t>(parents_.size()));
    return parents_.back();
  }
  std::int32_t root(std::int32_t item) {
    while (parents_[item] != item) item = parents_[item] = parents_[parents_[item]];
    return item;
  }
  // The older one stays the root, so roots come in memory order.
  std::int32_t join(std::int32_t a, std::int32_t b) {
    a = root(a);
    b = root(b);
    return a < b ? parents_[b] = a : parents_[a] = b;
  }
  std::int32_t size() const { return static_cast<std::int32_t>(parents_.size()); }

 private:
  std::vector<std::int32_t> parents_;
};

struct Offset {
  std::int64_t z, y, x;
};

// Neighbours that a sweep in memory order has seen already.
std::array<Offset, 13> seen_neighbours() {
  std::array<Offset, 13> offsets{};
  std::size_t count = 0;
  for (std::int64_t z = -1; z <= 0; ++z)
    for (std::int64_t y = -1; y <= 1; ++y)
      for (std::int64_t x = -1; x <= 1; ++x)
        if (count < 13 && (z < 0 || y < 0 || (y == 0 && x < 0))) offsets[count++] = {z, y, x};
  return offsets;
}

template <typename T>
class Sweep {
 public:
  explicit Sweep(const torch::Tensor& labels)
      : depth_(labels.size(0)),
        height_(labels.size(1)),
        width_(labels.size(2)),
        labels_(labels.const_data_ptr<T>()),
        ids_(torch::zeros(labels.sizes(), torch::kInt32)) {}

  Components run() {
    for (std::int64_t z = 0; z < depth_; ++z)
      for (std::int64_t y = 0; y < height_; ++y)
        for (std::int64_t x = 0; x < width_; ++x) visit(z, y, x);
    return numbered();
  }

 private:
  void visit(std::int64_t z, std::int64_t y, std::int64_t x) {
    const std::int64_t here = (z * height_ + y) * width_ + x;
    if (labels_[here] == 0) return;
    auto* ids = ids_.template data_ptr<std::int32_t>();
    std::int32_t id = -1;
    for (const Offset& offset : neighbours_) {
      const std::int64_t nz = z + offset.z, ny = y + offset.y, nx = x + offset.x;
      if (nz < 0 || ny < 0 || ny >= height_ || nx < 0 || nx >= width_) continue;
      const std::int64_t there = (nz * height_ + ny) * width_ + nx;
      if (labels_[there] != labels_[here]) continue;
      id = id < 0 ? ids[there] - 1 : pieces_.join(id, ids[there] - 1);
    }
    if (id < 0) {
      id = pieces_.add();
      TORCH_CHECK(id < std::numeric_limits<std::int32_t>::max() - 1, "too many pieces");
    }
    ids[here] = id + 1;
  }

  Components numbered() {
    Components result{.ids = ids_};
    std::vector<std::int32_t> number(static_cast<std::size_t>(pieces_.size()), 0);
    auto* ids = ids_.template data_ptr<std::int32_t>();
    for (std::int64_t i = 0; i < ids_.numel(); ++i) {
      if (ids[i] == 0) continue;
      std::int32_t& id = number[static_cast<std::size_t>(pieces_.root(ids[i] - 1))];
      if (id == 0) {
        result.voxels.push_back(0);
        result.labels.push_back(static_cast<int>(labels_[i]));
        id = static_cast<std::int32_t>(result.voxels.size());
      }
      ids[i] = id;
      ++result.voxels[static_cast<std::size_t>(id) - 1];
    }
    return result;
  }

  std::int64_t depth_, height_, width_;
  const T* labels_;
  torch::Tensor ids_;
  UnionFind pieces_;
  const std::array<Offset, 13> neighbours_ = seen_neighbours();
};

// Per component: does it stay?
std::vector<char> kept(const Components& components, const Cleanup& cleanup,
                       const std::set<int>& keep_largest, double voxel_volume_mm3) {
  std::map<int, std::size_t> largest;
  for (std::size_t i = 0; i < components.voxels.size(); ++i) {
    const auto [found, is_new] = largest.emplace(components.labels[i], i);
    if (!is_new && components.voxels[i] > components.voxels[found->second]) found->second = i;
  }
  std::vector<char> stays;
  for (std::size_t i = 0; i < components.voxels.size(); ++i) {
    const int label = components.labels[i];
    const bool alone = !keep_largest.contains(label) || largest.at(label) == i;
    const double volume = static_cast<double>(components.voxels[i]) * voxel_volume_mm3;
    stays.push_back(alone && volume >= cleanup.min_volume_mm3 ? 1 : 0);
  }
  return stays;
}

}  // namespace

torch::Tensor class_to_id(const torch::Tensor& classes, const std::map<int, std::string>& labels) {
  if (labels.rbegin()->first + 1 == static_cast<int>(labels.size())) return classes;
  std::vector<std::int32_t> ids;
  for (const auto& [id, name] : labels) ids.push_back(id);
  const auto type = ids.back() < 256 ? torch::kUInt8 : torch::kInt32;
  return torch::tensor(ids, torch::kInt32)
      .to(type)
      .index_select(0, classes.flatten().to(torch::kInt32))
      .view_as(classes);
}

std::set<int> labels_to_clean(const Cleanup& cleanup, const std::map<int, std::string>& labels) {
  std::set<int> ids;
  for (const std::string& wanted : cleanup.keep_largest) {
    bool known = wanted == "all";
    for (const auto& [id, name] : labels) {
      const bool meant = wanted == "all" || wanted == name || wanted == std::to_string(id);
      if (id == 0 || !meant) continue;
      ids.insert(id);
      known = true;
    }
    if (known) continue;
    std::vector<std::string> names;
    for (const auto& [id, name] : labels)
      if (id != 0) names.push_back(name);
    throw UsageError(setting_name("keep_largest") + ": the model has no label \"" +
                     shortened(wanted) + "\"; " + nearest_or_known(wanted, names));
  }
  return ids;
}

Components connected_components(const torch::Tensor& labels) {
  TORCH_CHECK(labels.dim() == 3 && labels.device().is_cpu(),
              "expected a label map [D, H, W], found ", labels.sizes());
  const torch::Tensor map = labels.contiguous();
  Components result;
  AT_DISPATCH_INTEGRAL_TYPES(map.scalar_type(), "connected_components",
                             [&] { result = Sweep<scalar_t>(map).run(); });
  return result;
}

void clean_labels(torch::Tensor labels, const Cleanup& cleanup, const std::set<int>& keep_largest,
                  double voxel_volume_mm3) {
  const Components components = connected_components(labels);
  const auto stays = kept(components, cleanup, keep_largest, voxel_volume_mm3);
  torch::Tensor table = torch::ones({static_cast<std::int64_t>(stays.size()) + 1}, torch::kBool);
  for (std::size_t i = 0; i < stays.size(); ++i)
    table[static_cast<std::int64_t>(i) + 1] = stays[i] != 0;
  labels.masked_fill_(
      table.index_select(0, components.ids.flatten()).logical_not_().view_as(labels), 0);
}

}  // namespace lamp
