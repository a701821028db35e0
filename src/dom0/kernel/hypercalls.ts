/**
 * Hypercalls of dom0, typed. `Hypercalls` has one group per hypercall (`xen.domctl.pauseDomain(3)`); each call throws
 * HypercallError where Xen would return -errno. Guest handles are machine addresses inside the calling domain's buffer.
 */
import { ERRNO } from '../../abi/errno.ts';
import type { Struct } from '../../abi/layout.ts';
import { HYPERCALL } from '../../abi/xen.ts';
import { DOM0_BUFFER, DOM0_BUFFER_SIZE } from '../../machine/layout.ts';
import { CpupoolCalls } from './hypercalls/cpupool.ts';
import { DomctlCalls } from './hypercalls/domctl.ts';
import { EventChannelCalls } from './hypercalls/event-channel.ts';
import { GrantTableCalls } from './hypercalls/grant-table.ts';
import { HvmCalls } from './hypercalls/hvm.ts';
import { MemoryCalls } from './hypercalls/memory.ts';
import { MmuextCalls } from './hypercalls/mmuext.ts';
import { SchedCalls } from './hypercalls/sched.ts';
import { SchedulerCalls } from './hypercalls/scheduler.ts';
import { SysctlCalls } from './hypercalls/sysctl.ts';
import { VersionCalls } from './hypercalls/version.ts';
import { type HypervisorPort, MachineMemory, type StructView } from './memory.ts';

const ERRNO_NAME = new Map<number, string>(Object.entries(ERRNO).map(([k, v]) => [v, k]));
ERRNO_NAME.set(ERRNO.EAGAIN, 'EAGAIN');

export class HypercallError extends Error {
  override readonly name = 'HypercallError';
  /** Name of the error number, as `ENOMEM`. */
  readonly code: string;
  /** Positive error number. */
  readonly errno: number;

  constructor(what: string, errno: number) {
    const code = ERRNO_NAME.get(errno) ?? `error ${errno}`;
    super(`${what}: ${code}`);
    this.code = code;
    this.errno = errno;
  }
}

/** Memory for the arguments of one call, given back when the call is over. Everything in it starts as zeros. */
export interface Scratch {
  struct<N extends string>(s: Struct<N>): StructView<N>;
  /** Machine address of `length` bytes, aligned to 8. */
  bytes(length: number): number;
  /** A copy of the numbers, 8 bytes each. */
  u64s(values: ArrayLike<number | bigint>): number;
  /** A copy of a bitmap: bit n of the value is CPU (or node) n. */
  bitmap(value: bigint, bits: number): number;
}

export class Hypercalls {
  readonly memory: MachineMemory;
  readonly domctl: DomctlCalls;
  readonly sysctl: SysctlCalls;
  readonly memoryOp: MemoryCalls;
  readonly evtchn: EventChannelCalls;
  readonly mmuext: MmuextCalls;
  readonly grant: GrantTableCalls;
  readonly hvm: HvmCalls;
  readonly sched: SchedCalls;
  readonly scheduler: SchedulerCalls;
  readonly cpupool: CpupoolCalls;
  readonly version: VersionCalls;
  private readonly port: HypervisorPort;
  private readonly start: number;
  private readonly end: number;
  private next: number;

  /** `buffer`: memory of the calling domain that nothing else uses, aligned to 8. */
  constructor(port: HypervisorPort, buffer = { address: DOM0_BUFFER, size: DOM0_BUFFER_SIZE }) {
    this.port = port;
    this.memory = new MachineMemory(port);
    this.start = this.next = buffer.address;
    this.end = buffer.address + buffer.size;
    this.domctl = new DomctlCalls(this);
    this.sysctl = new SysctlCalls(this);
    this.memoryOp = new MemoryCalls(this);
    this.evtchn = new EventChannelCalls(this);
    this.mmuext = new MmuextCalls(this);
    this.grant = new GrantTableCalls(this);
    this.hvm = new HvmCalls(this);
    this.sched = new SchedCalls(this);
    this.scheduler = new SchedulerCalls(this);
    this.cpupool = new CpupoolCalls(this);
    this.version = new VersionCalls(this);
  }

  /** Bytes that one call's arguments may have. */
  get bufferSize(): number {
    return this.end - this.start;
  }

  /** Runs `body` with scratch memory. Calls nest. */
  scratch<T>(body: (s: Scratch) => T): T {
    const mark = this.next;
    const bytes = (length: number): number => {
      const at = this.next;
      const next = (at + length + 7) & ~7;
      if (next > this.end)
        throw new RangeError(`hypercall arguments of ${next - this.start} bytes do not fit the buffer`);
      this.next = next;
      this.memory.fill(at, length);
      return at;
    };
    try {
      return body({
        bytes,
        struct: (s) => this.memory.struct(bytes(s.size), s),
        u64s: (values) => {
          const at = bytes(values.length * 8);
          for (let i = 0; i < values.length; i++) this.memory.view.setBigUint64(at + i * 8, BigInt(values[i]), true);
          return at;
        },
        bitmap: (value, bits) => {
          const at = bytes(Math.ceil(bits / 8));
          for (let i = 0; i < bits; i += 8) this.memory.bytes[at + i / 8] = Number((value >> BigInt(i)) & 0xffn);
          return at;
        },
      });
    } finally {
      this.next = mark;
    }
  }

  /** The result, which may be negative. A call that was broken off to let others run is continued. */
  raw(op: number, ...args: readonly (number | bigint)[]): bigint {
    const [a1, a2, a3, a4, a5] = args.map((a) => BigInt.asUintN(64, BigInt(a)));
    for (;;) {
      const r = this.port.hypercall(op, a1, a2, a3, a4, a5);
      if (r !== BigInt(-ERRNO.ERESTART)) return r;
    }
  }

  /** The result; throws HypercallError if it is negative. `what` says what was tried. */
  call(what: string, op: number, ...args: readonly (number | bigint)[]): bigint {
    const r = this.raw(op, ...args);
    if (r < 0n) throw new HypercallError(what, Number(-r));
    return r;
  }

  /** console_io write: text for the hypervisor's log. */
  consoleWrite(text: string): void {
    const data = new TextEncoder().encode(text);
    this.scratch((s) => {
      const at = s.bytes(data.length);
      this.memory.write(at, data);
      this.call('console_io write', HYPERCALL.console_io, 0, data.length, at);
    });
  }
}
