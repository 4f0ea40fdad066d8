// Written as text: a large timeline would be slow and big as a tree of JSON values.
#include "lamp/report/timeline_trace.h"

#include <cstddef>

#include "lamp/base/json.h"
#include "lamp/base/text.h"

namespace lamp {
namespace {

std::string quoted(const std::string& text) { return dump_json(Json(text), -1); }

std::string name_event(int process, int thread, const std::string& name) {
  return "{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": " + std::to_string(process) +
         ", \"tid\": " + std::to_string(thread) + ", \"args\": {\"name\": " + quoted(name) + "}}";
}

std::string process_event(int process, const std::string& name) {
  return "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": " + std::to_string(process) +
         ", \"args\": {\"name\": " + quoted(name) + "}}";
}

std::string bar_event(const TimelineEntry& bar, int first_process) {
  constexpr double kMicroseconds = 1e6;
  const bool moves = bar.kind == WorkKind::kTransfer;
  const std::string kind = to_string(bar.kind);
  return "{\"name\": " + quoted(kind + " " + std::to_string(bar.microbatch)) +
         ", \"cat\": " + quoted(kind) +
         ", \"ph\": \"X\", \"pid\": " + std::to_string(first_process + (moves ? 1 : 0)) +
         ", \"tid\": " + std::to_string(bar.stage) +
         ", \"ts\": " + shortest(bar.start * kMicroseconds) +
         ", \"dur\": " + shortest((bar.end - bar.start) * kMicroseconds) +
         ", \"args\": {\"microbatch\": " + std::to_string(bar.microbatch) +
         (moves ? ", \"to_stage\": " + std::to_string(bar.to_stage) : "") + "}}";
}

}  // namespace

std::string timeline_trace(const TimelinePicture& picture) {
  std::string events;
  const auto add = [&](const std::string& event) {
    events += (events.empty() ? "" : ",\n") + event;
  };
  for (std::size_t p = 0; p < picture.panels.size(); ++p) {
    const TimelinePanel& panel = picture.panels[p];
    const int first = 2 * static_cast<int>(p);
    const std::string prefix = panel.name.empty() ? "" : panel.name + ": ";
    add(process_event(first, prefix + "stages"));
    add(process_event(first + 1, prefix + "links"));
    for (int stage = 0; stage < panel.stages; ++stage) {
      add(name_event(first, stage, panel.row_name(stage)));
      add(name_event(first + 1, stage, "sent by " + panel.row_name(stage)));
    }
    for (const TimelineEntry& bar : panel.timeline) add(bar_event(bar, first));
  }
  return "{\"written_by\": " + quoted(kTraceWriter) +
         ", \"displayTimeUnit\": \"ms\", \"otherData\": {\"title\": " + quoted(picture.title) +
         "}, \"traceEvents\": [\n" + events + "\n]}\n";
}

}  // namespace lamp
