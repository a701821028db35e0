/**
 * Event channels of a TypeScript domain: binds ports to callbacks and delivers what is pending in the domain's own
 * shared_info (2-level ABI). The thread sleeps on the wake word that the hypervisor notifies (Atomics.waitAsync), so that
 * its event loop stays free; a wake-up takes some 65 µs, which is for control traffic, not for data paths.
 */
import { SharedInfo, VcpuInfo } from '../../abi/xen.ts';
import type { Hypercalls } from './hypercalls.ts';

export type EventHandler = () => void;

/** Longer than any timer's limit allows; only keeps Node's loop alive. */
const KEEP_ALIVE_MS = 0x7fff_ffff;

export class EventChannels {
  private readonly xen: Hypercalls;
  /** Word index (of 4 bytes) of the wake word, and of the fields of shared_info. */
  private readonly wake: number;
  /** Word in which the hypervisor is told how far events are handled: deterministic time stands still until then. */
  private readonly handled: number | undefined;
  private readonly upcall: number;
  private readonly selector: number;
  private readonly pending: number;
  private readonly mask: number;
  private lookEverywhere = false;
  private readonly handlers = new Map<number, EventHandler>();
  private readonly onError: (error: unknown) => void;
  private timer: ReturnType<typeof setInterval> | undefined;

  /**
   * `sharedInfo`: machine address of the page; `wakeWord`: of the u32 that is changed and notified; `handledWord`: of
   * the u32 that is to follow it.
   */
  constructor(
    xen: Hypercalls,
    where: { readonly sharedInfo: number; readonly wakeWord: number; readonly handledWord?: number },
    onError: (error: unknown) => void = (e) =>
      queueMicrotask(() => {
        throw e;
      }),
  ) {
    this.xen = xen;
    this.wake = where.wakeWord >>> 2;
    this.handled = where.handledWord === undefined ? undefined : where.handledWord >>> 2;
    const at = where.sharedInfo;
    this.upcall = (at + VcpuInfo.off.evtchn_upcall_pending) >>> 2;
    this.selector = (at + VcpuInfo.off.evtchn_pending_sel) >>> 2;
    this.pending = (at + SharedInfo.off.evtchn_pending) >>> 2;
    this.mask = (at + SharedInfo.off.evtchn_mask) >>> 2;
    this.onError = onError;
  }

  /** Starts delivery; keeps the process alive until `stop`. */
  start(): void {
    if (this.timer) return;
    this.timer = setInterval(() => {}, KEEP_ALIVE_MS);
    void this.loop();
  }

  stop(): void {
    if (!this.timer) return;
    clearInterval(this.timer);
    this.timer = undefined;
    Atomics.notify(this.xen.memory.words, this.wake);
  }

  private async loop(): Promise<void> {
    const words = this.xen.memory.words;
    while (this.timer) {
      const seen = Atomics.load(words, this.wake);
      this.deliver();
      if (this.handled !== undefined) {
        Atomics.store(words, this.handled, seen);
        Atomics.notify(words, this.handled);
      }
      const w = Atomics.waitAsync(words, this.wake, seen);
      // Others get their turn even if a guest signals without pause.
      await (w.async ? w.value : new Promise((resolve) => setImmediate(resolve)));
    }
  }

  /**
   * From now on an event on `port` changes the wake word, whatever else is pending. No handler is called: for code that
   * waits for one event. `deliver` then looks at every port.
   */
  expect(port: number): void {
    const words = this.xen.memory.words;
    Atomics.and(words, this.upcall, ~0xff);
    for (const half of [0, 1]) Atomics.store(words, this.selector + half, 0);
    Atomics.and(words, this.pending + (port >>> 5), ~(1 << (port & 31)));
    this.lookEverywhere = true;
  }

  /** Calls the handlers of all ports that are pending now. */
  deliver(): void {
    const words = this.xen.memory.words;
    // Byte 0 of the word: pending; byte 1, the mask, is not used by a TypeScript domain.
    Atomics.and(words, this.upcall, ~0xff);
    for (let half = 0; half < 2; half++) {
      let groups = Atomics.exchange(words, this.selector + half, 0);
      if (this.lookEverywhere) groups = -1;
      for (; groups !== 0; groups &= groups - 1) {
        const group = half * 32 + (31 - Math.clz32(groups & -groups));
        for (let part = 0; part < 2; part++) this.deliverWord(group * 2 + part);
      }
    }
    this.lookEverywhere = false;
  }

  private deliverWord(index: number): void {
    const words = this.xen.memory.words;
    let ports = Atomics.load(words, this.pending + index) & ~Atomics.load(words, this.mask + index);
    for (; ports !== 0; ports &= ports - 1) {
      const bit = ports & -ports;
      Atomics.and(words, this.pending + index, ~bit);
      const handler = this.handlers.get(index * 32 + (31 - Math.clz32(bit)));
      try {
        handler?.();
      } catch (e) {
        this.onError(e);
      }
    }
  }

  private bound(port: number, handler: EventHandler): number {
    this.handlers.set(port, handler);
    return port;
  }

  /** Binds to a port that the remote domain (or the toolstack on its behalf) offers. Returns our port. */
  bindInterdomain(remote: number, remotePort: number, handler: EventHandler): number {
    return this.bound(this.xen.evtchn.bindInterdomain(remote, remotePort), handler);
  }

  bindVirq(virq: number, handler: EventHandler): number {
    return this.bound(this.xen.evtchn.bindVirq(virq), handler);
  }

  notify(port: number): void {
    this.xen.evtchn.send(port);
  }

  /** The handler is not called any more. */
  unbind(port: number): void {
    if (this.handlers.delete(port)) this.xen.evtchn.close(port);
  }
}
