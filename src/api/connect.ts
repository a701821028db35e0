/** Finds the host, and starts one where there is none. */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, renameSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Client, NoHostError } from './client.ts';
import type { HostPaths } from './paths.ts';
import { answers, prepareDir } from './server/claim.ts';

/** The launcher, which is two folders up both from the sources and from what they are compiled to. */
const LAUNCHER = fileURLToPath(new URL('../../bin/xl.mjs', import.meta.url));

/** What the host process says when it is ready or cannot be: one line of JSON on file descriptor 3. */
export interface StartReport {
  readonly ready?: true;
  readonly error?: string;
}

/** A client of the running host; NoHostError if there is none. */
export async function connectRunning(paths: HostPaths): Promise<Client> {
  if (!(await answers(paths.socket))) throw new NoHostError(paths.socket);
  return new Client(paths.socket);
}

/** A client of the running host, which is started if there is none. `say`: told that it is. */
export async function connectOrStart(paths: HostPaths, say: (line: string) => void = () => {}): Promise<Client> {
  if (!(await answers(paths.socket))) {
    say('starting a host');
    await startHost(paths);
  }
  return new Client(paths.socket);
}

/**
 * Starts a host process of its own session, and waits until it serves clients. `args`: options of `xl host run`. Throws if it
 * cannot be started; a host that another client started at the same time is as good.
 */
export async function startHost(paths: HostPaths, args: readonly string[] = []): Promise<void> {
  prepareDir(paths.dir);
  if (existsSync(paths.log)) renameSync(paths.log, `${paths.log}.1`);
  const log = openSync(paths.log, 'a', 0o600);
  try {
    const child = spawn(process.execPath, [LAUNCHER, 'host', 'run', ...args], {
      detached: true,
      cwd: '/',
      env: { ...process.env, XENOLITH_SOCKET: paths.socket },
      stdio: ['ignore', log, log, 'pipe'],
    });
    const report = await readReport(child.stdio[3] as NodeJS.ReadableStream);
    if (report.ready) {
      child.unref();
      return;
    }
    if (await answers(paths.socket)) return;
    throw new Error(`the host could not be started: ${report.error ?? lastLines(paths.log)} (log: ${paths.log})`);
  } finally {
    closeSync(log);
  }
}

/** What it says before it closes the pipe; nothing if it ends before. */
function readReport(pipe: NodeJS.ReadableStream): Promise<StartReport> {
  return new Promise((resolve) => {
    let text = '';
    pipe.on('data', (chunk) => {
      text += chunk;
    });
    pipe.on('error', () => {});
    pipe.on('close', () => {
      try {
        resolve(JSON.parse(text));
      } catch {
        resolve({});
      }
    });
  });
}

function lastLines(path: string): string {
  const lines = readFileSync(path, 'utf8').trim().split('\n');
  return lines.slice(-3).join(' | ') || 'it ended without a word';
}
