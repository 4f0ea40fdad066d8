// From configuration to threads.
#include "lamp/training/batch_source.h"

#include <omp.h>

#include <cstdlib>
#include <filesystem>

#include "lamp/base/host_memory.h"

namespace lamp {
namespace {

constexpr std::int64_t kBatchesAhead = 2;

std::filesystem::path without_tilde(const std::string& folder) {
  const char* home = std::getenv("HOME");
  if (folder.starts_with("~/") && home != nullptr)
    return std::filesystem::path(home) / folder.substr(2);
  return folder;
}

}  // namespace

std::optional<CaseCacheOptions> cache_options(const LoaderConfig& config) {
  if (config.cache == "off") return std::nullopt;
  const auto folder = config.cache == "auto" ? default_case_cache() : without_tilde(config.cache);
  if (!folder) return std::nullopt;
  return CaseCacheOptions{.folder = *folder, .limit_bytes = config.cache_limit};
}

CaseStoreOptions store_options(const LoaderConfig& config) {
  return {.limit_bytes = config.memory.value_or(available_memory_bytes() / 4),
          .cache = cache_options(config)};
}

Prefetcher<Batch> prefetch_batches(const BatchPlan& plan, CaseStore& store,
                                   const LoaderConfig& config, std::int64_t first,
                                   std::int64_t last) {
  return Prefetcher<Batch>(
      {.first = first, .last = last, .threads = config.threads, .ahead = kBatchesAhead},
      [&plan, &store](std::int64_t step) {
        omp_set_num_threads(1);  // this loader thread's share; the network has the rest
        return plan.make(step, store);
      });
}

}  // namespace lamp
