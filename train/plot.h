#pragma once
#include <string>
#include <vector>

namespace scangrad {

/// One line of a chart: points (x[i], y[i]). Points that are not finite leave a gap.
struct Curve {
  std::string name = {};
  std::vector<double> x = {};
  std::vector<double> y = {};
};

/// The order of members is frozen.
struct PlotOptions {
  std::string title = {};
  std::string x_label = {};
  std::string y_label = {};
  bool log_y = false;  ///< logarithmic y axis; points of 0 or less are left out
};

/// A line chart as an SVG document, with axes, ticks and a legend beside it in the order in which
/// the curves end; readable on light and dark backgrounds. Throws ValueError where a curve's x and
/// y differ in length or no point can be drawn.
std::string svg_plot(const std::vector<Curve>& curves, const PlotOptions& options = {});

}  // namespace scangrad
