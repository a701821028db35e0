/** A guest of one side, as a child process, and the agent in it (programs/main.c) that runs programs. */
import { Child } from './child.ts';
import { type Outcome, parseOutcome } from './programs.ts';
import type { Files, Side } from './sides.ts';

/** The kernel says this when it starts the first program. */
const INIT = /Run \/init as init process/;
const PROMPT = /bench> $/;
const FAILED = /^failed: .*/m;
/** The guest's clock may differ from the host's by this part, and this many seconds for starting a program. */
const CLOCK_TOLERANCE = 0.05;
const CLOCK_SLACK_S = 0.05;

export interface Measured extends Outcome {
  /** Processor time of the whole child process (translating in other threads counts), where the host tells it. */
  readonly cpuSeconds: number | undefined;
}

export class Guest {
  readonly #child: Child;

  constructor(side: Side, files: Files) {
    this.#child = new Child(side.name, side.command(files));
  }

  /** Seconds from the launch until the kernel starts /init. */
  static async boot(side: Side, files: Files): Promise<{ guest: Guest; seconds: number }> {
    const start = performance.now();
    const guest = new Guest(side, files);
    await guest.#child.expect(INIT);
    return { guest, seconds: (performance.now() - start) / 1000 };
  }

  /** Until the agent waits for a command. */
  async ready(): Promise<void> {
    await this.#child.expect(PROMPT);
  }

  /** Runs a program once; throws if it fails or if the guest's clock cannot be believed. */
  async run(name: string, times: number): Promise<Measured> {
    const child = this.#child;
    child.text = '';
    const cpu = child.cpuSeconds();
    const start = performance.now();
    child.write(`${name} ${times}\n`);
    await child.expect(PROMPT);
    const host = (performance.now() - start) / 1000;
    const cpuNow = child.cpuSeconds();
    const outcome = parseOutcome(name, child.text.replaceAll('\r', ''));
    if (!outcome) throw new Error(`${child.name}: ${FAILED.exec(child.text)?.[0] ?? child.text}`);
    checkClock(child.name, outcome.seconds, host);
    return { ...outcome, cpuSeconds: cpu === undefined || cpuNow === undefined ? undefined : cpuNow - cpu };
  }

  /** Resolves with what it said on standard error (with `--stats`, counters). */
  async stop(): Promise<string> {
    await this.#child.stop();
    return this.#child.errors;
  }
}

/** Throws if more seconds passed in the guest than on the host, which waited for it. */
export function checkClock(name: string, guest: number, host: number): void {
  if (guest > host * (1 + CLOCK_TOLERANCE) + CLOCK_SLACK_S)
    throw new Error(`${name}: ${guest} s in the guest, but ${host.toFixed(2)} s on the host`);
}
