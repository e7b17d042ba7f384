// metrics.jsonl is a run's memory: what was written must be there after a kill, and a resumed run
// must neither repeat nor lose a line.
#include <scangrad/core/error.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>

#include <cmath>
#include <filesystem>
#include <limits>

namespace sg = scangrad;

TEST_CASE("lines are on the disk as soon as they are written, counts as integers, NaN as null") {
  sg::MetricsLog log("metrics_a.jsonl", 0);
  log.write({{"step", 10}, {"train_loss", 0.1}, {"lr", std::nan("")}});
  CHECK(sg::read_file("metrics_a.jsonl") == "{\"step\":10,\"train_loss\":0.1,\"lr\":null}\n");
}

TEST_CASE("a value comes back bit for bit") {
  sg::MetricsLog log("metrics_b.jsonl", 0);
  const double value = 1.0 / 3.0;
  log.write({{"step", 1}, {"x", value}});
  const auto lines = sg::read_metrics("metrics_b.jsonl");
  REQUIRE(lines.size() == 1);
  CHECK(sg::metric(lines[0], "x") == value);
  CHECK(std::isnan(sg::metric(lines[0], "y")));
}

TEST_CASE("a resumed run cuts what comes after its checkpoint, and a torn last line") {
  {
    sg::MetricsLog log("metrics_c.jsonl", 0);
    for (double step : {10, 20, 30}) log.write({{"step", step}, {"x", step / 7}});
  }
  const std::string whole = sg::read_file("metrics_c.jsonl");
  sg::write_file("metrics_c.jsonl", whole + "{\"step\":40,\"tr");
  CHECK(sg::read_metrics("metrics_c.jsonl").size() == 3);
  sg::MetricsLog log("metrics_c.jsonl", 20);
  log.write({{"step", 30}, {"x", 30.0 / 7}});
  CHECK(sg::read_file("metrics_c.jsonl") == whole);
}

TEST_CASE("a run that starts anew starts with an empty file") {
  sg::write_file("metrics_d.jsonl", "{\"step\":1}\n");
  sg::MetricsLog log("metrics_d.jsonl", 0);
  CHECK(sg::read_metrics("metrics_d.jsonl").empty());
}

TEST_CASE("what is no metrics file is refused") {
  CHECK_THROWS_AS(sg::read_metrics("no_such.jsonl"), sg::IoError);
  sg::write_file("metrics_e.jsonl", "{\"step\":1}\nnonsense\n");
  CHECK_THROWS_AS(sg::read_metrics("metrics_e.jsonl"), sg::ValueError);
  CHECK_THROWS_AS(sg::MetricsLog("no_such_folder/m.jsonl", 0), sg::IoError);
}
