/**
 * The hypervisor's hot paths in nanoseconds, measured by a small PV kernel (micro/micro.c) with nothing else in the machine,
 * beside the budgets they are designed for. Needs gcc.
 *
 * Usage: node bench/micro.ts [--pcpus N]   (npm run bench -- --micro: one pCPU)
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Host } from '../src/dom0/host.ts';
import type { Domain } from '../src/dom0/toolstack/domain.ts';
import { ROOT } from './sides.ts';

interface Path {
  readonly what: string;
  /** Nanoseconds it is designed to stay under, where the design names a figure. */
  readonly budget?: number;
}

/** By the name that the guest prints, in the order of the table. */
const PATHS: Readonly<Record<string, Path>> = {
  loop: { what: "the guest's loop and call, not counted below" },
  null_hypercall: { what: 'hypercall that does nothing (xen_version)', budget: 150 },
  stack_switch: { what: 'stack_switch' },
  set_segment_base: { what: 'set_segment_base' },
  fpu_taskswitch: { what: 'fpu_taskswitch' },
  set_timer: { what: 'set_timer_op, far away' },
  yield: { what: 'sched_op(yield), nobody else' },
  event_send: { what: 'event sent to oneself, masked' },
  hypercall_and_upcall: { what: 'null hypercall, upcall and its iret' },
  mmu_update_single: { what: 'mmu_update of one entry' },
  mmu_update_entry: { what: 'mmu_update of 32 entries, each', budget: 500 },
  update_va_mapping: { what: 'update_va_mapping, invlpg, access' },
  ptwr: { what: 'write to a page table, emulated' },
  new_baseptr: { what: 'CR3 to and fro, nothing changed' },
  tlb_flush_local: { what: 'TLB flush' },
  invlpg_local: { what: 'invlpg' },
  pv_syscall: { what: 'user system call to the kernel and back', budget: 250 },
  page_fault: { what: 'user page fault to the kernel and back' },
  event_ping_pong: { what: 'event to another domain and back', budget: 5000 },
};

const MEMORY_MIB = 8;
const LIMIT_MS = 120_000;

export interface MicroFigure extends Path {
  readonly name: string;
  readonly ns: number;
}

async function outputOf(domain: Domain): Promise<string> {
  let text = '';
  const detach = domain.console.attach({
    paces: false,
    write: (bytes) => {
      text += Buffer.from(bytes).toString('latin1');
      return true;
    },
    onDrain: () => {},
  });
  domain.unpause();
  const limit = setTimeout(() => domain.destroy(), LIMIT_MS);
  const end = await domain.ended;
  clearTimeout(limit);
  domain.console.event(); // what it wrote last
  detach();
  if (!text.includes('Test result: SUCCESS')) throw new Error(`the measuring guest ended (${end}):\n${text}`);
  return text;
}

/** Measures all paths on a machine of its own. */
export async function measureMicro(pcpus = 1): Promise<MicroFigure[]> {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-micro-'));
  execFileSync('sh', [join(ROOT, 'test/guests/build.sh'), dir, join(ROOT, 'bench/micro/micro.c')]);
  const kernel = new Uint8Array(readFileSync(join(dir, 'micro.elf')));
  rmSync(dir, { recursive: true });
  const host = await Host.create({ memoryMiB: 512, pcpus });
  try {
    const make = (name: string, cmdline: string) =>
      host.toolstack.create({ name, memoryMiB: MEMORY_MIB, vcpus: 1, kernel, kernelName: 'micro.elf', cmdline });
    let text = await outputOf(make('paths', ''));
    // The port is the first that is free, and ids follow each other: pong is told before the port is made for ping.
    const pong = make('pong', `pong ${FIRST_FREE_PORT}`);
    const port = host.xen.evtchn.allocUnbound(pong.domid, pong.domid + 1);
    if (port !== FIRST_FREE_PORT) throw new Error(`the first free port of a domain is ${port}`);
    const ping = make('ping', `ping ${pong.domid} ${port}`);
    pong.unpause();
    text += await outputOf(ping);
    const figures = new Map(
      [...text.matchAll(/^micro: (\w+) (\d+\.\d)\s*$/gm)].map(([, name, ns]) => [name, Number(ns)]),
    );
    return Object.entries(PATHS).map(([name, path]) => {
      const ns = figures.get(name);
      if (ns === undefined) throw new Error(`the guest measured no ${name}:\n${text}`);
      return { name, ...path, ns };
    });
  } finally {
    await host.stop();
  }
}

/** Ports 1 and 2 are XenStore's and the console's. */
const FIRST_FREE_PORT = 3;

export function microTable(figures: readonly MicroFigure[]): string[] {
  return figures.map(({ name, what, ns, budget }) => {
    const judged = budget === undefined ? '' : `   ${ns <= budget ? 'within' : 'OVER'} ${budget}`;
    return `${name.padEnd(22)}${what.padEnd(46)}${ns.toFixed(1).padStart(10)} ns${judged}`;
  });
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { pcpus: { type: 'string', default: '1' } } });
  for (const line of microTable(await measureMicro(Number(values.pcpus)))) console.log(line);
}
