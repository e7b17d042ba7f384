#pragma once
#include <scangrad/core/backend.h>
#include <scangrad/core/graph_capture.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace scangrad::tools {

using Clock = std::chrono::steady_clock;
inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Median milliseconds of one call of `run(i)`, i counting the calls, from at least five timings,
/// after three to warm up, and then until `budget` milliseconds are spent. On a GPU a timing is of
/// ten calls in one captured graph, so that it has the device's time and not that of starting
/// kernels and waiting for them.
template <class Run>
double median_milliseconds(Device device, double budget, Run run) {
  const int calls = device.is_cpu() ? 1 : 10;
  int first = 0;
  GraphCapture timed(device, [&] {
    for (int i = 0; i < calls; ++i) run(first + i);
    first += calls;
  });
  const auto once = [&] {
    synchronize(device);
    const auto start = Clock::now();
    timed.run();
    synchronize(device);
    return milliseconds_since(start) / calls;
  };
  for (int i = 0; i < 3; ++i) once();
  std::vector<double> times;
  double spent = 0;
  while (times.size() < 5 || (spent < budget && times.size() < 1000)) {
    times.push_back(once());
    spent += calls * times.back();
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace scangrad::tools
