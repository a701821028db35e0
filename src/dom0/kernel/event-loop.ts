/**
 * The loop of a driver domain's thread. It never returns to JavaScript's own event loop: back ends use synchronous I/O, and
 * a thread that sleeps in Atomics.wait wakes in 13 us where a promise takes 65.
 *
 * While requests keep coming the thread looks at the rings itself, and front ends have no reason to signal. When nothing
 * has come for a while it arms every ring (the front end will signal its next request), looks once more, and sleeps. How
 * long "a while" is follows how long it had to wait lately, as KVM's halt polling does: a sleep that a longer look would have
 * spared makes it longer, one that no look could spare makes it shorter. The thread looks for long only while it has its
 * processor to itself: time that passes between two looks was somebody else's, who gets it sooner if we sleep.
 *
 * Where it pays that requests gather (patience.ts) the thread does not look, but sleeps for a fixed short time. Front ends
 * signal, but the hypervisor does not wake the thread (`wake_later`) before the sender's pCPU has nothing more to do.
 */
import type { EventChannels } from './evtchn.ts';
import type { MachineMemory } from './memory.ts';
import { Patience } from './patience.ts';

/** Something that is looked at while the thread is awake. */
export interface Poller {
  /** Does a bounded piece of the work there is. Returns whether there was any. */
  poll(): boolean;
  /** From now on new work makes an event. Returns whether there is work already, which makes none. */
  arm(): boolean;
  /**
   * Requests of guests that it has served so far, if these may gather (patience.ts). While there is a poller without this, every
   * signal wakes the thread.
   */
  readonly served?: number;
}

/** Bounds of the time that is spent looking, in ns, and what it starts with; the step from the smallest. */
const SPIN_MIN = 2_000;
const SPIN_MAX = 200_000;
const SPIN_START = 10_000;
const SPIN_STEP = 5_000;
/** The upper bound for so many ns after so many passed between two looks that found nothing. */
const SPIN_CROWDED = 20_000;
const CROWDED_FOR = 100_000_000;
const GAP = 100_000;
/** How long requests gather, in ms, while their sender is busy otherwise: if longer, it runs out of requests and waits. */
const GATHER_MS = 0.1;

const now = (): number => performance.now() * 1e6;

export class EventLoop {
  readonly #words: Int32Array;
  readonly #wake: number;
  readonly #later: number;
  readonly #events: EventChannels;
  readonly #pollers = new Set<Poller>();
  readonly #timers = new Map<number, { at: number; run: () => void }>();
  #lastTimer = 0;
  #spin = SPIN_START;
  /** Until when others are taken to want this thread's processor. */
  #crowdedUntil = 0;
  readonly #patience = new Patience();
  #stopped = false;

  /** Machine addresses of what the hypervisor's exports `wake_word` and `wake_later` say. */
  constructor(
    memory: MachineMemory,
    events: EventChannels,
    where: { readonly wakeWord: number; readonly wakeLater: number },
  ) {
    this.#words = memory.words;
    this.#wake = where.wakeWord >>> 2;
    this.#later = where.wakeLater >>> 2;
    this.#events = events;
  }

  add(poller: Poller): void {
    this.#pollers.add(poller);
  }

  remove(poller: Poller): void {
    this.#pollers.delete(poller);
  }

  /** Calls `run` once, in `ms` or later. Returns how to call it off. */
  after(ms: number, run: () => void): () => void {
    const id = this.#lastTimer++;
    this.#timers.set(id, { at: now() + ms * 1e6, run });
    return () => this.#timers.delete(id);
  }

  /** The loop ends when it comes round. */
  stop(): void {
    this.#stopped = true;
  }

  /** Runs until `stop`, or until something throws. */
  run(): void {
    let looked = now();
    let lookUntil = looked + this.#spin;
    /** Whether there was work, or a sleep, since it was asked whether requests are to gather. */
    let changed = true;
    let gather = false;
    let awaited = false;
    while (!this.#stopped) {
      const seen = Atomics.load(this.#words, this.#wake);
      this.#events.deliver();
      if (this.#pollAll()) {
        looked = now();
        lookUntil = looked + this.#spin;
        changed = true;
        continue;
      }
      if (changed) gather = this.#gathers(awaited);
      changed = false;
      const t = now();
      if (t - looked > GAP) {
        this.#crowdedUntil = t + CROWDED_FOR;
        this.#spin = Math.min(this.#spin, SPIN_CROWDED);
      } else if (!gather && t < lookUntil) {
        looked = t;
        continue;
      }
      if (gather) {
        awaited = this.#gather(seen);
        changed = true;
      } else if (!this.#armAll()) {
        this.#sleep(seen);
        this.#adapt(now() - t);
      }
      looked = now();
      lookUntil = looked + this.#spin;
    }
  }

  #gathers(awaited: boolean): boolean {
    let served = 0;
    for (const p of this.#pollers) {
      if (p.served === undefined) return false;
      served += p.served;
    }
    return this.#patience.next(served, awaited);
  }

  /** A short sleep, of which guests that run on take no notice. Returns whether one that does not run on ended it. */
  #gather(seen: number): boolean {
    Atomics.store(this.#words, this.#later, 1);
    const woken = !this.#armAll() && this.#sleep(seen, GATHER_MS) === 'ok';
    Atomics.store(this.#words, this.#later, 0);
    return woken;
  }

  /** It slept for so many ns. */
  #adapt(slept: number): void {
    const most = now() < this.#crowdedUntil ? SPIN_CROWDED : SPIN_MAX;
    this.#spin =
      slept < most ? Math.min(most, Math.max(SPIN_STEP, this.#spin * 2)) : Math.max(SPIN_MIN, this.#spin / 2);
  }

  /**
   * Sleeps until the wake word is no longer `seen`, or for `ms` at most. For code that waits for one event inside a handler:
   * other events stay pending.
   */
  waitFor(seen: number, ms: number): void {
    Atomics.wait(this.#words, this.#wake, seen, ms);
  }

  /** Index in machine memory, as words, of the word that wakes the thread when it is changed and notified. */
  get wakeIndex(): number {
    return this.#wake;
  }

  get wakeCount(): number {
    return Atomics.load(this.#words, this.#wake);
  }

  #pollAll(): boolean {
    let worked = this.#runTimers();
    for (const p of this.#pollers) if (p.poll()) worked = true;
    return worked;
  }

  #armAll(): boolean {
    let work = false;
    for (const p of this.#pollers) if (p.arm()) work = true;
    return work;
  }

  #runTimers(): boolean {
    if (this.#timers.size === 0) return false;
    const t = now();
    let ran = false;
    for (const [id, timer] of this.#timers) {
      if (timer.at > t) continue;
      this.#timers.delete(id);
      timer.run();
      ran = true;
    }
    return ran;
  }

  /** Until an event, the first timer, or for `most` ms. */
  #sleep(seen: number, most = Number.POSITIVE_INFINITY): 'ok' | 'not-equal' | 'timed-out' {
    let first = Number.POSITIVE_INFINITY;
    for (const timer of this.#timers.values()) first = Math.min(first, timer.at);
    const ms = first === Number.POSITIVE_INFINITY ? first : Math.max(0, (first - now()) / 1e6);
    return Atomics.wait(this.#words, this.#wake, seen, Math.min(ms, most));
  }
}
