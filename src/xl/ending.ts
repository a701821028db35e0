/** `xl shutdown` and `xl reboot`: a request to the guest's kernel, and waiting for what comes of it. */
import type { Client } from '../api/client.ts';
import type { DomainInfo } from '../api/schema/domain.ts';
import type { NumberedEvent } from '../dom0/toolstack/events.ts';
import { type Arguments, type Command, CommandError, type Context, EXIT } from './command.ts';
import { findDomain } from './domain.ts';

interface Ending {
  readonly name: 'shutdown' | 'reboot';
  readonly how: 'poweroff' | 'reboot';
  readonly doing: string;
  readonly options: { readonly F: string; readonly wait: string };
}

export function endingCommand({ name, how, doing, options }: Ending): Command {
  return {
    name,
    summary: `Issue a ${name} signal to a domain`,
    usage: '[options] <-a|Domain>',
    modifies: true,
    options: [
      { short: 'a', long: 'all', help: 'Shutdown all guest domains.' },
      { short: 'F', help: options.F },
      { short: 'w', long: 'wait', help: options.wait },
    ],
    async run(context, args) {
      const client = await context.client();
      const domains = await chosen(client, args);
      const waiting = args.has('wait') ? new DeathWatch(client) : undefined;
      await waiting?.begin();
      for (const { domid } of domains) {
        context.say(`${doing} domain ${domid}`);
        await client.call('domain.shutdown', { domain: domid, how });
      }
      await waiting?.wait(context, domains, args.count('wait') > 1);
      return EXIT.SUCCESS;
    },
  };
}

async function chosen(client: Client, args: Arguments): Promise<DomainInfo[]> {
  const [word] = args.positionals;
  if (args.has('all')) return (await client.call('domain.list', {})).filter((d) => !d.neverStop);
  if (word === undefined) throw new CommandError('You must specify -a or a domain id.\n');
  const domain = await findDomain(client, word);
  if (domain.domid === 0) throw new CommandError('domain 0 is the host: `xl host stop` ends it');
  return [domain];
}

/** Listens before anything is asked, so that nothing is missed. */
class DeathWatch {
  readonly #client: Client;
  readonly #stop = new AbortController();
  readonly #seen: NumberedEvent[] = [];
  #wake: () => void = () => {};
  #ended = false;

  constructor(client: Client) {
    this.#client = client;
  }

  begin(): Promise<void> {
    return new Promise((resolve, reject) => {
      const read = async () => {
        for await (const event of this.#client.events({ signal: this.#stop.signal, listening: resolve })) {
          this.#seen.push(event);
          this.#wake();
        }
        this.#ended = true;
        this.#wake();
      };
      read().catch(reject);
    });
  }

  /** `death`: a shutdown is not enough, they must be gone. */
  async wait({ say }: Context, domains: readonly DomainInfo[], death: boolean): Promise<void> {
    say(`Waiting for ${domains.length} domains`);
    const left = new Set(domains.map((d) => d.domid));
    while (left.size > 0) {
      const event = this.#seen.shift();
      if (!event) {
        if (this.#ended) throw new CommandError('the host ended meanwhile');
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        continue;
      }
      if (event.type !== 'domain.state' || !left.has(event.domid)) continue;
      if (event.state === 'destroyed') {
        say(`Domain ${event.domid} has been destroyed`);
        left.delete(event.domid);
      } else if (event.state === 'shutdown') {
        say(`Domain ${event.domid} has been shut down, reason ${event.reason}`);
        if (!death) left.delete(event.domid);
      }
    }
    this.#stop.abort();
  }
}
