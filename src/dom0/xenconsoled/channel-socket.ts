/**
 * A Unix socket for a channel (`connection=socket`), which behaves as the socket of qemu's chardev `server=on,wait=off`, which libxl
 * uses: it is there from the domain's start to its end, one client has it at a time and others wait until it leaves. Output
 * that nobody takes waits, the latest `CONSOLE_LIMIT` bytes of it, and never holds the guest up; what a client sends is not read
 * before the guest has room for it.
 */
import { lstatSync, unlinkSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { listenPrivately, SOCKET_PATH_MAX } from '../private-socket.ts';
import { ToolstackError } from '../toolstack/error.ts';
import { Backlog } from './backlog.ts';
import type { Console } from './console.ts';
import { CONSOLE_LIMIT } from './limits.ts';

/** Clients that may wait for their turn; more are turned away. */
const MAX_WAITING = 16;

/** Paths that channels of this process listen on: none takes another's. */
const taken = new Set<string>();

/** Makes room for the socket: one that a host left behind goes, anything else stays. */
function clear(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) throw new ToolstackError(`channel path = ${path}: there is something that is no socket`);
  unlinkSync(path);
}

export class ChannelSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #output = new Backlog(CONSOLE_LIMIT);
  readonly #queue: Socket[] = [];
  #client: Socket | undefined;
  #console: Console | undefined;

  private constructor(path: string) {
    this.path = path;
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.#accept(socket));
    this.#server.on('error', () => {}); // said by `listen`
  }

  /** Its file is nobody else's. Throws ToolstackError where there can be none. */
  static listen(path: string): ChannelSocket {
    if (taken.has(path)) throw new ToolstackError(`channel path = ${path}: another channel has it`);
    if (Buffer.byteLength(path) > SOCKET_PATH_MAX) {
      throw new ToolstackError(`channel path = ${path}: it is longer than ${SOCKET_PATH_MAX} bytes`);
    }
    clear(path);
    const socket = new ChannelSocket(path);
    listenPrivately(socket.#server, path);
    if (!socket.#server.listening) throw new ToolstackError(`channel path = ${path}: no socket can be made there`);
    taken.add(path);
    return socket;
  }

  /** The guest has connected the channel. Returns what is to be called when it no longer has. */
  serve(console: Console): () => void {
    this.#console = console;
    const detach = console.attach({ paces: false, write: (bytes) => this.#write(bytes), onDrain: () => {} });
    this.#client?.resume();
    return () => {
      detach();
      this.#console = undefined;
      this.#client?.pause();
    };
  }

  /** Its clients go, and its file. */
  close(): void {
    taken.delete(this.path);
    this.#server.close();
    for (const socket of this.#queue.splice(0)) socket.destroy();
    this.#client?.destroy();
  }

  #accept(socket: Socket): void {
    socket.on('error', () => {}); // `close` follows
    if (!this.#client) this.#take(socket);
    else if (this.#queue.length < MAX_WAITING) this.#queue.push(socket);
    else socket.destroy();
  }

  #take(socket: Socket): void {
    this.#client = socket;
    socket.on('data', (bytes: Uint8Array) => this.#input(socket, bytes));
    socket.on('drain', () => this.#flush());
    socket.on('close', () => {
      this.#client = undefined;
      const next = this.#queue.shift();
      if (next) this.#take(next);
    });
    if (this.#console) socket.resume();
    else socket.pause();
    this.#flush();
  }

  #input(socket: Socket, bytes: Uint8Array): void {
    if (this.#console?.input(bytes) !== false) return;
    socket.pause();
    this.#console.onInputRoom(() => {
      if (this.#console) socket.resume();
    });
  }

  #write(bytes: Uint8Array): boolean {
    this.#output.push(bytes);
    this.#flush();
    return true;
  }

  #flush(): void {
    const client = this.#client;
    while (client?.writable && !client.writableNeedDrain && this.#output.length > 0) {
      const bytes = this.#output.head();
      this.#output.drop(bytes.length);
      client.write(bytes);
    }
  }
}
