/** `npm test`: everything that needs no compiler, network or root. */
// As the commands do: threads that need not strip types from their modules do not end while V8 compiles the stripper, which
// now and then crashes it ("Check failed: jit_page.has_value()").
import './bin/compile-cache.mjs';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
