/** A domain in a program. */
import type { Client } from '../api/client.ts';
import { ApiError } from '../api/client.ts';
import type { DomainInfo } from '../api/schema/domain.ts';
import { Console } from './console.ts';

/** Why it ended: what it said itself, or `destroyed`. */
export type DomainEnd = string;

export class Domain implements AsyncDisposable {
  readonly domid: number;
  readonly name: string;
  readonly uuid: string;
  readonly #client: Client;

  constructor(client: Client, made: { domid: number; name: string; uuid: string }) {
    this.#client = client;
    this.domid = made.domid;
    this.name = made.name;
    this.uuid = made.uuid;
  }

  /** Throws ApiError (`not-found`) when it is gone. */
  info(): Promise<DomainInfo> {
    return this.#client.call('domain.info', { domain: this.domid });
  }

  async pause(): Promise<void> {
    await this.#client.call('domain.pause', { domain: this.domid });
  }

  async unpause(): Promise<void> {
    await this.#client.call('domain.unpause', { domain: this.domid });
  }

  /** Asks its kernel; `ended` tells when it has. */
  async shutdown(how: 'poweroff' | 'reboot' | 'halt' = 'poweroff'): Promise<void> {
    await this.#client.call('domain.shutdown', { domain: this.domid, how });
  }

  /** Ends it at once. No error if it is gone already. */
  async destroy(): Promise<void> {
    try {
      await this.#client.call('domain.destroy', { domain: this.domid });
    } catch (error) {
      if (!(error instanceof ApiError) || error.body.kind !== 'not-found') throw error;
    }
  }

  /** Writes a core dump to an absolute path on the host. */
  async dumpCore(file: string): Promise<void> {
    await this.#client.call('domain.dumpCore', { domain: this.domid, file });
  }

  /** Its console, from what it printed lately on. `number`: 0 is the first, others are those of `channel`, in their order. */
  async console(number = 0): Promise<Console> {
    return new Console(await this.#client.console(this.domid, number));
  }

  /** Resolves when it has shut down, crashed or was destroyed, with the reason; at once if it has. */
  async ended(): Promise<DomainEnd> {
    const stop = new AbortController();
    const begun = Promise.withResolvers<void>();
    const watch = (async (): Promise<DomainEnd> => {
      for await (const event of this.#client.events({ signal: stop.signal, listening: begun.resolve })) {
        if (event.type !== 'domain.state' || event.domid !== this.domid) continue;
        if (event.state === 'shutdown' || event.state === 'destroyed') return event.reason ?? 'destroyed';
      }
      return 'destroyed'; // the host is gone, and its domains with it
    })();
    try {
      await Promise.race([begun.promise, watch]);
      const info = await this.info().catch(() => undefined);
      if (!info) return 'destroyed';
      if (info.shutdownReason !== null) return REASONS[info.shutdownReason] ?? 'crash';
      return await watch;
    } finally {
      stop.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** By SHUTDOWN of public/sched.h. */
const REASONS = ['poweroff', 'reboot', 'suspend', 'crash', 'watchdog', 'soft-reset'];
