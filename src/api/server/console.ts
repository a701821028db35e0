/**
 * `GET /v1/console?domain=…&number=…` with `Upgrade: xenolith-console`: from then on the connection carries the console's
 * bytes both ways, first what it printed lately. A client that does not read slows its guest down; the connection ends with
 * the domain, or, for another console than the first, when the guest lets go of it.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Host } from '../../dom0/host.ts';
import { type Console, streamViewer } from '../../dom0/xenconsoled/xenconsoled.ts';
import { CONSOLE_PATH, CONSOLE_PROTOCOL } from '../schema/index.ts';
import { RequestError } from './errors.ts';

export function serveConsole(host: Host, url: URL, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  if (url.pathname !== CONSOLE_PATH) throw new RequestError(404, `nothing at ${url.pathname} can be upgraded`);
  if (request.headers.upgrade?.toLowerCase() !== CONSOLE_PROTOCOL) {
    throw new RequestError(400, `${CONSOLE_PATH} upgrades to ${CONSOLE_PROTOCOL}`);
  }
  const number = url.searchParams.get('number') ?? '0';
  if (!/^\d{1,4}$/.test(number)) throw new RequestError(400, `number=${number} is no number of a console`);
  const console = host.toolstack.domain(which(url)).consoleAt(Number(number));
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CONSOLE_PROTOCOL}\r\n\r\n`);
  const detach = join(console, socket, head);
  const forget = console.onClose(() => socket.end());
  socket.once('close', () => {
    forget();
    detach();
  });
}

/** `domain=` is an id if it is a number, as on xl's command line, otherwise a name. */
function which(url: URL): number | string {
  const text = url.searchParams.get('domain');
  if (!text) throw new RequestError(400, 'domain= is missing');
  return /^\d+$/.test(text) ? Number(text) : text;
}

/** Connects the two; returns how to part them. */
function join(console: Console, socket: Duplex, head: Buffer): () => void {
  const type = (bytes: Uint8Array) => {
    if (bytes.length === 0 || console.input(bytes)) return;
    socket.pause();
    console.onInputRoom(() => socket.resume());
  };
  const detach = console.attach(streamViewer(socket, true), { replay: true });
  type(head);
  socket.on('data', type);
  return detach;
}
