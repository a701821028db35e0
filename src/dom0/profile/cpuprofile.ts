/**
 * Writes a profile as a `.cpuprofile` (the JSON of the Chrome DevTools protocol, domain Profiler, type Profile), which Visual
 * Studio Code, Chrome's DevTools and speedscope open. The tree: processor, domain and vCPU, mode, function; below a kernel's
 * function the hypercalls that it makes, below others what else brought guest code to the hypervisor.
 */
import { HYPERCALL } from '../../abi/xen.ts';
import { EXIT } from '../../engine/state.ts';
import type { Place, Profile } from './profiler.ts';
import type { Symbols } from './symbols.ts';

interface CallFrame {
  readonly functionName: string;
  readonly scriptId: string;
  readonly url: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

interface ProfileNode {
  readonly id: number;
  readonly callFrame: CallFrame;
  hitCount: number;
  readonly children: number[];
}

export interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  /** Microseconds. */
  readonly startTime: number;
  readonly endTime: number;
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface Names {
  readonly symbols: Symbols;
  /** What to call a domain. */
  domain(domid: number): string;
}

/** Addresses of code without a symbol are put together by page. */
const PAGE = 4096n;
const nameOf = (names: Record<string, number>, value: number) =>
  Object.keys(names).find((name) => names[name] === value) ?? `${value}`;

function functionOf(address: bigint, symbols: Symbols): string {
  return symbols.find(address) ?? `0x${(address & ~(PAGE - 1n)).toString(16)}`;
}

/** From the outermost frame to the innermost. */
function framesOf(place: Place, names: Names): string[] {
  const cpu = `CPU ${place.pcpu}`;
  if (place.kind === 'IDLE') return [cpu, '(idle)'];
  const where = [cpu, `${names.domain(place.domid)}, vCPU ${place.vcpu}`];
  const { symbols } = names;
  switch (place.kind) {
    case 'USER':
      return [...where, `user mode, L4 table 0x${place.root.toString(16)}`, functionOf(place.rip, symbols)];
    case 'KERNEL':
      return [...where, 'kernel', functionOf(place.rip, symbols)];
    case 'HYPERCALL': {
      // A kernel calls through its hypercall page: who called that says more.
      const caller = (place.caller !== 0n && symbols.find(place.caller)) || functionOf(place.rip, symbols);
      return [...where, 'kernel', caller, `hypercall ${nameOf(HYPERCALL, place.what)}`];
    }
    case 'EXIT':
      return [...where, 'hypervisor', `exit ${nameOf(EXIT, place.what)}`, functionOf(place.rip, symbols)];
  }
}

export function cpuProfile(profile: Profile, names: Names): CpuProfile {
  const nodes: ProfileNode[] = [];
  const children = new Map<string, ProfileNode>();
  const add = (functionName: string, parent?: ProfileNode): ProfileNode => {
    const key = `${parent?.id ?? 0} ${functionName}`;
    let node = children.get(key);
    if (!node) {
      const callFrame = { functionName, scriptId: '0', url: '', lineNumber: -1, columnNumber: -1 };
      node = { id: nodes.length + 1, callFrame, hitCount: 0, children: [] };
      nodes.push(node);
      children.set(key, node);
      parent?.children.push(node.id);
    }
    return node;
  };
  const root = add('(root)');
  const leaves = profile.places.map((place) => framesOf(place, names).reduce((parent, f) => add(f, parent), root));
  for (const index of profile.timeline) leaves[index].hitCount++;
  const timeDeltas = profile.durations.map((ns) => Math.round(ns / 1000));
  return {
    nodes,
    startTime: 0,
    endTime: timeDeltas.reduce((sum, d) => sum + d, 0),
    samples: profile.timeline.map((index) => leaves[index].id),
    timeDeltas,
  };
}

/** The `count` innermost frames that took the most, as lines of text. */
export function hottest(profile: Profile, names: Names, count: number): string[] {
  const sums = new Map<string, number>();
  let total = 0;
  for (const place of profile.places) {
    total += place.ns;
    if (place.kind === 'IDLE') continue;
    const frames = framesOf(place, names);
    const name = place.kind === 'HYPERCALL' || place.kind === 'EXIT' ? frames.slice(-2).join(' > ') : frames.at(-1)!;
    sums.set(name, (sums.get(name) ?? 0) + place.ns);
  }
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .slice(0, count)
    .map(([name, ns]) => `${((100 * ns) / total).toFixed(1).padStart(6)} %  ${name}`);
}
