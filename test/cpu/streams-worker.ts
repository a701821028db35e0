/** A thread that compares the streams of a range of seeds (test/e2e/streams.e2e.ts). */
import { setFlagsFromString } from 'node:v8';
import { parentPort, workerData } from 'node:worker_threads';
import { Streams } from './streams.ts';

export interface Share {
  /** Seeds from, step and number of streams. */
  readonly first: number;
  readonly step: number;
  readonly count: number;
}
export interface Compared {
  readonly count: number;
  /** Streams that the translator took. */
  readonly translated: number;
  /** Streams that cannot be compared (Streams.overwritten). */
  readonly overwritten: number;
  readonly failures: string[];
}

const { first, step, count } = workerData as Share;
const streams = new Streams();
// Each translation runs once: the baseline compiler is quicker.
setFlagsFromString('--no-experimental-wasm-compilation-hints');
const failures = streams.failures(first, step, count);
parentPort!.postMessage({
  count: streams.compared,
  translated: streams.translated,
  overwritten: streams.overwritten,
  failures,
} satisfies Compared);
