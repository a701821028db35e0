import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { header } from './fuzz-abi.ts';

it('the fuzzing guest knows the interface as it is (fuzz-abi.ts prints it)', () => {
  expect(readFileSync(new URL('./lib/fuzz-abi.h', import.meta.url), 'utf8')).toBe(header());
});
