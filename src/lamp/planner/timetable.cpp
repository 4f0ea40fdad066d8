// Fixed-width columns, as wide as the longest label.
#include "lamp/planner/timetable.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace lamp {

std::string draw_timetable(const std::vector<TimetableCell>& cells, int rows, int ticks) {
  const auto columns = static_cast<std::size_t>(ticks);
  std::vector<std::vector<std::string>> grid(static_cast<std::size_t>(rows),
                                             std::vector<std::string>(columns, "."));
  std::size_t width = 1;
  for (const TimetableCell& cell : cells) {
    if (cell.start < ticks) width = std::max(width, cell.label.size());
    for (int tick = cell.start; tick < std::min(cell.end, ticks); ++tick)
      grid[static_cast<std::size_t>(cell.row)][static_cast<std::size_t>(tick)] = cell.label;
  }
  const std::size_t names = std::to_string(rows - 1).size();
  std::string text;
  for (std::size_t row = 0; row < grid.size(); ++row) {
    std::string line = std::to_string(row);
    line.resize(names + 2, ' ');
    for (std::string cell : grid[row]) {
      cell.resize(width + 1, ' ');
      line += cell;
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string timetable(const Simulation& simulation, int most_ticks) {
  const auto whole = [](double time) { return time == std::floor(time); };
  if (simulation.makespan > most_ticks) return "";
  std::vector<TimetableCell> cells;
  for (const TimelineEntry& entry : simulation.timeline) {
    if (entry.kind == WorkKind::kTransfer) continue;
    if (!whole(entry.start) || !whole(entry.end)) return "";
    cells.push_back({entry.stage, static_cast<int>(entry.start), static_cast<int>(entry.end),
                     "FBWR"[static_cast<int>(entry.kind)] + std::to_string(entry.microbatch)});
  }
  return draw_timetable(cells, static_cast<int>(simulation.busy.size()),
                        static_cast<int>(std::ceil(simulation.makespan)));
}

}  // namespace lamp
