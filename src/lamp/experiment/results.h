// What an experiment found, as far as it has come: tables in the shape of the paper's, a file for
// spreadsheets, plots, and whether the claims hold.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/experiment/experiment_spec.h"
#include "lamp/report/bar_plot.h"

namespace lamp {

struct Results {
  const Experiment& experiment;
  Json provenance;  // command, machine, versions, data: printed on top
  // By row; one result a finished seed (dice_cell.h), in the order of the seeds.
  std::map<std::string, std::vector<Json>> dice;
  std::map<std::string, Json> timings;  // by row: {"seconds": [...], "peak_bytes": [...]}
  std::map<std::string, Json> control;  // by patch "16,16,16": {"accuracy", "standard_error", ...}
};

std::string results_markdown(const Results& results);
// A row a measurement: table,row,seed,quantity,value.
std::string results_csv(const Results& results);
// By file name. Empty where nothing is to be drawn.
std::map<std::string, BarPlot> results_plots(const Results& results);
// Everything above as data.
Json results_json(const Results& results);

}  // namespace lamp
