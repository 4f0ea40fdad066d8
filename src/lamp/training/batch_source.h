// Where a run's batches come from: its store of cases and its loader threads, both as the
// configuration's "loader" says. Training and `lamp bench input` take them from here alike.
#pragma once

#include <cstdint>
#include <optional>

#include "lamp/base/prefetcher.h"
#include "lamp/cases/case_store.h"
#include "lamp/training/batch_plan.h"
#include "lamp/training/train_config.h"

namespace lamp {

// "auto" is default_case_cache(); nothing for "off" and where there is no such place.
std::optional<CaseCacheOptions> cache_options(const LoaderConfig& config);

CaseStoreOptions store_options(const LoaderConfig& config);

// The batches of steps first ... last - 1 in order, made on the loader's threads, each of which
// counts for one of OpenMP's. `plan` and `store` outlive it.
Prefetcher<Batch> prefetch_batches(const BatchPlan& plan, CaseStore& store,
                                   const LoaderConfig& config, std::int64_t first,
                                   std::int64_t last);

}  // namespace lamp
