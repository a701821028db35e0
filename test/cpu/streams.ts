/**
 * Random instruction streams: recorded instructions one behind the other, with conditional branches over some of them, or floating point alone, run in
 * both tiers. What they do is not known; that both do the same is.
 */
import { type Case, hex, type Outcome } from './case.ts';
import { EngineDriver } from './engine-driver.ts';
import { load } from './recorded.ts';
import { Rng } from './rng.ts';
import { sseStream } from './sse-streams.ts';
import { DEFAULT_AT, WINDOW } from './state.ts';
import { FILES } from './tables.ts';
import { TranslatorDriver } from './translator-driver.ts';
import { x87Stream } from './x87-streams.ts';

/** Not comparable: time and randomness. */
const SKIPPED = /^(rdtsc|rdtscp|rdrand|rdseed) /;

/** Code of all recorded instructions in 64-bit mode, by file, so that each has its share. */
function pieces(): Uint8Array[][] {
  return FILES.map((file) =>
    load(file)
      .filter((g) => !SKIPPED.test(g.title))
      .flatMap((g) => g.cases.filter((c) => c.mode === 0 && c.code.length <= 15).map((c) => c.code)),
  );
}

/** Most instructions of a stream: some go round for ever. */
const LIMIT = 2000;
/** Of so many one has x87 instructions alone, and one SSE arithmetic. */
const SHARE = 8;
/** More say nothing new. */
const MOST_FAILURES = 5;

export class Streams {
  private readonly interpreter = new EngineDriver(LIMIT);
  private readonly translator = new TranslatorDriver(LIMIT);
  private readonly pieces = pieces();

  /** Streams that have been run in both tiers. */
  compared = 0;
  /** Streams that differed as a string instruction wrote over itself: it may go on, or be fetched anew. */
  overwritten = 0;

  get translated(): number {
    return this.translator.translated;
  }

  /** The stream that a seed gives. */
  make(seed: number): Case {
    if (seed % SHARE === 0) return x87Stream(seed);
    if (seed % SHARE === 1) return sseStream(seed);
    const rng = new Rng(seed);
    const code: number[] = [];
    const n = rng.range(2, 24);
    for (let i = 0; i < n; i++) {
      const piece = rng.pick(rng.pick(this.pieces));
      // jcc over the next instruction, or a short loop back to it that rcx bounds.
      if (rng.below(4) === 0) code.push(0x70 + rng.below(16), piece.length);
      code.push(...piece);
      if (rng.below(8) === 0 && piece.length < 100) code.push(0xe2, -(piece.length + 2) & 0xff);
    }
    // Registers that are often used as addresses point into the window.
    const over = new Map<string, string>();
    for (const r of ['a', 'b', 'd', 'si', 'di', 'bp', 'sp']) {
      if (rng.below(4)) over.set(r, (WINDOW + 0x800 + rng.below(0x400)).toString(16));
    }
    over.set('c', rng.below(40).toString(16));
    const seed32 = rng.u32();
    // Some over the end of a page, which lies anywhere, in an instruction mostly.
    const at = rng.below(4) ? DEFAULT_AT : DEFAULT_AT - 1 - rng.below(code.length - 1);
    return { mode: 0, at, code: Uint8Array.from(code), seed: seed32, over, pokes: [] };
  }

  /** Run a stream in both tiers; what differs, or undefined. */
  compare(seed: number): { case: Case; interpreter: Outcome; translator: Outcome } | undefined {
    const c = this.make(seed);
    const [interpreter] = this.interpreter.run([c]);
    const [translator] = this.translator.run([c]);
    this.compared++;
    if (text(interpreter) === text(translator)) return undefined;
    if (this.interpreter.overwritten || this.translator.overwritten) {
      this.overwritten++;
      return undefined;
    }
    return { case: c, interpreter, translator };
  }

  /** Compare `count` streams, of seeds from `first` on, each `step` after the one before: what differed, a few at most. */
  failures(first: number, step: number, count: number): string[] {
    const failures: string[] = [];
    for (let n = 0; n < count && failures.length < MOST_FAILURES; n++) {
      const seed = first + n * step;
      const d = this.compare(seed);
      if (d) failures.push(`seed ${seed}: ${hex(d.case.code)}\n  ${text(d.interpreter)}\n  ${text(d.translator)}`);
    }
    return failures;
  }
}

function text(o: Outcome): string {
  const memory = o.memory.map((p) => `@${p.offset.toString(16)}=${Buffer.from(p.bytes).toString('hex')}`);
  const x = o.exception ? `x=${o.exception.vector}:${o.exception.error}:${o.exception.cr2.toString(16)}` : '';
  return [`ip=${o.ip.toString(16)}`, x, ...[...o.changed].map(([k, v]) => `${k}=${v}`), ...memory].join(' ');
}
