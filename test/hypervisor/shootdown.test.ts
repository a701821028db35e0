/**
 * Whom a frame that stops being writable concerns: pCPUs in guest code whose page walks can find it. "In guest code" is what
 * their PerCpu says, written here; a thread stands in for the pCPU that leaves guest code when it is asked to.
 */
import { Worker } from 'node:worker_threads';
import { beforeEach, expect, test } from 'vitest';
import { MACHINE_INFO_ADDRESS, MachineInfo } from '../../src/machine/layout.ts';
import { domainAddress, domainField } from './domain-field.ts';
import { busy, SchedSim } from './sched-sim.ts';
import { structOffset } from './struct-offset.ts';

const PERCPU_STRIDE = 256;
const percpu = (field: string) => structOffset('state.ts', 'PerCpu', field);

let x: SchedSim;
let words: Int32Array;
/** Two domains: one whose frame it is, and one that has nothing to do with it. */
let owner: number;
let other: number;
let mfn: number;

beforeEach(() => {
  x = new SchedSim({ pcpus: 2 });
  words = new Int32Array(x.memory.buffer);
  owner = x.domain([busy()], { paused: true });
  other = x.domain([busy()], { paused: true });
  [mfn] = x.xen.memoryOp.populatePhysmap(owner, [1]);
  // Its type is "writable" from now on, without anybody who has it mapped.
  expect(x.dom0.foreign_map(owner, mfn)).not.toBe(0);
  x.dom0.foreign_unmap(mfn);
});

const hypervisor = () => words[(MACHINE_INFO_ADDRESS + MachineInfo.off.hypervisor) >>> 2];
const word = (pcpu: number, field: string) =>
  (words[(hypervisor() + structOffset('state.ts', 'Hypervisor', 'percpu')) >>> 2] +
    pcpu * PERCPU_STRIDE +
    percpu(field)) >>>
  2;

/** Makes the frame a page table while pCPU 1 runs guest code of `domid`; how often that pCPU was asked for something. */
async function asked(domid: number): Promise<number> {
  words[word(1, 'guest_domain')] = domainAddress(x.memory, domid);
  words[word(1, 'in_guest')] = 1;
  const leave = `const { workerData: w } = require('node:worker_threads');
    const words = new Int32Array(w.memory.buffer);
    while (Atomics.load(words, w.asked) === w.before) ;
    Atomics.store(words, w.inGuest, 0);`;
  const before = words[word(1, 'shoot_asked')];
  const workerData = { memory: x.memory, asked: word(1, 'shoot_asked'), before, inGuest: word(1, 'in_guest') };
  const w = new Worker(leave, { eval: true, workerData });
  await new Promise((resolve) => w.once('online', resolve));
  x.xen.mmuext.pinL4(owner, [mfn]);
  await w.terminate();
  return words[word(1, 'shoot_asked')] - before;
}

test('the owner is asked', async () => expect(await asked(owner)).toBe(1));
test('another domain is not', async () => expect(await asked(other)).toBe(0));
test('another one that has had frames of others mapped is', async () => {
  words[domainField(x.memory, other, 'maps_foreign') >>> 2] = 1;
  expect(await asked(other)).toBe(1);
});
