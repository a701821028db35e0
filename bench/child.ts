/** A child process that a measurement talks to: what it prints, waited for by pattern, and what it costs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { ROOT } from './sides.ts';

const LIMIT_S = 300;
/** Milliseconds that it has to end by itself. */
const PATIENCE_MS = 10_000;
/** Ticks of /proc/PID/stat a second (USER_HZ, part of Linux's ABI). */
const TICKS = 100;
/** Of what it printed last, for messages. */
const TAIL = 1500;

export class Child {
  readonly name: string;
  /** What it printed since this was emptied. */
  text = '';
  readonly #child: ChildProcess;
  /** What it said on standard error. */
  errors = '';
  /** Its exit status; null if a signal ended it, or if it could not be started. */
  readonly ended: Promise<number | null>;
  #ended = false;
  #wake = () => {};

  /** `name`: for messages. */
  constructor(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.name = name;
    const [program, ...args] = command;
    this.#child = spawn(program, args, { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#child.stdout!.setEncoding('latin1').on('data', (text: string) => {
      this.text += text;
      this.#wake();
    });
    this.#child.stderr!.setEncoding('latin1').on('data', (text: string) => {
      this.errors += text;
    });
    this.#child.stdin!.on('error', () => {}); // it ended: what waits for it says so
    this.ended = new Promise((resolve) => {
      const end = (status: number | null) => {
        this.#ended = true;
        this.#wake();
        resolve(status);
      };
      this.#child.on('error', (error) => {
        this.errors += error.message;
        end(null);
      });
      this.#child.on('close', end);
    });
  }

  write(text: string): void {
    this.#child.stdin!.write(text);
  }

  /** Until `text` matches; throws with what came instead. */
  async expect(pattern: RegExp): Promise<void> {
    const deadline = performance.now() + LIMIT_S * 1000;
    while (!pattern.test(this.text)) {
      const left = deadline - performance.now();
      if (left <= 0 || this.#ended) {
        const why = this.#ended ? 'it ended' : `not within ${LIMIT_S} s`;
        throw new Error(`${this.name}: no ${pattern}: ${why}:\n${this.text.slice(-TAIL)}\n${this.errors.slice(-TAIL)}`);
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

  /** Asks it to end, as a user would, so that it keeps what it wants to keep for its next run; resolves when it has ended. */
  async stop(): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** Processor time that it has used so far, where the host tells it. */
  cpuSeconds(): number | undefined {
    return this.#child.pid === undefined ? undefined : cpuSecondsOf(this.#child.pid);
  }
}

/** Processor time of a process, all its threads, where the host tells it. */
function cpuSecondsOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS;
  } catch {
    return undefined;
  }
}
