/**
 * The host's socket, so that there is one host a path. Binding a socket to a path fails if the path exists, whether or not
 * anybody listens, and removing a stale one could remove that of a host which starts at the same moment. So the socket is
 * bound under a name of its own and linked to the path, which is atomic; a stale one is moved away first and looked at again.
 */
import { chmodSync, linkSync, lstatSync, mkdirSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname } from 'node:path';

export class HostRunningError extends Error {
  constructor(socket: string) {
    super(`a host is running already (${socket})`);
  }
}

/** The folder of the socket: made for this user alone, and never one that somebody else owns. */
export function prepareDir(dir: string): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { uid } = statSync(dir);
  const own = process.getuid?.();
  if (own !== undefined && uid !== own && uid !== 0) throw new Error(`${dir} belongs to user ${uid}`);
}

/** Does somebody answer at this socket? */
export function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED' || error.code === 'ENOTSOCK') resolve(false);
      else if (error.code === 'EAGAIN')
        resolve(true); // it listens, but its queue is full
      else reject(error);
    });
  });
}

/**
 * Makes `server` listen at `path`. Returns what gives the path back, if it is still this server's. Throws HostRunningError
 * if another host listens there.
 */
export async function claimSocket(server: Server, path: string): Promise<() => void> {
  prepareDir(dirname(path));
  const own = `${path}.${process.pid}`;
  rm(own);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(own, () => {
      server.off('error', reject);
      resolve();
    });
  });
  try {
    chmodSync(own, 0o600);
    const { ino } = lstatSync(own);
    while (!link(own, path)) {
      if (await answers(path)) throw new HostRunningError(path);
      await removeStale(path);
    }
    return () => {
      if (inode(path) === ino) rm(path);
    };
  } catch (error) {
    server.close();
    throw error;
  } finally {
    rm(own);
  }
}

async function removeStale(path: string): Promise<void> {
  const aside = `${path}.stale${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return; // another did it
    throw error;
  }
  // A host that claimed the path between the look and the move gets it back.
  if (await answers(aside)) link(aside, path);
  rm(aside);
}

/** False: there is something at `to` already. */
function link(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

function inode(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.ino;
}

function rm(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
