/* N bodies with the scalar doubles of SSE2. */
#include "nbody.h"

BENCH(nbody_sse2) {
  return nbody(n);
}
