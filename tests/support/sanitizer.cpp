// A request for more memory than there is must fail as it does without a sanitizer: the tests ask
// for the MemoryError that follows. Read by the sanitizer at start.
#include <scangrad/tests/support/sanitizer.h>

#if defined(SCANGRAD_ADDRESS_SANITIZER)
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#elif defined(SCANGRAD_THREAD_SANITIZER)
extern "C" const char* __tsan_default_options();
extern "C" const char* __tsan_default_options() { return "allocator_may_return_null=1"; }
#endif
