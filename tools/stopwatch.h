#pragma once
#include <scangrad/core/backend.h>

#include <algorithm>
#include <chrono>
#include <vector>

namespace scangrad::tools {

using Clock = std::chrono::steady_clock;
inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Median milliseconds of one call of `run(i)`, i counting the calls, after two to warm up: at
/// least five calls, then until `budget` milliseconds are spent. Waits for the device each time.
template <class Run>
double median_milliseconds(Device device, double budget, Run run) {
  int calls = 0;
  const auto once = [&] {
    synchronize(device);
    const auto start = Clock::now();
    run(calls++);
    synchronize(device);
    return milliseconds_since(start);
  };
  once();
  once();
  std::vector<double> times;
  double spent = 0;
  while (times.size() < 5 || (spent < budget && times.size() < 1000)) {
    times.push_back(once());
    spent += times.back();
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace scangrad::tools
