/**
 * One gdb with one domain: the commands of the remote serial protocol (GDB manual, appendix E). All vCPUs stop and go
 * together ("all-stop"); vCPU n is thread n + 1.
 */

import { VEC } from '../../engine/state.ts';
import type { Hypercalls } from '../kernel/hypercalls.ts';
import { Breakpoints } from './breakpoints.ts';
import { HardwareBreakpoints, type Watch, type WatchKind } from './hardware.ts';
import { fromHex, hexText, parseAddress, parseCount, toHex } from './hex.ts';
import { PACKET_MAX } from './packets.ts';
import { REGISTER, REGISTERS, readAll, targetDescription, writeAll } from './registers.ts';
import { type Action, type DebugEvent, DebugTarget } from './target.ts';

const SIGINT = 2;
const SIGTRAP = 5;
const SIGABRT = 6;
/** Bytes of memory that one answer holds. */
const READ_MAX = (PACKET_MAX - 16) / 2;
const FAILED = 'E01';
const MALFORMED = 'E16';
const NOT_SUPPORTED = '';

export interface SessionOptions {
  readonly xen: Hypercalls;
  readonly domid: number;
  readonly maxVcpus: number;
  /** Sends a packet to gdb. */
  readonly send: (data: string) => void;
  /** From the next packet on, none is acknowledged. */
  readonly noAcks: () => void;
  /** gdb has gone, or asked to: the connection is to be closed. */
  readonly close: () => void;
  /** gdb's `kill`. */
  readonly kill: () => void;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #target: DebugTarget;
  readonly #breakpoints: Breakpoints;
  readonly #hardware: HardwareBreakpoints;
  /** The vCPU that commands about registers mean. */
  #current = 0;
  /** What was told last. */
  #lastStop = `S${hex2(SIGTRAP)}`;
  #swbreak = false;
  #hwbreak = false;
  /** Watchpoints that vCPUs have met and gdb was not told of. */
  readonly #unheard: { vcpu: number; watch: Watch }[] = [];
  #closed = false;

  /** Stops the domain. */
  constructor(options: SessionOptions) {
    this.#options = options;
    this.#target = new DebugTarget(options.xen, options.domid, options.maxVcpus);
    this.#breakpoints = new Breakpoints(this.#target);
    this.#hardware = new HardwareBreakpoints(this.#target);
    this.#lastStop = this.#stopReply(0, SIGTRAP);
  }

