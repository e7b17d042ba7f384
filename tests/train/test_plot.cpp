// Charts are for people, but what makes one a chart can be tested: every point inside the frame,
// text that XML allows, and no picture of nothing.
#include <scangrad/core/error.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/plot.h>

#include <cmath>
#include <limits>
#include <regex>
#include <set>
#include <string>
#include <vector>

namespace sg = scangrad;

namespace {
int count(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  return static_cast<int>(std::distance(std::sregex_iterator(text.begin(), text.end(), regex), {}));
}
}  // namespace

TEST_CASE("every curve is a path whose points lie inside the frame") {
  const std::string svg = sg::svg_plot({{"a", {0, 10, 20}, {3, 1, 2}}, {"b", {5, 30}, {-1, 4}}});
  CHECK(count(svg, "<path ") == 2);
  const std::regex point("[ML]([0-9.]+) ([0-9.]+)");
  int points = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), point), end; it != end; ++it, ++points) {
    CHECK((std::stod((*it)[1]) >= 72 && std::stod((*it)[1]) <= 640));
    CHECK((std::stod((*it)[2]) >= 44 && std::stod((*it)[2]) <= 364));
  }
  CHECK(points == 5);
}

TEST_CASE("no two of twenty curves are drawn alike, and the legend has each as it is drawn") {
  std::vector<sg::Curve> curves;
  for (int i = 0; i < 20; ++i) {
    curves.push_back({"curve " + std::to_string(i), {0, 1}, {0, static_cast<double>(i * 7 % 20)}});
  }
  const std::string svg = sg::svg_plot(curves);
  const std::regex drawn(
      "<path [^>]*(stroke=\"#[^>]*stroke-width=\"2\"( stroke-dash[^ ]* [^ ]*\")?)");
  std::set<std::string> strokes;
  for (std::sregex_iterator it(svg.begin(), svg.end(), drawn), end; it != end; ++it) {
    strokes.insert((*it)[1]);
    CHECK(count(svg, "<line x1[^>]*" + (*it)[1].str() + "/>") == 1);
  }
  CHECK(strokes.size() == 20);
}

TEST_CASE("the legend is in the order in which the curves end, within the picture") {
  const std::string svg = sg::svg_plot(
      {{"low", {0, 1}, {9, 1}}, {"diverged", {0, 1}, {2, NAN}}, {"high", {0, 1}, {1, 8}}});
  CHECK(svg.find(">high<") < svg.find(">diverged<"));
  CHECK(svg.find(">diverged<") < svg.find(">low<"));
  std::smatch size;
  REQUIRE(std::regex_search(svg, size, std::regex("viewBox=\"0 0 ([0-9]+) ([0-9]+)\"")));
  std::smatch name;
  REQUIRE(std::regex_search(svg, name, std::regex("<text x=\"([0-9.]+)\"[^>]*>diverged<")));
  CHECK(std::stod(name[1]) + 8 * 6 < std::stod(size[1]));  // letters of some 6 pixels
}

TEST_CASE("names and titles are escaped as XML demands") {
  const std::string svg = sg::svg_plot({{"a<b & \"c\"\x01", {0, 1}, {0, 1}}}, {.title = "x > y"});
  CHECK(svg.find("a&lt;b &amp; &quot;c&quot; ") != std::string::npos);
  CHECK(svg.find("x &gt; y") != std::string::npos);
  CHECK(svg.find('\x01') == std::string::npos);
}

TEST_CASE("what cannot be drawn leaves a gap") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string gap = sg::svg_plot({{"a", {0, 1, 2, 3, 4}, {1, 2, nan, 2, 1}}});
  CHECK(count(gap, "M[0-9]") == 2);
  CHECK(gap.find("nan") == std::string::npos);
  const std::string log = sg::svg_plot({{"a", {0, 1, 2}, {0, 1, 100}}}, {.log_y = true});
  CHECK(count(log, "[ML][0-9]") == 2);
}

TEST_CASE("one point, equal values and large numbers have a frame too") {
  for (const sg::Curve& curve : {sg::Curve{"one", {5}, {7}}, sg::Curve{"flat", {0, 1}, {2, 2}},
                                 sg::Curve{"large", {0, 1e9}, {1e-9, 1e9}}}) {
    const std::string svg = sg::svg_plot({curve});
    CHECK(svg.find("nan") == std::string::npos);
    CHECK(svg.find("inf") == std::string::npos);
    CHECK(count(svg, "class=\"grid\"") >= 4);
    CHECK(count(svg, "class=\"grid\"") < 40);
  }
}

TEST_CASE("values that differ by rounding alone, and the largest, are drawn in finite time") {
  const double one = std::nextafter(1.0, 2.0), tiny = std::numeric_limits<double>::denorm_min();
  for (const sg::Curve& curve : {sg::Curve{"ulp", {0, 1}, {1.0, one}},
                                 sg::Curve{"large", {1e17, 1e17 + 16}, {3e17, 3e17 + 64}},
                                 sg::Curve{"denormal", {0, tiny}, {1, 2}},
                                 sg::Curve{"whole", {0, 1, 2}, {-1e299, 1e299, 1.7e308}}}) {
    for (const bool log_y : {false, true}) {
      const std::string svg = sg::svg_plot({curve}, {.log_y = log_y});
      CHECK(count(svg, "nan|inf") == 0);
      CHECK(count(svg, "class=\"grid\"") >= 4);
      CHECK(count(svg, "class=\"grid\"") < 40);
    }
  }
}

TEST_CASE("nothing to draw is an error, not an empty picture") {
  CHECK_THROWS_AS(sg::svg_plot({}), sg::ValueError);
  CHECK_THROWS_AS(sg::svg_plot({{"a", {}, {}}}), sg::ValueError);
  CHECK_THROWS_AS(sg::svg_plot({{"a", {1}, {}}}), sg::ValueError);
}
