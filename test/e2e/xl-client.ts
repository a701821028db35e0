/** xl as a user has it: each command a process of its own, with one host process of their own in a folder that goes with it. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Command, type Result, ROOT } from './command.ts';

export class XlClient {
  readonly dir: string;
  readonly env: Record<string, string>;

  constructor() {
    this.dir = mkdtempSync(join(tmpdir(), 'xl-'));
    this.env = { XENOLITH_SOCKET: join(this.dir, 'host.sock'), XL_CONF: '/dev/null' };
  }

  run(...args: string[]): Promise<Result> {
    return new Promise((resolve) => {
      const options = { cwd: ROOT, env: { ...process.env, ...this.env } };
      execFile('node', ['bin/xl.mjs', ...args], options, (error, stdout, stderr) => {
        resolve({ status: error ? (error.code as unknown as number) : 0, stdout, stderr });
      });
    });
  }

  /** What a command prints; it must succeed. */
  async ok(...args: string[]): Promise<string> {
    const result = await this.run(...args);
    expect(result, `xl ${args.join(' ')}`).toMatchObject({ status: 0 });
    return result.stdout;
  }

  interactive(...args: string[]): Command {
    return new Command(args, this.env, ['node', 'bin/xl.mjs']);
  }

  /** Of the host process. */
  async pid(): Promise<number> {
    return Number(/^pid +: (\d+)$/m.exec(await this.ok('host', 'status'))![1]);
  }

  async running(): Promise<boolean> {
    return (await this.run('host', 'status')).status === 0;
  }

  async end(): Promise<void> {
    await this.run('host', 'stop', '--shutdown-timeout=0');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

export async function eventually(check: () => Promise<boolean>, seconds = 60): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!(await check())) {
    expect(Date.now(), 'it did not happen in time').toBeLessThan(deadline);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
