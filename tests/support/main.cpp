// main() for versions of Catch2 that bring none.
#ifdef SCANGRAD_CATCH_MAIN
#define CATCH_CONFIG_MAIN
#endif
#include <scangrad/tests/support/catch.h>
