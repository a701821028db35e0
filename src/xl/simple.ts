/** Commands that do one thing to one domain. */
import type { Client } from '../api/client.ts';
import type { DomainInfo } from '../api/schema/domain.ts';
import { type Command, CommandError, EXIT } from './command.ts';
import { findDomain } from './domain.ts';

export interface DomainCommand {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  readonly notes?: string;
  /** Arguments after the domain. */
  readonly more?: number;
  readonly act: (client: Client, domain: DomainInfo, words: readonly string[]) => Promise<unknown>;
}

/** A command of the form `xl NAME <Domain> …` that changes a guest. */
export function domainCommand({ act, more = 0, ...rest }: DomainCommand): Command {
  return {
    ...rest,
    modifies: true,
    atLeast: 1 + more,
    async run({ client }, { positionals: [word, ...words] }) {
      const c = await client();
      const domain = await findDomain(c, word);
      if (domain.domid === 0) throw new CommandError(`xl ${rest.name} cannot be used on domain 0, which is the host`);
      await act(c, domain, words);
      return EXIT.SUCCESS;
    },
  };
}
