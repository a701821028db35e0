/** `npm run test:e2e`: real kernels, Debian's tools, compilers and emulators. One at a time: they are heavy. */
// As the commands do: threads that need not strip types from their modules do not end while V8 compiles the stripper, which
// now and then crashes it ("Check failed: jit_page.has_value()").
import './bin/compile-cache.mjs';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/e2e/**/*.e2e.ts'],
    testTimeout: 600_000,
    hookTimeout: 600_000,
    fileParallelism: false,
    // Guests run against the host's clock: a busy host may starve one. A test that needed a second try is shown as such.
    retry: 1,
  },
});
