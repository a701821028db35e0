/**
 * The host process: claims the socket, makes the machine, serves the control API until it is told to stop or the machine
 * breaks. SIGTERM, SIGHUP and SIGINT, and the call `host.stop`, give guests a clean shutdown within a limit; a second signal
 * ends it at once.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Host, type HostOptions } from '../../dom0/host.ts';
import { Cache } from '../../dom0/toolstack/cache.ts';
import { TranslationFile } from '../../dom0/translations.ts';
import type { HostPaths } from '../paths.ts';
import { claimSocket } from './claim.ts';
import type { HostProcess } from './handlers/handler.ts';
import { createApiServer } from './server.ts';

export interface DaemonOptions extends Omit<HostOptions, 'warn' | 'logDir' | 'storeSocket'> {
  readonly paths: HostPaths;
  /** What guests get to shut down in, in ms. */
  readonly shutdownMs?: number;
  /** Serve the control API on this port of 127.0.0.1 too, to those who have the token in `paths.token`. */
  readonly tcpPort?: number;
  /** Called when clients can be served. */
  readonly ready?: () => void;
  readonly warn: (message: string) => void;
}

/** What a guest gets to shut down in, before it is destroyed. */
export const DEFAULT_SHUTDOWN_MS = 30_000;

const SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const;
/** Clients whose connections are still open when the host ends get this long, in ms, to read what was written. */
const GOODBYE_MS = 500;

/** Runs the host until it has ended; returns the process's exit status. Throws HostRunningError where there is one. */
export async function runHost(options: DaemonOptions): Promise<number> {
  const { paths, warn } = options;
  let stop: (how: { timeoutMs?: number; failure?: Error }) => void = () => {};
  const stopped = new Promise<{ timeoutMs?: number; failure?: Error }>((resolve) => {
    stop = resolve;
  });
  const status: { -readonly [K in keyof HostProcess]: HostProcess[K] } = {
    started: Date.now(),
    socket: paths.socket,
    state: 'running',
    stop: (timeoutMs) => stop({ timeoutMs }),
  };
  const made = Promise.withResolvers<Host>();
  made.promise.catch(() => {}); // told below
  const server = createApiServer({ host: made.promise, process: status, warn });
  const giveBack = await claimSocket(server, paths.socket);
  let tcp: ReturnType<typeof createApiServer> | undefined;
  let signals = 0;
  const onSignal = () => {
    if (++signals > 1) {
      giveBack();
      process.exit(1);
    }
    stop({});
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  try {
    mkdirSync(paths.logDir, { recursive: true });
    const translations = new TranslationFile(join(new Cache().dir, 'translations'));
    const host = await Host.create({
      ...options,
      translations,
      logDir: paths.logDir,
      storeSocket: paths.storeSocket,
      warn,
    });
    host.onFailure((failure) => stop({ failure }));
    made.resolve(host);
    if (options.tcpPort !== undefined) tcp = await serveTcp(options, made.promise, status);
    options.ready?.();
    const { timeoutMs = options.shutdownMs ?? DEFAULT_SHUTDOWN_MS, failure } = await stopped;
    status.state = failure ? 'failed' : 'stopping';
    host.toolstack.bus.emit({ type: 'host', state: status.state, message: failure?.message });
    if (failure) warn(`the machine failed: ${failure.stack ?? failure}`);
    else {
      const forced = await host.guests.shutdownAll(timeoutMs);
      for (const name of forced) warn(`${name} did not shut down in time and was destroyed`);
    }
    await host.stop();
    return failure ? 1 : 0;
  } catch (error) {
    made.reject(error);
    throw error;
  } finally {
    giveBack();
    await Promise.all([closeServer(server), tcp && closeServer(tcp)]);
    for (const signal of SIGNALS) process.off(signal, onSignal);
  }
}

/** A new token each time, for whoever can read the file. */
async function serveTcp(options: DaemonOptions, host: Promise<Host>, process: HostProcess) {
  const token = randomBytes(32).toString('hex');
  rmSync(options.paths.token, { force: true });
  writeFileSync(options.paths.token, `${token}\n`, { mode: 0o600 });
  const server = createApiServer({ host, process, warn: options.warn, token });
  server.listen(options.tcpPort, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function closeServer(server: ReturnType<typeof createApiServer>): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeIdleConnections();
  const late = setTimeout(() => server.closeAllConnections(), GOODBYE_MS);
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2 * GOODBYE_MS))]);
  clearTimeout(late);
}
