/** A guest of one side, as a child process, and the agent in it (programs/main.c) that runs programs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Outcome, parseOutcome } from './programs.ts';
import { type Files, ROOT, type Side } from './sides.ts';

/** The kernel says this when it starts the first program. */
const INIT = /Run \/init as init process/;
const PROMPT = /bench> $/;
const FAILED = /^failed: .*/m;
const LIMIT_S = 300;
/** Ticks of /proc/PID/stat a second (USER_HZ, part of Linux's ABI). */
const TICKS = 100;
/** The guest's clock may differ from the host's by this part, and this many seconds for starting a program. */
const CLOCK_TOLERANCE = 0.05;
const CLOCK_SLACK_S = 0.05;

export interface Measured extends Outcome {
  /** Processor time of the whole child process (translating in other threads counts), where the host tells it. */
  readonly cpuSeconds: number | undefined;
}

export class Guest {
  readonly #side: Side;
  readonly #child: ChildProcess;
  #text = '';
  #errors = '';
  #ended = false;
  #wake = () => {};

  constructor(side: Side, files: Files) {
    this.#side = side;
    const [program, ...args] = side.command(files);
    this.#child = spawn(program, args, { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout!.setEncoding('latin1').on('data', (text: string) => {
      this.#text += text;
      this.#wake();
    });
    this.#child.stderr!.setEncoding('latin1').on('data', (text: string) => {
      this.#errors += text;
    });
    this.#child.stdin!.on('error', () => {}); // it ended: what waits for it says so
    const end = () => {
      this.#ended = true;
      this.#wake();
    };
    this.#child.on('error', (error) => {
      this.#errors += error.message;
      end();
    });
    this.#child.on('close', end);
  }

  /** Seconds from the launch until the kernel starts /init. */
  static async boot(side: Side, files: Files): Promise<{ guest: Guest; seconds: number }> {
    const start = performance.now();
    const guest = new Guest(side, files);
    await guest.#expect(INIT);
    return { guest, seconds: (performance.now() - start) / 1000 };
  }

  /** Until the agent waits for a command. */
  async ready(): Promise<void> {
    await this.#expect(PROMPT);
  }

  /** Runs a program once; throws if it fails or if the guest's clock cannot be believed. */
  async run(name: string, times: number): Promise<Measured> {
    this.#text = '';
    const cpu = this.#cpuSeconds();
    const start = performance.now();
    this.#child.stdin!.write(`${name} ${times}\n`);
    await this.#expect(PROMPT);
    const host = (performance.now() - start) / 1000;
    const cpuNow = this.#cpuSeconds();
    const outcome = parseOutcome(name, this.#text.replaceAll('\r', ''));
    if (!outcome) throw new Error(`${this.#side.name}: ${FAILED.exec(this.#text)?.[0] ?? this.#text}`);
    if (outcome.seconds > host * (1 + CLOCK_TOLERANCE) + CLOCK_SLACK_S)
      throw new Error(`${this.#side.name}: ${outcome.seconds} s in the guest, but ${host.toFixed(2)} s on the host`);
    return { ...outcome, cpuSeconds: cpu === undefined || cpuNow === undefined ? undefined : cpuNow - cpu };
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#ended) resolve();
      else {
        this.#child.once('close', () => resolve());
        this.#child.kill('SIGKILL');
      }
    });
  }

  #cpuSeconds(): number | undefined {
    try {
      const stat = readFileSync(`/proc/${this.#child.pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / TICKS;
    } catch {
      return undefined;
    }
  }

  async #expect(pattern: RegExp): Promise<void> {
    const deadline = performance.now() + LIMIT_S * 1000;
    while (!pattern.test(this.#text)) {
      const left = deadline - performance.now();
      if (left <= 0 || this.#ended) {
        const why = this.#ended ? 'it ended' : `not within ${LIMIT_S} s`;
        throw new Error(
          `${this.#side.name}: no ${pattern}: ${why}:\n${this.#text.slice(-1500)}\n${this.#errors.slice(-1500)}`,
        );
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1000));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
