#include <scangrad/core/format.h>
#include <scangrad/train/plot.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace scangrad {
namespace {

constexpr double frame_width = 568, height = 420;
constexpr double left = 72, top = 44, bottom = 56;
constexpr double legend_row = 18, legend_key = 26, letter = 6.6;
// Okabe and Ito's palette, which colour-blind readers can tell apart, with grey for its black and
// its yellow, which a dark and a white page hide; then again in dashes.
constexpr const char* colors[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                  "#e69f00", "#56b4e9", "#8a8a8a"};
constexpr const char* dashes[] = {"", " stroke-dasharray=\"7 4\"", " stroke-dasharray=\"2 4\""};
// Readable on white and on black: what a page's background will be is not known, and not what the
// reader's system prefers.
constexpr const char* text_color = "#7a7a7a";

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        // Other control characters are not allowed in XML at all.
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

/// One axis: data to pixels, and where its ticks stand.
struct Axis {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  bool logarithmic = false;
  double from = 0, to = 0;  // pixels

  /// Beyond 1e±300 the axis itself would leave what a double can hold.
  bool drawable(double value) const {
    return std::abs(value) < 1e300 && !(logarithmic && value < 1e-300);
  }
  double scaled(double value) const { return logarithmic ? std::log10(value) : value; }
  void include(double value) {
    low = std::min(low, scaled(value));
    high = std::max(high, scaled(value));
  }
  double pixel(double value) const {
    return from + (scaled(value) - low) / (high - low) * (to - from);
  }

  /// About six round values (1, 2 or 5 times a power of ten) within the axis.
  std::vector<double> ticks() const {
    const double raw = (high - low) / 6, power = std::pow(10, std::floor(std::log10(raw)));
    double step = power;
    for (double factor : {2.0, 5.0, 10.0}) {
      if (step < raw) step = factor * power;
    }
    if (logarithmic && high - low >= 1) step = std::max(1.0, std::round(step));
    std::vector<double> values;
    const double first = std::ceil(low / step - 1e-9), last = std::floor(high / step + 1e-9);
    const int count = static_cast<int>(last - first) + 1;
    for (int i = 0; i < count; ++i) {
      const double at = first + i == 0 ? 0 : (first + i) * step;
      values.push_back(logarithmic ? std::pow(10, at) : at);
    }
    return values;
  }

  /// A margin around the data; a single value, or what rounding makes of one, gets room on both
  /// sides.
  void pad() {
    const double size = std::max(std::abs(low), std::abs(high));
    const bool flat = high - low <= std::max(1e-9 * size, 1e-300);
    const double room = logarithmic ? 0.5 : std::max(size, 1.0) * 0.5;
    const double margin = flat ? room : 0.04 * (high - low);
    low -= margin;
    high += margin;
  }
};

std::string text(double x, double y, const char* anchor, const std::string& content,
                 const char* more = "") {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, more, escaped(content));
}

/// `0.25`, `400`, `200k`, `1.2M`: large numbers without zeros to count.
std::string tick_label(double value) {
  for (const auto& [unit, suffix] : {std::pair{1e9, "G"}, {1e6, "M"}, {1e4, "k"}}) {
    if (std::abs(value) >= unit)
      return fmt::format("{:.4g}{}", value / (unit == 1e4 ? 1e3 : unit), suffix);
  }
  return fmt::format("{:.4g}", value);
}

std::string grid(const Axis& x, const Axis& y) {
  std::string out;
  const auto line = [&](double x1, double y1, double x2, double y2) {
    out += fmt::format(
        "<line class=\"grid\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", x1, y1,
        x2, y2);
  };
  for (double tick : x.ticks()) {
    line(x.pixel(tick), y.from, x.pixel(tick), y.to);
    out += text(x.pixel(tick), y.from + 18, "middle", tick_label(tick));
  }
  for (double tick : y.ticks()) {
    line(x.from, y.pixel(tick), x.to, y.pixel(tick));
    out += text(x.from - 8, y.pixel(tick) + 4, "end", tick_label(tick));
  }
  return out;
}

/// How the curve of this number is drawn.
std::string stroke(std::size_t number) {
  return fmt::format("stroke=\"{}\" stroke-width=\"2\"{}", colors[number % std::size(colors)],
                     dashes[number / std::size(colors) % std::size(dashes)]);
}

std::string polyline(const Curve& curve, const Axis& x, const Axis& y, std::size_t number) {
  std::string path;
  bool drawing = false;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    if (!x.drawable(curve.x[i]) || !y.drawable(curve.y[i])) {
      drawing = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", drawing ? "L" : "M", x.pixel(curve.x[i]),
                        y.pixel(curve.y[i]));
    drawing = true;
  }
  return fmt::format("<path d=\"{}\" fill=\"none\" {} stroke-linejoin=\"round\"/>\n", path,
                     stroke(number));
}

/// Beside the frame, in the order in which the curves end, from the top.
std::string legend(const std::vector<Curve>& curves, const Axis& x, const Axis& y) {
  std::vector<std::pair<double, std::size_t>> ends;  // pixel, number of the curve
  for (std::size_t i = 0; i < curves.size(); ++i) {
    double end = y.from;
    for (const double value : curves[i].y) {
      if (y.drawable(value)) end = y.pixel(value);
    }
    ends.emplace_back(end, i);
  }
  std::sort(ends.begin(), ends.end());
  std::string out;
  double row = y.to + 8;
  for (const auto& [end, number] : ends) {
    out += fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n",
                       x.to + 14, row, x.to + 14 + legend_key, row, stroke(number));
    out += text(x.to + 20 + legend_key, row + 4, "start", curves[number].name);
    row += legend_row;
  }
  return out;
}

}  // namespace

std::string svg_plot(const std::vector<Curve>& curves, const PlotOptions& options) {
  Axis x{.from = left, .to = left + frame_width};
  Axis y{.logarithmic = options.log_y, .from = height - bottom, .to = top};
  for (const Curve& curve : curves) {
    check<ValueError>(curve.x.size() == curve.y.size(),
                      "plot: curve '{}' has {} x values and {} y values", curve.name,
                      curve.x.size(), curve.y.size());
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (!x.drawable(curve.x[i]) || !y.drawable(curve.y[i])) continue;
      x.include(curve.x[i]);
      y.include(curve.y[i]);
    }
  }
  check<ValueError>(x.low <= x.high, "plot: there is no point to draw");
  x.pad();
  y.pad();

  std::size_t longest = 0;
  for (const Curve& curve : curves) longest = std::max(longest, curve.name.size());
  const double width = x.to + 26 + legend_key + letter * static_cast<double>(longest);
  const double rows = top + 20 + legend_row * static_cast<double>(curves.size());
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<style>text{{fill:{2}}}.grid{{stroke:#888;stroke-opacity:.25}}</style>\n",
      width, std::max(height, rows), text_color);
  out += grid(x, y);
  out += text((x.from + x.to) / 2, 22, "middle", options.title, " font-size=\"15\"");
  out += text((x.from + x.to) / 2, height - 14, "middle", options.x_label);
  const double middle = (y.from + y.to) / 2;
  out += text(18, middle, "middle", options.y_label,
              fmt::format(" transform=\"rotate(-90 18 {:.1f})\"", middle).c_str());
  for (std::size_t i = 0; i < curves.size(); ++i) out += polyline(curves[i], x, y, i);
  return out + legend(curves, x, y) + "</svg>\n";
}

}  // namespace scangrad
