// Filling at the high ends only: where a scan begins, the patch and the window begin too.
#include "lamp/base/beyond_scan.h"

#include <algorithm>
#include <vector>

namespace lamp {
namespace {

// What torch's padding takes: the last dimension first, low end and high end.
std::vector<std::int64_t> missing(const torch::Tensor& tensor, const Shape3& size) {
  std::vector<std::int64_t> amounts;
  for (std::int64_t axis = 3; axis-- > 0;) {
    const std::int64_t length = tensor.size(tensor.dim() - 3 + axis);
    amounts.push_back(0);
    amounts.push_back(std::max<std::int64_t>(size[static_cast<std::size_t>(axis)] - length, 0));
  }
  return amounts;
}

bool nothing(const std::vector<std::int64_t>& amounts) {
  return std::all_of(amounts.begin(), amounts.end(), [](std::int64_t n) { return n == 0; });
}

torch::Tensor signed_labels(const torch::Tensor& labels) {
  return labels.scalar_type() == torch::kUInt8 ? labels.to(torch::kInt16) : labels;
}

}  // namespace

torch::Tensor extend_scan(const torch::Tensor& image, const Shape3& size) {
  TORCH_CHECK((image.dim() == 4 || image.dim() == 5) && image.numel() > 0,
              "a scan to be extended has four or five dimensions and voxels, found ",
              image.sizes());
  const auto amounts = missing(image, size);
  if (nothing(amounts)) return image;
  if (image.dim() == 5) return torch::replication_pad3d(image, amounts);
  return torch::replication_pad3d(image.unsqueeze(0), amounts).squeeze(0);
}

torch::Tensor extend_labels(const torch::Tensor& labels, const Shape3& size) {
  const auto amounts = missing(labels, size);
  if (nothing(amounts)) return labels;
  return torch::constant_pad_nd(signed_labels(labels), amounts, kNoScan);
}

torch::Tensor mark_no_scan(const torch::Tensor& labels, const torch::Tensor& beyond) {
  if (!beyond.any().item<bool>()) return labels;
  return signed_labels(labels).masked_fill(beyond, kNoScan);
}

std::optional<torch::Tensor> seen_by_scan(const torch::Tensor& labels) {
  if (labels.scalar_type() == torch::kUInt8) return std::nullopt;
  const torch::Tensor seen = labels.ne(kNoScan);
  if (seen.all().item<bool>()) return std::nullopt;
  return seen;
}

}  // namespace lamp
