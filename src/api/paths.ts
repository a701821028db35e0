/**
 * Where a host and its clients meet: a folder with the host's socket and everything else that lives as long as the host.
 * One host a folder.
 */
import { userInfo } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { SOCKET_PATH_MAX } from '../dom0/private-socket.ts';

/** Room for the names that the host gives sockets beside its own. */
const RESERVE = 20;

export interface HostPaths {
  readonly dir: string;
  /** The control API. */
  readonly socket: string;
  /** xenstored, for programs of the host: XENSTORED_PATH of Xen's tools. */
  readonly storeSocket: string;
  /** What clients over TCP must show. */
  readonly token: string;
  /** What the host process prints. */
  readonly log: string;
  /** Logs of consoles and of the hypervisor. */
  readonly logDir: string;
}

/**
 * `XENOLITH_SOCKET` names the socket; without it `host.sock` in `/run/xenolith` for root, `$XDG_RUNTIME_DIR/xenolith` for
 * others, or `/tmp/xenolith-<uid>` where there is no such folder.
 */
export function hostPaths(env: NodeJS.ProcessEnv = process.env): HostPaths {
  const socket = env.XENOLITH_SOCKET ? resolve(env.XENOLITH_SOCKET) : join(defaultDir(env), 'host.sock');
  if (Buffer.byteLength(socket) > SOCKET_PATH_MAX - RESERVE) {
    throw new Error(`${socket} is too long for a socket; set XENOLITH_SOCKET to a shorter path`);
  }
  const dir = dirname(socket);
  return {
    dir,
    socket,
    storeSocket: join(dir, 'xenstored.sock'),
    token: join(dir, 'token'),
    log: join(dir, 'host.log'),
    logDir: join(dir, 'log'),
  };
}

function defaultDir(env: NodeJS.ProcessEnv): string {
  const { uid } = userInfo();
  if (uid === 0) return '/run/xenolith';
  return env.XDG_RUNTIME_DIR ? join(env.XDG_RUNTIME_DIR, 'xenolith') : `/tmp/xenolith-${uid}`;
}
