/* Its first instruction is ud2 (start.S), before any handler is set. */
#include "../lib/lib.h"

const char test_name[] = "first-fault";

void test_main(void) {}
