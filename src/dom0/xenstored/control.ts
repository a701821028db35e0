/** CONTROL: what an administrator can ask of the server itself. C xenstored's commands as far as they have meaning here. */
import { XsError } from './errors.ts';
import type { Quota } from './quota.ts';
import type { Store } from './store.ts';
import { toBytes } from './strings.ts';
import { walk } from './tree.ts';

interface Command {
  readonly name: string;
  readonly usage: string;
  run(store: Store, args: string[]): string;
}

/** The names under which C xenstored 4.17 lists its quotas. */
const QUOTA_NAMES: readonly (readonly [string, keyof Quota])[] = [
  ['nodes', 'nodes'],
  ['watches', 'watches'],
  ['transactions', 'transactions'],
  ['outstanding', 'outstanding'],
  ['transaction-nodes', 'transactionNodes'],
  ['memory', 'memory'],
  ['node-size', 'nodeSize'],
  ['permissions', 'perms'],
];

/** Counts every node's owner anew and compares with the running totals. */
function check(store: Store): string {
  const counted = new Map<number, number>();
  for (const [, node] of walk('/', store.tree.get('/')!)) {
    const owner = node.perms[0].domid;
    counted.set(owner, (counted.get(owner) ?? 0) + 1);
  }
  const wrong = [...counted].filter(([domid, nodes]) => store.tree.usage(domid).nodes !== nodes);
  return wrong.length === 0 ? 'OK' : wrong.map(([domid]) => `node count of domain ${domid} is wrong`).join('\n');
}

function quota(store: Store, args: string[]): string {
  if (args.length === 0) return QUOTA_NAMES.map(([name, key]) => `${name.padEnd(17)}: ${store.quota[key]}`).join('\n');
  if (args[0] === 'set' && args.length === 3) {
    const row = QUOTA_NAMES.find(([name]) => name === args[1]);
    if (!row || !/^\d{1,9}$/.test(args[2])) throw new XsError('EINVAL');
    store.quota[row[1]] = Number(args[2]);
    return 'OK';
  }
  if (args.length === 1 && /^\d{1,5}$/.test(args[0])) {
    const usage = store.tree.usage(Number(args[0]));
    return `nodes            : ${usage.nodes}\nmemory           : ${usage.bytes}`;
  }
  throw new XsError('EINVAL');
}

const COMMANDS: readonly Command[] = [
  { name: 'check', usage: '', run: check },
  { name: 'help', usage: '', run: () => COMMANDS.map((c) => `${c.name} ${c.usage}`.trim()).join('\n') },
  { name: 'quota', usage: '[set <name> <val>|<domid>]', run: quota },
];

export function control(store: Store, [name, ...args]: string[]): Uint8Array {
  const command = COMMANDS.find((c) => c.name === name);
  if (!command) throw new XsError('EINVAL', `no control command ${JSON.stringify(name.slice(0, 40))}`);
  return toBytes(`${command.run(store, args)}\0`);
}
