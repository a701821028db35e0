/** Lists of CPUs as xl writes them: `all`, `0-3,5`, `^2`, `nodes:0`. */
import { ToolstackError } from './error.ts';

const PART = /^(\^?)(?:(nodes?:)?(\d+)(?:-(\d+))?|(nodes?:)?(all))$/;

/**
 * Bit n of the result: CPU n. `^` takes out of what the parts before it have put in. The machine has one node, with all of
 * its CPUs. Throws ToolstackError for what is no list, or names a CPU that is not there.
 */
export function parseCpuList(text: string, cpus: number): bigint {
  const all = (1n << BigInt(cpus)) - 1n;
  let map = 0n;
  for (const part of text.split(',')) {
    const match = PART.exec(part.trim());
    if (!match) throw new ToolstackError(`"${text}" is no list of CPUs`);
    const [, not, nodes, from, to = from] = match;
    const range = from === undefined ? all : numbered(Number(from), Number(to), nodes ? 1 : cpus, Boolean(nodes), all);
    map = not ? map & ~range : map | range;
  }
  if (map === 0n) throw new ToolstackError(`"${text}" leaves no CPU`);
  return map;
}

function numbered(from: number, to: number, count: number, nodes: boolean, all: bigint): bigint {
  const what = nodes ? 'node' : 'CPU';
  if (to < from) throw new ToolstackError(`${from}-${to} is no range of ${what}s`);
  if (to >= count) throw new ToolstackError(`there is no ${what} ${to}: they are numbered from 0 to ${count - 1}`);
  return nodes ? all : ((1n << BigInt(to - from + 1)) - 1n) << BigInt(from);
}

/** The CPUs of a map, in ascending order. */
export function cpusOf(map: bigint): number[] {
  const out: number[] = [];
  for (let cpu = 0, rest = map; rest > 0n; cpu++, rest >>= 1n) if (rest & 1n) out.push(cpu);
  return out;
}
