// Bars with error bars and the single measurements on top: how experiments show their tables.
#pragma once

#include <string>
#include <vector>

namespace lamp {

struct PlotBar {
  std::string name;
  std::vector<double> values;  // single measurements; the bar is their mean
};

struct BarPlot {
  std::string title;
  std::string axis;  // of the values, with the unit: "mean Dice, %"
  std::vector<PlotBar> bars;
};

// A whole SVG document: a horizontal bar a row from zero, a line over mean - deviation ... mean +
// deviation, a dot for each measurement, the mean in figures.
std::string bar_plot_svg(const BarPlot& plot);

// Mean, and the sample standard deviation (0 for a single value). NaN for no values.
double mean_of(const std::vector<double>& values);
double deviation_of(const std::vector<double>& values);

}  // namespace lamp
