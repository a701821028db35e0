/**
 * xenstored's unix socket: programs of the host that speak the wire protocol, `xenstore-ls` and the like (XENSTORED_PATH
 * names the socket). Whoever can open it has the control domain's rights, so the file is its owner's alone.
 */
import { existsSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { listenPrivately, SOCKET_PATH_MAX } from '../private-socket.ts';
import type { Connection } from './connection.ts';
import type { XenStore } from './xenstored.ts';

/** Answers that wait for the client to read before its requests are left alone, in bytes. */
const HIGH_WATER = 256 * 1024;
/** A client that leaves so many bytes of events unread is disconnected. */
const UNREAD_MAX = 16 * 1024 * 1024;

export class XenStoreSocket {
  readonly path: string;
  readonly #server: Server;
  readonly #clients = new Set<SocketClient>();

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.path = path;
  }

  /**
   * Serves `store` at `path` from now on. A socket that a dead server left there is replaced; throws if a living one holds
   * it, if anything but a socket lies there, or if the folder is not there.
   */
  static async listen(store: XenStore, path: string): Promise<XenStoreSocket> {
    if (Buffer.byteLength(path) > SOCKET_PATH_MAX) {
      throw new Error(
        `xenstored: the socket's path ${path} has more than ${SOCKET_PATH_MAX} bytes: choose a shorter one`,
      );
    }
    await removeStale(path);
    const server = createServer();
    const listener = new XenStoreSocket(server, path);
    server.on('connection', (socket) => listener.#serve(store, socket));
    await bind(server, path);
    return listener;
  }

  /** Clients that are connected. */
  get clients(): number {
    return this.#clients.size;
  }

  /** Disconnects all and removes the socket. */
  close(): Promise<void> {
    for (const client of [...this.#clients]) client.end();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #serve(store: XenStore, socket: Socket): void {
    const client = new SocketClient(store, socket, () => this.#clients.delete(client));
    this.#clients.add(client);
  }
}

/** One program at the socket. It may send in pieces, never read, or go at any time. */
class SocketClient {
  readonly #socket: Socket;
  readonly #connection: Connection;
  /** Bytes received that wait until the client has read its answers. */
  #rest: Uint8Array = new Uint8Array(0);
  /** Requests are being handled: what they cause is sent together afterwards. */
  #feeding = false;
  #scheduled = false;

  constructor(store: XenStore, socket: Socket, closed: () => void) {
    this.#socket = socket;
    this.#connection = store.connect(0, { relative: false, onOutput: () => this.#output(), onClose: () => this.end() });
    socket.on('data', (bytes) => {
      this.#rest = bytes;
      this.#feed();
    });
    socket.on('drain', () => {
      this.#flush();
      this.#feed();
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      closed();
      this.#connection.close();
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  /** Handles what was received as far as the client reads its answers; the socket is read only when there is nothing left. */
  #feed(): void {
    const connection = this.#connection;
    this.#feeding = true;
    while (this.#rest.length > 0 && !connection.broken && this.#unread < HIGH_WATER) {
      this.#rest = this.#rest.subarray(connection.feed(this.#rest));
    }
    this.#feeding = false;
    this.#flush();
    if (this.#socket.destroyed) return;
    if (connection.broken) this.#socket.end(() => this.end());
    else if (this.#rest.length > 0 || this.#unread >= HIGH_WATER) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Bytes that the client has not taken yet. */
  get #unread(): number {
    return this.#connection.pending + this.#socket.writableLength;
  }

  /** Events come one by one in the course of somebody else's request: they go out together. */
  #output(): void {
    if (this.#feeding || this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  /** Hands over what waits, if the socket is not full as it is: what stays here can still be told only once. */
  #flush(): void {
    const waiting = this.#connection.pending;
    if (waiting === 0 || this.#socket.destroyed) return;
    if (this.#socket.writableLength < HIGH_WATER) this.#socket.write(this.#connection.take(waiting));
    else if (waiting > UNREAD_MAX) this.end();
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    listenPrivately(server, path, () => {
      server.off('error', reject);
      server.on('error', () => {}); // accept failed (no descriptors): the others go on
      resolve();
    });
  });
}

async function removeStale(path: string): Promise<void> {
  if (!existsSync(dirname(path))) throw new Error(`xenstored: there is no folder ${dirname(path)} for the socket`);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (!there) return;
  if (!there.isSocket()) throw new Error(`xenstored: ${path} is there and is no socket`);
  if (await answers(path)) throw new Error(`xenstored: a server listens at ${path} already`);
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
