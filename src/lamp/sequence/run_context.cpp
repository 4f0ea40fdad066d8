// A thread-local pointer, and generators keyed by where the run is.
#include "lamp/sequence/run_context.h"

#include <ATen/CPUGeneratorImpl.h>

#include "lamp/base/random.h"
#include "lamp/base/random_streams.h"

namespace lamp {
namespace {

thread_local RunContext* innermost = nullptr;

}  // namespace

at::Generator RunContext::next_generator() {
  Random key{seed,
             kLayerStream,
             static_cast<std::uint64_t>(step),
             static_cast<std::uint64_t>(microbatch),
             static_cast<std::uint64_t>(link),
             draws++};
  return at::make_generator<at::CPUGeneratorImpl>(key.bits());
}

RunContext* RunContext::current() { return innermost; }

RunScope::RunScope(RunContext& context) : before_(innermost) { innermost = &context; }

RunScope::~RunScope() { innermost = before_; }

}  // namespace lamp
