#include <scangrad/core/parallel.h>
#include <scangrad/tests/support/catch.h>

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <vector>

namespace sg = scangrad;

namespace {

/// Sets the number of threads for one test.
struct Threads {
  explicit Threads(int n) : before(sg::num_threads()) { sg::set_num_threads(n); }
  ~Threads() { sg::set_num_threads(before); }
  int before;
};

}  // namespace

TEST_CASE("parallel_for: every item once, whatever the length, grain and number of threads") {
  for (int threads : {1, 2, 4}) {
    const Threads guard(threads);
    for (std::int64_t n : {0, 1, 2, 7, 64, 1000}) {
      for (std::int64_t grain : {1, 3, 64, 5000}) {
        std::vector<int> visits(static_cast<std::size_t>(n), 0);
        sg::parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
        });
        REQUIRE(visits == std::vector<int>(static_cast<std::size_t>(n), 1));
      }
    }
  }
}

TEST_CASE("parallel_for: ranges start at multiples of the grain, so that blocks stay whole") {
  const Threads guard(4);
  sg::parallel_for(1003, 10, [&](std::int64_t begin, std::int64_t end) {
    if (begin % 10 != 0 || (end % 10 != 0 && end != 1003)) throw std::logic_error("split a block");
  });
  SUCCEED();
}

TEST_CASE("parallel_for: an exception in a body arrives at the caller, and the next loop works") {
  // Unhandled in an OpenMP thread it would end the process.
  const Threads guard(2);
  for (std::int64_t bad : {0, 999}) {
    CHECK_THROWS_WITH(sg::parallel_for(1000, 1,
                                       [&](std::int64_t begin, std::int64_t end) {
                                         if (begin <= bad && bad < end) {
                                           throw std::runtime_error("item " + std::to_string(bad));
                                         }
                                       }),
                      "item " + std::to_string(bad));
  }
  std::atomic<std::int64_t> sum{0};
  sg::parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  CHECK(sum == 1000);
}

TEST_CASE("parallel_for: a loop inside a loop runs, and its exceptions arrive too") {
  const Threads guard(2);
  std::atomic<std::int64_t> items{0};
  sg::parallel_for(8, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      sg::parallel_for(100, 1, [&](std::int64_t b, std::int64_t e) { items += e - b; });
    }
  });
  CHECK(items == 800);
  const auto failing = [](std::int64_t, std::int64_t) {
    sg::parallel_for(2, 1, [](std::int64_t, std::int64_t) { throw std::runtime_error("inner"); });
  };
  CHECK_THROWS_WITH(sg::parallel_for(8, 1, failing), "inner");
}

TEST_CASE("threads: at least one is used, whatever is asked for") {
  const Threads guard(0);
  CHECK(sg::num_threads() == 1);
}
