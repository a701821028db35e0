/**
 * Collects where the machine's pCPUs spend their time (src/hypervisor/profile.ts). One at a time for a machine; what is
 * collected is one entry for each place, and the order in which they were seen.
 */
import type { Machine } from '../../machine/machine.ts';
import {
  PROFILE_KIND,
  PROFILE_RING,
  PROFILE_SAMPLES,
  ProfileRing,
  ProfileSample,
} from '../../machine/profile-table.ts';

/** Milliseconds between two samples; Node's timers allow no less. */
const INTERVAL_MS = 1;
/** Longest time that one tick accounts for (ns): the host was suspended, or the control domain busy for long. */
const MAX_TICK_NS = 100e6;
/** Rings hold two seconds' samples: read well before that. */
const READ_EVERY = 50;
/** Samples kept in order; further ones count only in their places. */
const MAX_TIMELINE = 4_000_000;

/** Somewhere that time was spent. */
export interface Place {
  readonly pcpu: number;
  /** As in PROFILE_KIND. */
  readonly kind: keyof typeof PROFILE_KIND;
  readonly domid: number;
  readonly vcpu: number;
  readonly rip: bigint;
  /** Of a hypercall: where it was called from, or 0n. */
  readonly caller: bigint;
  /** Machine address of the guest's L4 table: tells processes apart. */
  readonly root: number;
  /** Hypercall number or EXIT. */
  readonly what: number;
  /** Nanoseconds in all. */
  ns: number;
}

export interface Profile {
  readonly places: readonly Place[];
  /** Indices of places, as they were seen, and the nanoseconds of each. */
  readonly timeline: readonly number[];
  readonly durations: readonly number[];
  /** Nanoseconds for which there was no room in the machine's rings. */
  readonly lostNs: number;
}

const KINDS = Object.keys(PROFILE_KIND) as (keyof typeof PROFILE_KIND)[];

export class Profiler {
  readonly #machine: Machine;
  readonly #view: DataView;
  readonly #rings: number[] = [];
  readonly #places: Place[] = [];
  readonly #index = new Map<string, number>();
  readonly #timeline: number[] = [];
  readonly #durations: number[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #last = performance.now();
  #ticks = 0;

  /** Begins at once; throws if the machine has no memory for it. */
  constructor(machine: Machine) {
    this.#machine = machine;
    this.#view = new DataView(machine.memory.buffer);
    const { profile_start, profile_ring } = machine.hypervisor as unknown as {
      profile_start(): number;
      profile_ring(pcpu: number): number;
    };
    if (!profile_start()) throw new Error('the machine has no memory for a profile');
    for (let i = 0; i < machine.pcpus; i++) this.#rings.push(profile_ring(i) >>> 0);
    this.#timer = setInterval(() => this.#tick(), INTERVAL_MS);
    this.#timer.unref();
  }

  /** Ends it. The machine may have stopped. */
  stop(): Profile {
    clearInterval(this.#timer);
    this.#read();
    const lostNs = this.#rings.reduce(
      (sum, ring) => sum + Number(this.#view.getBigUint64(ring + ProfileRing.off.lost_ns, true)),
      0,
    );
    return { places: this.#places, timeline: this.#timeline, durations: this.#durations, lostNs };
  }

  #tick(): void {
    const now = performance.now();
    const ns = Math.min((now - this.#last) * 1e6, MAX_TICK_NS);
    this.#last = now;
    (this.#machine.hypervisor.profile_tick as (ns: number) => void)(Math.round(ns));
    if (++this.#ticks % READ_EVERY === 0) this.#read();
  }

  #read(): void {
    const i32 = new Int32Array(this.#machine.memory.buffer);
    for (const [pcpu, ring] of this.#rings.entries()) {
      const made = Atomics.load(i32, (ring + ProfileRing.off.made) >>> 2) >>> 0;
      let taken = Atomics.load(i32, (ring + ProfileRing.off.taken) >>> 2) >>> 0;
      for (; taken !== made; taken = (taken + 1) >>> 0)
        this.#add(pcpu, ring + PROFILE_SAMPLES + (taken % PROFILE_RING) * ProfileSample.size);
      Atomics.store(i32, (ring + ProfileRing.off.taken) >>> 2, taken);
    }
  }

  #add(pcpu: number, at: number): void {
    const v = this.#view;
    const { off } = ProfileSample;
    const place: Place = {
      pcpu,
      kind: KINDS[v.getUint16(at + off.kind, true)],
      domid: v.getUint16(at + off.domid, true),
      vcpu: v.getUint16(at + off.vcpu, true),
      rip: v.getBigUint64(at + off.rip, true),
      caller: v.getBigUint64(at + off.caller, true),
      root: v.getUint32(at + off.root, true),
      what: v.getUint16(at + off.what, true),
      ns: 0,
    };
    const ns = v.getUint32(at + off.ns, true);
    const key = Object.values(place).join();
    let index = this.#index.get(key);
    if (index === undefined) {
      index = this.#places.push(place) - 1;
      this.#index.set(key, index);
    }
    this.#places[index].ns += ns;
    if (this.#timeline.length >= MAX_TIMELINE) return;
    this.#timeline.push(index);
    this.#durations.push(ns);
  }
}
