/**
 * Machine memory as a TypeScript domain sees it: typed access to structures at machine addresses, and the frames of
 * other domains, which the hypervisor must grant. A Worker can reach the whole shared buffer, so this contains faults
 * of our own code; it is no security boundary against it.
 */
import type { Struct } from '../../abi/layout.ts';

export const PAGE_SIZE = 4096;
export const PAGE_SHIFT = 12;

/** What the machine gives a TypeScript domain's thread (src/machine: Machine has this shape). */
export interface HypervisorPort {
  readonly memory: WebAssembly.Memory;
  hypercall(op: number, a1?: bigint, a2?: bigint, a3?: bigint, a4?: bigint, a5?: bigint): bigint;
  readonly hypervisor: {
    foreign_page(domid: number, gfn: number): number;
    foreign_map?(domid: number, gfn: number): number;
    foreign_unmap?(mfn: number): void;
    frame_written?(mfn: number): void;
    wake_word?(): number;
    wake_handled?(): number;
  };
}

/** A structure at a machine address. Values of 8 bytes are bigint in `big`, numbers (checked) in `get`. */
export class StructView<N extends string> {
  readonly address: number;
  readonly struct: Struct<N>;
  private readonly view: DataView;

  constructor(view: DataView, address: number, struct: Struct<N>) {
    this.view = view;
    this.address = address;
    this.struct = struct;
  }

  private field(name: N, index: number) {
    const f = this.struct.fields.find((x) => x.name === name);
    if (!f || index >= f.count) throw new RangeError(`${this.struct.name}.${name}[${index}]`);
    return { at: this.address + f.offset + index * f.stride, type: f.type, stride: f.stride };
  }

  /** Machine address of a field, for a nested structure or an array. */
  at(name: N): number {
    return this.address + this.struct.off[name];
  }

  /** The same bytes as part of a nested structure or union. */
  nested<M extends string>(name: N, struct: Struct<M>): StructView<M> {
    return new StructView(this.view, this.at(name), struct);
  }

  big(name: N, index = 0): bigint {
    const { at, type } = this.field(name, index);
    if (type === 'u64') return this.view.getBigUint64(at, true);
    if (type === 'i64') return this.view.getBigInt64(at, true);
    return BigInt(this.get(name, index));
  }

  get(name: N, index = 0): number {
    const { at, type } = this.field(name, index);
    switch (type) {
      case 'u8':
        return this.view.getUint8(at);
      case 'i8':
        return this.view.getInt8(at);
      case 'u16':
        return this.view.getUint16(at, true);
      case 'i16':
        return this.view.getInt16(at, true);
      case 'u32':
        return this.view.getUint32(at, true);
      case 'i32':
        return this.view.getInt32(at, true);
      case 'u64':
      case 'i64': {
        const v = Number(this.big(name, index));
        if (!Number.isSafeInteger(v)) throw new RangeError(`${this.struct.name}.${name} does not fit a number`);
        return v;
      }
      default:
        throw new TypeError(`${this.struct.name}.${name} is no number`);
    }
  }

  set(name: N, value: number | bigint, index = 0): this {
    const { at, type } = this.field(name, index);
    const n = Number(value);
    if (type === 'u64' || type === 'i64') this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    else if (type === 'u32' || type === 'i32') this.view.setUint32(at, n, true);
    else if (type === 'u16' || type === 'i16') this.view.setUint16(at, n, true);
    else if (type === 'u8' || type === 'i8') this.view.setUint8(at, n);
    else throw new TypeError(`${this.struct.name}.${name} is no number`);
    return this;
  }
}

/** The frames are not (or no longer) that domain's, or the caller may not touch them. */
export class ForeignMapError extends Error {
  override readonly name = 'ForeignMapError';
}

/** A frame of another domain, held until `unmap`. */
export interface ForeignMapping {
  readonly address: number;
  unmap(): void;
}

export class MachineMemory {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly view: DataView;
  private readonly port: HypervisorPort;

  constructor(port: HypervisorPort) {
    this.port = port;
    this.buffer = port.memory.buffer as unknown as SharedArrayBuffer;
    this.bytes = new Uint8Array(this.buffer);
    this.words = new Int32Array(this.buffer);
    this.view = new DataView(this.buffer);
  }

  struct<N extends string>(address: number, s: Struct<N>): StructView<N> {
    return new StructView(this.view, address, s);
  }

  /**
   * Machine address of frame `gfn` of domain `domid`: an mfn of a PV domain, translated for a PVH domain. No reference is
   * held: only for a domain that is being built and has not run yet, or otherwise cannot give the frame away while it is
   * used.
   */
  foreignPage(domid: number, gfn: number): number {
    return this.address(this.port.hypervisor.foreign_page(domid, gfn), domid, gfn);
  }

  /** The same with a reference held: the domain can neither free the frame nor make a page table of it. */
  foreignMap(domid: number, gfn: number): ForeignMapping {
    const { hypervisor } = this.port;
    if (!hypervisor.foreign_map || !hypervisor.foreign_unmap)
      throw new ForeignMapError('the hypervisor cannot hold frames');
    const address = this.address(hypervisor.foreign_map(domid, gfn), domid, gfn);
    let held = true;
    return {
      address,
      unmap: () => {
        if (held) hypervisor.foreign_unmap?.(address >>> PAGE_SHIFT);
        held = false;
      },
    };
  }

  /**
   * Bytes of a frame that stays mapped have been written: code decoded from it is dropped. (Ending a writable mapping says
   * the same.)
   */
  frameWritten(mfn: number): void {
    this.port.hypervisor.frame_written?.(mfn);
  }

  private address(result: number, domid: number, gfn: number): number {
    if (result === 0) throw new ForeignMapError(`frame 0x${gfn.toString(16)} is not domain ${domid}’s to map`);
    return result >>> 0;
  }

  /** A copy of `length` bytes. */
  read(address: number, length: number): Uint8Array {
    return this.bytes.slice(address, address + length);
  }

  write(address: number, data: Uint8Array): void {
    this.bytes.set(data, address);
  }

  fill(address: number, length: number, value = 0): void {
    this.bytes.fill(value, address, address + length);
  }
}
