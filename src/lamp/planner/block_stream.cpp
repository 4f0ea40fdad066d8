// Tick by tick: every free device takes the oldest batch whose next block is its own.
#include "lamp/planner/block_stream.h"

#include <cstddef>

#include "lamp/planner/timetable.h"

namespace lamp {
namespace {

struct Batch {
  std::size_t next = 0;  // block
  int ready = 0;         // tick
};

}  // namespace

std::vector<Block> conventional_blocks() {
  constexpr int kUnit = kTicksPerUnit;
  return {{"e1", 0, kUnit}, {"e2", 1, kUnit}, {"d2", 1, kUnit}, {"d1", 0, kUnit}};
}

std::vector<Block> lamp_blocks() {
  return {{"e1", 0, 3}, {"e2", 0, 1}, {"e2", 1, 2}, {"d2", 1, 2}, {"d2", 2, 1}, {"d1", 2, 3}};
}

BlockStream simulate_stream(const std::vector<Block>& blocks, int devices, int batches,
                            int drawn_ticks) {
  std::vector<Batch> stream(static_cast<std::size_t>(batches));
  std::vector<int> free(static_cast<std::size_t>(devices), 0);
  std::vector<int> ends;  // ticks at which batches leave
  std::vector<TimetableCell> cells;
  for (int tick = 0; ends.size() < stream.size(); ++tick) {
    for (std::size_t b = 0; b < stream.size(); ++b) {
      Batch& batch = stream[b];
      if (batch.next == blocks.size() || batch.ready > tick) continue;
      const Block& block = blocks[batch.next];
      int& device_free = free[static_cast<std::size_t>(block.device)];
      if (device_free > tick) continue;
      device_free = batch.ready = tick + block.ticks;
      cells.push_back({block.device, tick, batch.ready, block.name + "." + std::to_string(b)});
      if (++batch.next == blocks.size()) ends.push_back(batch.ready);
    }
  }
  const std::size_t half = stream.size() / 2;
  const double units = static_cast<double>(ends.back() - ends[half - 1]) / kTicksPerUnit;
  return {static_cast<double>(stream.size() - half) / units,
          draw_timetable(cells, devices, drawn_ticks)};
}

AppendixB simulate_appendix_b() {
  constexpr int kBatches = 120;  // enough to tell the sustained throughput
  constexpr int kDrawnTicks = 30;
  return {simulate_stream(conventional_blocks(), kAppendixDevices, kBatches, kDrawnTicks),
          simulate_stream(lamp_blocks(), kAppendixDevices, kBatches, kDrawnTicks)};
}

}  // namespace lamp
