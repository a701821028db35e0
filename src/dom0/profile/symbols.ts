/**
 * Symbol tables of guests: System.map and /proc/kallsyms texts, symbol tables of 64-bit ELF files, and what a Linux kernel
 * carries for its own messages (kallsyms.ts).
 */
import { isElf } from '../toolstack/kernel/elf.ts';
import { kallsyms } from './kallsyms.ts';

export interface CodeSymbol {
  readonly address: bigint;
  readonly name: string;
}

/** A function may not be larger: addresses further behind the last symbol belong to none. */
const MAX_FUNCTION = 1n << 20n;

export class Symbols {
  readonly #sorted: readonly CodeSymbol[];

  constructor(symbols: readonly CodeSymbol[]) {
    this.#sorted = [...symbols].sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
  }

  get size(): number {
    return this.#sorted.length;
  }

  /** Name of the function that the address is in. */
  find(address: bigint): string | undefined {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle].address <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = this.#sorted[low - 1];
    return symbol && address - symbol.address < MAX_FUNCTION ? symbol.name : undefined;
  }
}

/** Symbols of code in a file of any of the known kinds; none if it is none of them. */
export function readSymbols(file: Uint8Array): CodeSymbol[] {
  if (!isElf(file)) return systemMap(new TextDecoder().decode(file));
  const own = elfSymbols(file);
  return own.length > 0 ? own : kallsyms(file);
}

/** Lines `ffffffff81000000 T name [module]`. An address of zero is one that was hidden. */
export function systemMap(text: string): CodeSymbol[] {
  const out: CodeSymbol[] = [];
  for (const [, address, name] of text.matchAll(/^([0-9a-f]{8,16}) [tTwW] (\S+)/gm)) {
    if (/[^0]/.test(address)) out.push({ address: BigInt(`0x${address}`), name });
  }
  return out;
}

const SHT_SYMTAB = 2;
const STT_FUNC = 2;
const STT_NOTYPE = 0;
const SHF_EXECINSTR = 4n;
const SYM_SIZE = 24;

/** Functions in .symtab (System V ABI, "Symbol Table"). A damaged file has none. */
export function elfSymbols(file: Uint8Array): CodeSymbol[] {
  const v = new DataView(file.buffer, file.byteOffset, file.length);
  try {
    const shoff = Number(v.getBigUint64(40, true));
    const shentsize = v.getUint16(58, true);
    const shnum = v.getUint16(60, true);
    const section = (i: number) => {
      const at = shoff + i * shentsize;
      return {
        type: v.getUint32(at + 4, true),
        flags: v.getBigUint64(at + 8, true),
        offset: Number(v.getBigUint64(at + 24, true)),
        size: Number(v.getBigUint64(at + 32, true)),
        link: v.getUint32(at + 40, true),
      };
    };
    const all = Array.from({ length: shnum }, (_, i) => section(i));
    const out: CodeSymbol[] = [];
    for (const table of all.filter((s) => s.type === SHT_SYMTAB)) {
      const strings = file.subarray(all[table.link].offset, all[table.link].offset + all[table.link].size);
      for (let at = table.offset; at + SYM_SIZE <= table.offset + table.size; at += SYM_SIZE) {
        const type = v.getUint8(at + 4) & 15;
        const code = all[v.getUint16(at + 6, true)]?.flags ?? 0n;
        if (type !== STT_FUNC && !(type === STT_NOTYPE && code & SHF_EXECINSTR)) continue;
        const from = v.getUint32(at, true);
        const name = new TextDecoder().decode(strings.subarray(from, strings.indexOf(0, from)));
        const address = v.getBigUint64(at + 8, true);
        if (address !== 0n && name !== '') out.push({ address, name });
      }
    }
    return out;
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) return [];
    throw error;
  }
}
