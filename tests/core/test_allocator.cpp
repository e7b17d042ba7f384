#include <scangrad/core/backend.h>
#include <scangrad/core/cpu_allocator.h>
#include <scangrad/core/error.h>
#include <scangrad/core/tensor.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/sanitizer.h>

#include <cstdint>
#ifdef SCANGRAD_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace sg = scangrad;

namespace {
std::size_t active() { return sg::memory_stats(sg::Device::cpu()).active; }
}  // namespace

TEST_CASE("allocator: counts what live tensors hold, and the most it was") {
  const std::size_t before = active();
  sg::Tensor x = sg::empty({1000, 1000});
  const std::size_t held = active() - before;
  CHECK(held >= 4'000'000);
  CHECK(held <= 4'500'000);  // sizes are rounded up by an eighth at most
  CHECK(sg::memory_stats(sg::Device::cpu()).peak >= before + held);
  const sg::Tensor view = x.as_strided({10}, {1}, 0);
  CHECK(active() == before + held);  // views hold nothing of their own
  x = {};
  CHECK(active() == before + held);  // but keep it
}

TEST_CASE("allocator: everything is given back") {
  const std::size_t before = active();
  for (std::int64_t n : {0, 1, 15, 16, 17, 1000, 1 << 20}) {
    const sg::Tensor x = sg::zeros({n});
    CHECK(active() >= before + static_cast<std::size_t>(n) * 4);
  }
  CHECK(active() == before);
}

TEST_CASE("allocator: memory is aligned for vector instructions and cache lines") {
  for (std::int64_t n : {1, 3, 100, 1000, 123457}) {
    CHECK(reinterpret_cast<std::uintptr_t>(sg::empty({n}).raw_data()) % 64 == 0);
  }
}

TEST_CASE("allocator: a freed block serves the next request of its size, or is freed at once") {
  // A training step asks for the same sizes again and again; sanitizers must see every free.
  void* first = sg::cpu_allocate(123456);
  const std::size_t cached = sg::cpu_memory_stats().cached;
  sg::cpu_deallocate(first, 123456);
  const bool caches = sg::cpu_memory_stats().cached > cached;
#if defined(SCANGRAD_ADDRESS_SANITIZER) || defined(SCANGRAD_THREAD_SANITIZER)
  CHECK_FALSE(caches);
#else
  CHECK(caches);
  void* second = sg::cpu_allocate(123450);  // the same size once rounded
  CHECK(second == first);
  CHECK(sg::cpu_memory_stats().cached == cached);
  sg::cpu_deallocate(second, 123450);
#endif
}

#ifdef SCANGRAD_ADDRESS_SANITIZER
TEST_CASE("allocator: AddressSanitizer sees the first byte past a tensor") {
  // With sizes rounded up, a kernel could read past its operand unnoticed.
  const sg::Tensor x = sg::empty({5});
  CHECK_FALSE(__asan_address_is_poisoned(x.data<float>() + 4));
  CHECK(__asan_address_is_poisoned(x.data<float>() + 5));
}
#endif

TEST_CASE("allocator: memory that cannot be had is an error that says how much") {
  const std::int64_t elements = std::int64_t{1} << 58;  // 2^60 bytes
  CHECK_THROWS_AS(sg::empty({elements}), sg::MemoryError);
  CHECK_THROWS_WITH(sg::empty({elements}), ContainsSubstring("1152921504606846976 bytes"));
}
