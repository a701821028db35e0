/* N bodies with x87 instructions: doubles in memory, 80-bit extended precision on the stack. */
#pragma GCC target("fpmath=387")
#define X87
#include "nbody.h"

BENCH(nbody_x87) {
  return nbody(n);
}
