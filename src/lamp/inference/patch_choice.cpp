// A greedy walk from the whole volume down to one stride of the network.
#include "lamp/inference/patch_choice.h"

#include <algorithm>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"

namespace lamp {

bool shorten(Size3& size, std::int64_t multiple) {
  const auto longest = std::max_element(size.begin(), size.end());
  if (*longest <= multiple) return false;
  *longest = (*longest - 1) / multiple * multiple;
  return true;
}

namespace {

std::optional<PatchChoice> largest_window(const PatchBudget& budget) {
  for (Size3 window = budget.volume; shorten(window, budget.multiple);) {
    const std::int64_t bytes = budget.need(window, false);
    if (bytes <= budget.limit_bytes)
      return PatchChoice{.whole = false, .size = window, .bytes = bytes};
  }
  return std::nullopt;
}

std::string limit_text(const PatchBudget& budget) {
  return bytes_text(budget.limit_bytes) +
         (budget.user_limit ? " of " + setting_name("memory") + " are left" : " are available");
}

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

[[noreturn]] void refuse_all(const PatchBudget& budget) {
  Size3 least = budget.volume;
  while (shorten(least, budget.multiple)) {
  }
  const std::int64_t bytes = budget.need(least, false);
  throw DoesNotFit(
      "does not fit: a volume of " + size_text(budget.volume, "x") + " voxels needs " +
      need_bytes_text(bytes) + " even in windows of " + size_text(least, "x") + ", " +
      limit_text(budget) + "; use " +
      (budget.user_limit
           ? setting_to("memory", without_spaces(need_bytes_text(bytes + budget.taken_bytes))) +
                 " or more, of which the program itself takes " + bytes_text(budget.taken_bytes) +
                 ", or "
           : "") +
      "a narrower network, fewer classes or a machine with more memory");
}

// what: what was asked for and needs so many bytes.
[[noreturn]] void refuse(const PatchBudget& budget, const std::string& what, std::int64_t bytes) {
  const std::string start = "does not fit: " + what + " needs " + need_bytes_text(bytes) + ", " +
                            limit_text(budget) + "; ";
  if (const std::int64_t whole = budget.need(budget.volume, true); whole <= budget.limit_bytes)
    throw DoesNotFit(start + setting_to("patch", "whole") + " (" + need_bytes_text(whole) +
                     ") or " + setting_to("patch", "auto") + " would fit");
  const auto window = largest_window(budget);
  if (!window) refuse_all(budget);
  throw DoesNotFit(start + setting_to("patch", size_text(window->size, ",")) + " (" +
                   need_bytes_text(*window->bytes) + ") or " + setting_to("patch", "auto") +
                   " would fit");
}

}  // namespace

PatchRequest parse_patch(const std::string& text) {
  if (text == "auto") return {.kind = PatchRequest::kAuto};
  if (text == "whole") return {.kind = PatchRequest::kWhole};
  const auto size = parse_size3(text);
  if (!size)
    throw UsageError(setting_name("patch") + ": found \"" + shortened(text) +
                     "\", expected whole, auto or " + expected_size3());
  return {.kind = PatchRequest::kFixed, .size = *size};
}

Size3 parse_size(const std::string& text, const std::string& what) {
  if (const auto size = parse_size3(text)) return *size;
  throw UsageError(what + ": found \"" + shortened(text) + "\", expected " + expected_size3());
}

Json PatchChoice::to_json() const { return whole ? Json("whole") : Json(size); }

PatchChoice choose_patch(const PatchRequest& request, const PatchBudget& budget) {
  const bool whole = request.kind != PatchRequest::kFixed;
  const Size3 size = whole ? budget.volume : request.size;
  const std::int64_t bytes = budget.need(size, whole);
  if (bytes <= budget.limit_bytes) return {.whole = whole, .size = size, .bytes = bytes};
  if (request.kind == PatchRequest::kAuto) {
    if (auto window = largest_window(budget)) return *window;
    refuse_all(budget);
  }
  if (budget.user_limit || bytes > budget.most_bytes)
    refuse(budget,
           (whole ? "the whole volume of " + size_text(size, "x")
                  : "a window of " + size_text(size, "x")) +
               " voxels",
           bytes);
  log_warning("about " + bytes_text(bytes) + " are needed, " + limit_text(budget) + "; " +
              setting_to("patch", "auto") + " would choose a size that fits");
  return {.whole = whole, .size = size, .bytes = bytes};
}

}  // namespace lamp
