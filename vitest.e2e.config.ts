/** `npm run test:e2e`: real kernels, Debian's tools, compilers and emulators. One at a time: they are heavy. */
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
