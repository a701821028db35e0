/** What commands about devices of domains have in common: a list of those of several domains, and taking one away. */
import type { Client } from '../api/client.ts';
import { type Command, CommandError, EXIT } from './command.ts';
import { findDomain } from './domain.ts';

export interface DeviceList<Entry> {
  readonly name: string;
  readonly summary: string;
  readonly head: string;
  readonly entries: (client: Client, domid: number) => Promise<readonly Entry[]>;
  readonly row: (entry: Entry, domid: number) => string;
}

/** Lists the devices of each domain it is given. A domain that is not there is told, and the others are listed. */
export function deviceList<Entry>({ name, summary, head, entries, row }: DeviceList<Entry>): Command {
  return {
    name,
    summary,
    usage: '<Domain(s)>',
    atLeast: 1,
    async run({ client, print, say }, { positionals }) {
      const c = await client();
      print(head);
      let status: number = EXIT.SUCCESS;
      for (const word of positionals) {
        try {
          const { domid } = await findDomain(c, word);
          for (const entry of await entries(c, domid)) print(row(entry, domid));
        } catch (error) {
          if (!(error instanceof CommandError)) throw error;
          say(error.message);
          status = EXIT.FAILURE;
        }
      }
      return status;
    },
  };
}

export interface DeviceDetach {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  readonly detach: (client: Client, domid: number, device: string, force: boolean) => Promise<unknown>;
}

/** Takes away the device that its second argument names. */
export function deviceDetach({ name, summary, usage, detach }: DeviceDetach): Command {
  return {
    name,
    summary,
    usage,
    modifies: true,
    options: [{ short: 'f', long: 'force', help: 'take it away even if the guest does not let go of it' }],
    atLeast: 2,
    async run({ client }, { positionals: [word, device], has }) {
      const c = await client();
      const { domid } = await findDomain(c, word);
      await detach(c, domid, device, has('force'));
      return EXIT.SUCCESS;
    },
  };
}
