/**
 * gdb servers: each lets one gdb at a time debug one domain's kernel, over TCP on the loopback interface or a unix socket
 * (`target remote`). The domain stops when gdb connects and goes on when it leaves, however it does.
 *
 * Whoever can connect can do anything to the domain: a unix socket is its owner's alone, a TCP port any local user's.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { VIRQ } from '../../abi/xen.ts';
import type { EventChannels } from '../kernel/evtchn.ts';
import { HypercallError, type Hypercalls } from '../kernel/hypercalls.ts';
import { listenPrivately } from '../private-socket.ts';
import { ToolstackError } from '../toolstack/error.ts';
import { encodePacket, PacketReader } from './packets.ts';
import { Session } from './session.ts';

export interface DebuggedDomain {
  readonly domid: number;
  readonly maxVcpus: number;
  /** gdb's `kill`. */
  readonly kill: () => void;
}

/** A TCP port of 127.0.0.1 (0: any that is free), or the path of a unix socket. */
export type GdbAddress = { readonly port: number } | { readonly path: string };

export class GdbServer {
  readonly #domain: DebuggedDomain;
  readonly #xen: Hypercalls;
  readonly #server: Server;
  readonly #onClose: () => void;
  #client: Client | undefined;

  constructor(xen: Hypercalls, domain: DebuggedDomain, onClose: () => void) {
    this.#xen = xen;
    this.#domain = domain;
    this.#onClose = onClose;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  listen(address: GdbAddress): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (error) => reject(new ToolstackError(`gdb cannot be listened for: ${error.message}`)));
      const listening = () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', () => {}); // a connection that could not be accepted
        resolve();
      };
      if ('port' in address) this.#server.listen(address.port, '127.0.0.1', listening);
      else listenPrivately(this.#server, address.path, listening);
    });
  }

  /** For gdb's `target remote`. */
  get address(): string {
    const at = this.#server.address();
    return typeof at === 'string' ? at : at ? `127.0.0.1:${at.port}` : '';
  }

  /** VIRQ_DEBUGGER. */
  poll(): void {
    this.#client?.session?.poll();
  }

  /** The domain has shut down or crashed, and is kept. */
  shutdown(): void {
    this.#client?.session?.shutdown();
  }

  /** The domain is gone. */
  exited(): void {
    this.#client?.session?.exited();
    this.#stopListening();
  }

  /** gdb is disconnected, and the domain goes on. */
  close(): void {
    this.#client?.end();
    this.#stopListening();
  }

  #stopListening(): void {
    this.#server.close();
    this.#onClose();
  }

  #accept(socket: Socket): void {
    if (this.#client) {
      socket.destroy(); // a domain has one debugger
      return;
    }
    const { domid, maxVcpus, kill } = this.#domain;
    const client = new Client(socket, () => {
      if (this.#client === client) this.#client = undefined;
    });
    this.#client = client;
    client.start((io) => new Session({ ...io, xen: this.#xen, domid, maxVcpus, kill }));
  }
}

/** One gdb's connection. */
class Client {
  readonly #socket: Socket;
  readonly #gone: () => void;
  #acks = true;
  #last: Uint8Array | undefined;
  session: Session | undefined;

  constructor(socket: Socket, gone: () => void) {
    this.#socket = socket;
    this.#gone = gone;
  }

  start(open: (io: { send(data: string): void; noAcks(): void; close(): void }) => Session): void {
    const socket = this.#socket;
    socket.setNoDelay(true);
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.#guard(() => this.session?.detach());
      this.#gone();
    });
    this.#guard(() => {
      this.session = open({
        send: (data) => this.#send(encodePacket(data)),
        noAcks: () => {
          this.#acks = false;
        },
        close: () => socket.end(),
      });
    });
    const reader = new PacketReader({
      packet: (data) => {
        if (this.#acks) socket.write('+');
        this.#guard(() => this.session?.command(data));
      },
      interrupt: () => this.#guard(() => this.session?.interrupt()),
      damaged: () => this.#acks && socket.write('-'),
      resend: () => this.#acks && this.#last && socket.write(this.#last),
    });
    socket.on('data', (bytes: Uint8Array) => reader.push(bytes));
  }

  end(): void {
    this.#socket.destroy();
  }

  #send(packet: Uint8Array): void {
    this.#last = packet;
    this.#socket.write(packet);
  }

  /** A domain that goes away in the middle of a command takes its debugger's connection with it. */
  #guard(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.session = undefined;
      this.#socket.destroy();
      if (!(error instanceof HypercallError)) throw error;
    }
  }
}

/** All gdb servers of a host: one VIRQ tells of every debugged domain. */
export class GdbServers {
  readonly #xen: Hypercalls;
  readonly #events: EventChannels;
  readonly #servers = new Set<GdbServer>();
  #virq: number | undefined;

  constructor(xen: Hypercalls, events: EventChannels) {
    this.#xen = xen;
    this.#events = events;
  }

  /** Listens for a gdb that debugs the domain. The server is to be closed, or told that the domain is gone. */
  async open(domain: DebuggedDomain, address: GdbAddress): Promise<GdbServer> {
    const server = new GdbServer(this.#xen, domain, () => this.#servers.delete(server));
    await server.listen(address);
    this.#servers.add(server);
    this.#virq ??= this.#events.bindVirq(VIRQ.DEBUGGER, () => {
      for (const s of this.#servers) s.poll();
    });
    return server;
  }

  close(): void {
    for (const server of [...this.#servers]) server.close();
    if (this.#virq !== undefined) this.#events.unbind(this.#virq);
    this.#virq = undefined;
  }
}
