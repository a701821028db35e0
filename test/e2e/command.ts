/** Runs `npm start` as a user would, and talks to what it boots. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export class Command {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  stdout = '';
  stderr = '';
  #seen = 0;
  #wake = () => {};

  constructor(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    command = ['node', 'scripts/run.mjs', 'scripts/start.ts'],
    cwd = ROOT,
  ) {
    this.#child = spawn(command[0], [...command.slice(1), ...args], { cwd, env: { ...process.env, ...env } });
    this.#child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.stdout += text;
      this.#wake();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
    });
    this.#child.stdin!.on('error', () => {}); // it may end before it has read everything
    this.#ended = new Promise((resolve) => {
      this.#child.on('close', (code) => {
        resolve(code);
        this.#wake();
      });
    });
  }

  /** Waits for output that has not been waited for yet; throws with what came instead. */
  async expect(pattern: RegExp, seconds = 300): Promise<RegExpExecArray> {
    const deadline = Date.now() + seconds * 1000;
    for (;;) {
      const match = pattern.exec(this.stdout.slice(this.#seen));
      if (match) {
        this.#seen += match.index + match[0].length;
        return match;
      }
      const left = deadline - Date.now();
      if (left <= 0 || this.#child.exitCode !== null) {
        const why = left <= 0 ? `not within ${seconds} s` : 'the command ended';
        throw new Error(
          `no ${pattern}: ${why}; last output:\n${this.stdout.slice(-2000)}\n${this.stderr.slice(-2000)}`,
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

  /** Types a line at the shell's prompt and returns what it prints before the next one. */
  async shell(line: string): Promise<string> {
    this.type(`${line}\n`);
    const [text] = await this.expect(/[\s\S]*?\nguest:\S*# /);
    return text;
  }

  type(text: string): void {
    this.#child.stdin!.write(text);
  }

  endInput(): void {
    this.#child.stdin!.end();
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async result(): Promise<Result> {
    const status = await this.#ended;
    return { status, stdout: this.stdout, stderr: this.stderr };
  }
}

/** One run with all of its input known beforehand. */
export async function run(args: readonly string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<Result> {
  const command = new Command(args, env);
  command.type(input);
  command.endInput();
  return await command.result();
}
