/** A host in a program: started in this process, or another one's. Both are reached through the control API. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '../api/client.ts';
import { connectRunning } from '../api/connect.ts';
import { hostPaths } from '../api/paths.ts';
import type { DomainInfo } from '../api/schema/domain.ts';
import { claimSocket } from '../api/server/claim.ts';
import { createApiServer } from '../api/server/server.ts';
import { Host as Machine } from '../dom0/host.ts';
import type { NumberedEvent } from '../dom0/toolstack/events.ts';
import type { DomainSpecInput } from '../dom0/toolstack/spec.ts';
import { Domain } from './domain.ts';

export interface StartOptions {
  /** MiB of the machine, 128 to 4096 (default). */
  readonly memoryMiB?: number;
  /** Default: one less than the computer has. */
  readonly pcpus?: number;
  /** Where logs of consoles and of the hypervisor go; without it there are none. */
  readonly logDir?: string;
  /** What went wrong in the control domain and was survived. */
  readonly warn?: (message: string) => void;
  /** What guests get to shut down in when the host stops, in ms (default: 0, they are destroyed). */
  readonly shutdownMs?: number;
}

export interface CreateOptions {
  /** Leave it paused. */
  readonly paused?: boolean;
  /** Carry out on_poweroff, on_reboot, … when it ends (default). Without, an ended domain stays until it is destroyed. */
  readonly monitor?: boolean;
  /** Told what is being done. */
  readonly progress?: (message: string) => void;
}

export class Host implements AsyncDisposable {
  readonly #client: Client;
  readonly #stop: () => Promise<void>;
  #stopped: Promise<void> | undefined;

  private constructor(client: Client, stop: () => Promise<void>) {
    this.#client = client;
    this.#stop = stop;
  }

  /** A machine in this process, gone when it is stopped or disposed of. */
  static async start(options: StartOptions = {}): Promise<Host> {
    const { memoryMiB, pcpus, logDir, shutdownMs = 0, warn = () => {} } = options;
    const dir = mkdtempSync(join(tmpdir(), 'xenolith-'));
    const socket = join(dir, 'host.sock');
    try {
      const machine = await Machine.create({ memoryMiB, pcpus, logDir, warn });
      const process = { started: Date.now(), socket, state: 'running' as const, stop: () => void host.stop() };
      const server = createApiServer({ host: Promise.resolve(machine), process, warn });
      await claimSocket(server, socket);
      const client = new Client(socket);
      const host = new Host(client, async () => {
        if (shutdownMs > 0) await machine.guests.shutdownAll(shutdownMs);
        await machine.stop();
        client.close();
        server.close();
        server.closeAllConnections();
        rmSync(dir, { recursive: true, force: true });
      });
      return host;
    } catch (error) {
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }

  /** The host process that `xl` uses; NoHostError if none is running. It goes on when this is disposed of. */
  static async connect(socket?: string): Promise<Host> {
    const client = await connectRunning(hostPaths(socket ? { XENOLITH_SOCKET: socket } : undefined));
    return new Host(client, async () => client.close());
  }

  /** Makes a domain, with the keys of xl.cfg, and starts it. Throws ApiError with what is wrong. */
  async create(config: DomainSpecInput, options: CreateOptions = {}): Promise<Domain> {
    const { paused, monitor, progress } = options;
    return new Domain(this.#client, await this.#client.call('domain.create', { config, paused, monitor }, progress));
  }

  /** Every domain, the control domain first. */
  list(): Promise<DomainInfo[]> {
    return this.#client.call('domain.list', {});
  }

  /** The domain of this id or name; throws ApiError (`not-found`). */
  async domain(which: number | string): Promise<Domain> {
    return new Domain(this.#client, await this.#client.call('domain.info', { domain: which }));
  }

  /** What happens to domains and devices, until the host ends or `signal` aborts. */
  events(signal?: AbortSignal): AsyncGenerator<NumberedEvent> {
    return this.#client.events({ signal });
  }

  /** The control API itself, for what has no method here. */
  get api(): Pick<Client, 'call'> {
    return this.#client;
  }

  /** Ends a host that was started here; lets go of one that was connected to. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
