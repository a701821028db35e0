/** Unix sockets that are their owner's alone. */
import type { Server } from 'node:net';

/** Longest path of a unix socket, in bytes: sun_path less its nul (unix(7)); beyond it the system would cut the name. */
export const SOCKET_PATH_MAX = 107;

/** As server.listen. The file is made with mode 0600: it is nobody else's for not even a moment. */
export function listenPrivately(server: Server, path: string, listening?: () => void): void {
  const old = process.umask(0o177);
  try {
    server.listen(path, listening);
  } finally {
    process.umask(old);
  }
}
