// The throughput argument of the paper's Appendix B as a simulation. Its two figures are not in the
// text, so the model is stated here:
//
//   A batch is a row of four blocks of one unit each: e1, e2, d2, d1. Batches come one after
//   another, without end, to three devices; a device works on one block at a time, the oldest batch
//   first.
//   Conventional: a skip ties e_i to d_i, so both stay on one device; two pairs keep two devices
//   busy for 2 units a batch, and the third has nothing that it could take over.
//   LAMP: the duplicated outputs remove the tie, so the row of layers may be cut anywhere: here
//   into three stages of 4/3 units (a block is a group of layers; e2 and d2 are cut inside).
//
// So t/2 and 3t/4 batches in t units of time, once the pipeline is full.
#pragma once

#include <string>
#include <vector>

namespace lamp {

// Part of a batch's work, on one device without a break.
struct Block {
  std::string name;
  int device;
  int ticks;  // a unit is kTicksPerUnit of them
};
constexpr int kTicksPerUnit = 3;  // so that 4/3 units are whole ticks

std::vector<Block> conventional_blocks();
std::vector<Block> lamp_blocks();

struct BlockStream {
  double batches_per_unit;  // sustained: over the second half of the batches
  std::string timetable;    // of the first `drawn_ticks` ticks: block and batch, such as e1.0
};

// Runs `batches` (2 or more, even) copies of the row `blocks` over `devices`.
BlockStream simulate_stream(const std::vector<Block>& blocks, int devices, int batches,
                            int drawn_ticks);

// Both rows on the appendix's devices.
constexpr int kAppendixDevices = 3;
struct AppendixB {
  BlockStream conventional, lamp;
};
AppendixB simulate_appendix_b();

}  // namespace lamp
