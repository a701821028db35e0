/** CPU pools as commands name them. */
import type { Client } from '../api/client.ts';
import type { PoolEntry } from '../api/schema/scheduler.ts';
import { CommandError } from './command.ts';

/** By name, or by number where none has that name; CommandError in xl's words if there is none. */
export async function findPool(client: Client, word: string): Promise<PoolEntry> {
  const pools = await client.call('cpupool.list', {});
  const found = pools.find((p) => p.name === word) ?? pools.find((p) => `${p.id}` === word);
  if (!found) throw new CommandError(`unknown cpupool '${word}'`);
  return found;
}
