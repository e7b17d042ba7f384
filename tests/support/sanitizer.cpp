// A request for more memory than there is must fail as it does without a sanitizer: the tests ask
// for the MemoryError that follows. Read by AddressSanitizer at start.
#if defined(__SANITIZE_ADDRESS__)
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }
#endif
