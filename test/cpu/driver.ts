/** What runs a case: the interpreter, the translator or the real CPU. The same suite serves them all. */
import type { Case, Outcome } from './case.ts';

export interface CpuDriver {
  readonly name: string;
  run(cases: readonly Case[]): Outcome[];
}
