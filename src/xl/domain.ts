/** How commands name domains. */
import { ApiError, type Client } from '../api/client.ts';
import type { DomainInfo } from '../api/schema/domain.ts';
import { CommandError } from './command.ts';

/** A word that is a number is a domain id, as with xl; any other is a name. */
export const which = (word: string): number | string => (/^\d+$/.test(word) ? Number(word) : word);

/** The domain that the word names; CommandError in xl's words if there is none. */
export async function findDomain(client: Client, word: string): Promise<DomainInfo> {
  try {
    return await client.call('domain.info', { domain: which(word) });
  } catch (error) {
    if (!(error instanceof ApiError) || error.body.kind === 'internal') throw error;
    throw new CommandError(`${word} is an invalid domain identifier`);
  }
}
