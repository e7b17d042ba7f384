// Which sanitizer a test is built with: gcc and clang say it differently.
#pragma once
#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer)
#define SCANGRAD_ADDRESS_SANITIZER
#elif __has_feature(thread_sanitizer)
#define SCANGRAD_THREAD_SANITIZER
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SCANGRAD_ADDRESS_SANITIZER
#elif defined(__SANITIZE_THREAD__)
#define SCANGRAD_THREAD_SANITIZER
#endif