  /** The hypervisor says that some debugged domain has stopped: perhaps this one. */
  poll(): void {
    if (this.#closed || this.#target.stopped) return;
    const events = this.#target.poll();
    if (events.length > 0) this.#stopped(events);
  }

  /** gdb's Ctrl-C. */
  interrupt(): void {
    if (this.#closed || this.#target.stopped) return;
    this.#stopped(this.#target.stop());
  }

  /** The domain has shut down, crashed, but is still there: its vCPUs run no more. */
  shutdown(): void {
    if (this.#closed || this.#target.stopped) return;
    this.#rewind(this.#target.stop());
    this.#tell(this.#current, SIGABRT);
  }

  /** The domain is gone: to gdb, a process that has exited. */
  exited(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.send('W00');
    this.#options.close();
  }

  /** The domain goes on without a debugger. */
  detach(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#target.stopped) this.#rewind(this.#target.stop());
    this.#breakpoints.removeAll();
    this.#hardware.removeAll();
    this.#hardware.apply();
    this.#target.detach();
  }

  command(data: string): void {
    if (this.#closed || !this.#target.stopped) return; // while the domain runs, gdb can only interrupt it
    const answer = this.#answer(data[0], data.slice(1));
    if (answer !== undefined) this.#options.send(answer);
  }

  /** undefined: no answer, or one later. */
  #answer(command: string, rest: string): string | undefined {
    switch (command) {
      case '?':
        return this.#lastStop;
      case 'g':
        return this.#onContext((context) => toHex(readAll(context)));
      case 'G':
        return this.#change(rest, writeAll);
      case 'p':
        return this.#readRegister(rest);
      case 'P':
        return this.#writeRegister(rest);
      case 'm':
        return this.#readMemory(rest);
      case 'M':
        return this.#writeMemory(rest, (data) => fromHex(data));
      case 'X':
        return this.#writeMemory(rest, (data) => Uint8Array.from(data, (c) => c.charCodeAt(0)));
      case 'Z':
      case 'z':
        return this.#breakpoint(command === 'Z', rest);
      case 'H':
        return this.#selectThread(rest);
      case 'T':
        return this.#vcpuOf(rest) === undefined ? FAILED : 'OK';
      case 'c':
      case 's':
        return this.#resume(command === 's' ? 'step' : 'continue', rest);
      case 'v':
        return this.#extended(rest);
      case 'q':
      case 'Q':
        return this.#query(command + rest);
      case 'D':
        this.#options.send('OK');
        this.detach();
        this.#options.close();
        return undefined;
      case 'k':
        this.#closed = true;
        this.#options.kill();
        this.#options.close();
        return undefined;
      default:
        return NOT_SUPPORTED;
    }
  }

  // ── registers and memory ──

  #onContext(body: (context: Uint8Array) => string): string {
    const context = this.#target.context(this.#current);
    return context ? body(context) : FAILED;
  }

  #change(data: string, write: (context: Uint8Array, value: Uint8Array) => void): string {
    const value = fromHex(data);
    if (!value) return MALFORMED;
    return this.#onContext((context) => {
      write(context, value);
      this.#target.changed(this.#current);
      return 'OK';
    });
  }

  #readRegister(text: string): string {
    const register = REGISTERS[parseCount(text) ?? -1];
    return register ? this.#onContext((context) => toHex(register.read(context))) : FAILED;
  }

  #writeRegister(text: string): string {
    const [number, value] = text.split('=');
    const register = REGISTERS[parseCount(number) ?? -1];
    if (!register || value?.length !== 2 * register.bytes) return MALFORMED;
    return this.#change(value, (context, bytes) => register.write(context, bytes));
  }

  #readMemory(text: string): string {
    const [at, count] = text.split(',');
    const address = parseAddress(at);
    const length = parseCount(count ?? '');
    if (address === undefined || length === undefined) return MALFORMED;
    const bytes = this.#breakpoints.read(address, Math.min(length, READ_MAX));
    return bytes.length === 0 && length > 0 ? FAILED : toHex(bytes);
  }

  #writeMemory(text: string, decode: (data: string) => Uint8Array | undefined): string {
    const match = /^([0-9a-f]+),([0-9a-f]+):([\s\S]*)$/i.exec(text);
    const address = match ? parseAddress(match[1]) : undefined;
    const data = match ? decode(match[3]) : undefined;
    if (!match || address === undefined || !data || data.length !== parseCount(match[2])) return MALFORMED;
    return this.#breakpoints.write(address, data) === data.length ? 'OK' : FAILED;
  }

  /** `type,address,kind`. Reads alone cannot be watched on x86: gdb makes do with accesses. */
  #breakpoint(insert: boolean, text: string): string {
    const [type, at, size] = text.split(',');
    const kind = WATCHES[type];
    if (type !== '0' && !kind) return NOT_SUPPORTED;
    const address = parseAddress(at ?? '');
    const length = parseCount(size ?? '');
    if (address === undefined || length === undefined) return MALFORMED;
    if (!kind) return (insert ? this.#breakpoints.insert(address) : this.#breakpoints.remove(address)) ? 'OK' : FAILED;
    if (!insert) this.#hardware.remove(kind, address, length);
    return !insert || this.#hardware.insert(kind, address, length) ? 'OK' : FAILED;
  }

  // ── threads ──

  /** The vCPU that a thread id means; undefined if there is none. */
  #vcpuOf(id: string): number | undefined {
    const vcpu = (parseCount(id) ?? 0) - 1;
    return this.#target.context(vcpu) ? vcpu : undefined;
  }

  #selectThread(text: string): string {
    const id = text.slice(1);
    if (id === '-1' || id === '0') return 'OK'; // all, any
    const vcpu = this.#vcpuOf(id);
    if (vcpu === undefined) return FAILED;
    if (text[0] === 'g') this.#current = vcpu;
    return 'OK';
  }

  // ── going and stopping ──

  #resume(action: Action, address: string): undefined | string {
    const to = address === '' ? undefined : parseAddress(address);
    if (address !== '' && to === undefined) return MALFORMED;
    if (to !== undefined) this.#target.setRip(this.#current, to);
    const only = this.#current;
    this.#go((vcpu) => (action === 'continue' ? 'continue' : vcpu === only ? 'step' : 'stay'));
    return undefined;
  }

  #go(action: (vcpu: number) => Action): void {
    // gdb hears of one stop at a time: what other vCPUs have met meanwhile comes first.
    for (let next = this.#unheard.shift(); next; next = this.#unheard.shift()) {
      if (!this.#hardware.has(next.watch)) continue;
      this.#current = next.vcpu;
      this.#tell(next.vcpu, SIGTRAP, this.#watchReason(next.watch));
      return;
    }
    this.#hardware.apply();
    this.#target.resume(action);
  }

  /** `vCont;action[:thread]…`: the first that fits a thread holds; a thread that none fits stays. */
  #vCont(text: string): string | undefined {
    const rules: { action: Action; vcpu: number | undefined }[] = [];
    for (const part of text.split(';').slice(1)) {
      const [what, id] = part.split(':');
      const action = ACTIONS[what[0]];
      const vcpu = id === undefined || id === '-1' || id === '0' ? undefined : (parseCount(id) ?? 0) - 1;
      if (!action || vcpu === -1) return MALFORMED;
      rules.push({ action, vcpu });
    }
    if (rules.length === 0) return MALFORMED;
    this.#go((vcpu) => rules.find((rule) => rule.vcpu === undefined || rule.vcpu === vcpu)?.action ?? 'stay');
    return undefined;
  }

  #extended(text: string): string | undefined {
    if (text === 'Cont?') return 'vCont;c;C;s;S';
    if (text.startsWith('Cont;')) return this.#vCont(text);
    return NOT_SUPPORTED;
  }

  /** The domain has stopped, by `events` or because gdb wants it so. */
  #stopped(events: readonly DebugEvent[]): void {
    const [first, ...others] = events;
    this.#rewind(others);
    if (!first) {
      this.#tell(this.#current, SIGINT);
      return;
    }
    this.#current = first.vcpu;
    if (first.vector === VEC.DB) {
      const watch = this.#hardware.hit(first.vcpu);
      this.#tell(first.vcpu, SIGTRAP, watch ? this.#watchReason(watch) : '');
      return;
    }
    const at = this.#target.getRip(first.vcpu) - 1n;
    const own = first.vector === VEC.BP && this.#breakpoints.has(at);
    if (own && this.#swbreak) this.#target.setRip(first.vcpu, at);
    this.#tell(first.vcpu, SIGTRAP, own && this.#swbreak ? 'swbreak:;' : '');
  }

  #watchReason({ kind, address }: Watch): string {
    if (kind === 'execute') return this.#hwbreak ? 'hwbreak:;' : '';
    return `${kind === 'write' ? 'watch' : 'awatch'}:${address.toString(16)};`;
  }

  /**
   * vCPUs that stopped at the same time as the one that is told of. At breakpoints they will do so again; what they have
   * written or read is done, and told later.
   */
  #rewind(events: readonly DebugEvent[]): void {
    for (const { vcpu, vector } of events) {
      const at = this.#target.getRip(vcpu) - 1n;
      if (vector === VEC.BP && this.#breakpoints.has(at)) this.#target.setRip(vcpu, at);
      const watch = vector === VEC.DB ? this.#hardware.hit(vcpu) : undefined;
      if (watch && watch.kind !== 'execute') this.#unheard.push({ vcpu, watch });
    }
  }

  #tell(vcpu: number, signal: number, reason = ''): void {
    this.#lastStop = this.#stopReply(vcpu, signal, reason);
    this.#options.send(this.#lastStop);
  }

  /** With the registers that gdb always wants. */
  #stopReply(vcpu: number, signal: number, reason = ''): string {
    const context = this.#target.context(vcpu);
    const expedited = context
      ? [REGISTER.rip, REGISTER.rsp].map((n) => `${hex2(n)}:${toHex(REGISTERS[n].read(context))};`).join('')
      : '';
    return `T${hex2(signal)}thread:${hex2(vcpu + 1)};${expedited}${reason}`;
  }

  // ── questions ──

  #query(text: string): string {
    const [name] = text.split(/[:,;]/);
    switch (name) {
      case 'qSupported':
        this.#swbreak = text.includes('swbreak+');
        this.#hwbreak = text.includes('hwbreak+');
        return `PacketSize=${PACKET_MAX.toString(16)};qXfer:features:read+;QStartNoAckMode+;vContSupported+;swbreak+;hwbreak+`;
      case 'QStartNoAckMode':
        this.#options.noAcks();
        return 'OK';
      case 'qAttached':
        return '1';
      case 'qC':
        return `QC${hex2(this.#current + 1)}`;
      case 'qfThreadInfo':
        return `m${this.#target
          .vcpus()
          .map((v) => hex2(v + 1))
          .join(',')}`;
      case 'qsThreadInfo':
        return 'l';
      case 'qThreadExtraInfo':
        return this.#threadInfo(text.slice(name.length + 1));
      case 'qXfer':
        return this.#transfer(text);
      default:
        return NOT_SUPPORTED;
    }
  }

  #threadInfo(id: string): string {
    const vcpu = this.#vcpuOf(id);
    if (vcpu === undefined) return FAILED;
    const { blocked, online } = this.#options.xen.domctl.getVcpuInfo(this.#options.domid, vcpu);
    return hexText(`vCPU ${vcpu}${online ? (blocked ? ', blocked' : '') : ', offline'}`);
  }

  #transfer(text: string): string {
    const match = /^qXfer:features:read:target\.xml:([0-9a-f]+),([0-9a-f]+)$/i.exec(text);
    if (!match) return NOT_SUPPORTED;
    const from = Number.parseInt(match[1], 16);
    const piece = DESCRIPTION.slice(from, from + Math.min(Number.parseInt(match[2], 16), READ_MAX));
    return `${from + piece.length < DESCRIPTION.length ? 'm' : 'l'}${piece}`;
  }
}

/** Types of Z and z packets that take a debug register. */
const WATCHES: Readonly<Record<string, WatchKind>> = { 1: 'execute', 2: 'write', 4: 'access' };
const ACTIONS: Record<string, Action> = { c: 'continue', C: 'continue', s: 'step', S: 'step' };
const DESCRIPTION = targetDescription();

function hex2(n: number): string {
  return n.toString(16).padStart(2, '0');
}
