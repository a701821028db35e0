/**
 * The symbol table in a Linux kernel's image (scripts/kallsyms.c there): names are compressed with a table of 256 tokens,
 * addresses are offsets from a base. Nothing says where the parts lie, so they are found by what they must look like.
 *
 *   6.1:  offsets u32[n]  base u64  n u32  names  markers u32[n / 256]  tokens  token index u16[256]
 *   6.4:  n u32  names  markers  [order u8[3][n]]  tokens  token index  offsets u32[n]  base u64
 *
 * Each part is aligned to 8 bytes.
 */
import type { CodeSymbol } from './symbols.ts';

const align = (at: number) => (at + 7) & ~7;
/** '0' to '9' stand for themselves in every kernel's table. */
const DIGITS = Buffer.from('0\x001\x002\x003\x004\x005\x006\x007\x008\x009\x00', 'latin1');
const TOKENS = 256;
const FEWEST = 1000;
const MOST = 4_000_000;
/** Names between two markers. */
const MARKED = 256;
/** How far before the tokens the number of symbols is looked for: names take some 10 bytes each. */
const REACH = 16 << 20;
const KERNEL_HALF = 0xffff_8000_0000_0000n;

/** The functions of a kernel (its unpacked image), or none: it has no such table, or one of another kind. */
export function kallsyms(image: Uint8Array): CodeSymbol[] {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  for (let at = bytes.indexOf(DIGITS); at >= 0; at = bytes.indexOf(DIGITS, at + 1)) {
    const tokens = readTokens(bytes, at);
    const found = tokens && readNames(bytes, tokens);
    if (found) return found;
  }
  return [];
}

interface Tokens {
  readonly start: number;
  readonly end: number;
  readonly text: readonly string[];
}

/** The token table whose entry for '0' is at `zero`: the index behind it must agree with it. */
function readTokens(bytes: Buffer, zero: number): Tokens | undefined {
  let start = zero;
  for (let i = 0; i < 0x30; i++) {
    if (start < 2) return undefined;
    start = bytes.lastIndexOf(0, start - 2) + 1;
  }
  // Before the first token there is the end of another part or padding: its zero byte is as good as a terminator.
  const text: string[] = [];
  const offsets: number[] = [];
  let at = start;
  while (text.length < TOKENS) {
    const end = bytes.indexOf(0, at);
    if (end < 0 || end - at > 64) return undefined;
    offsets.push(at - start);
    text.push(bytes.toString('latin1', at, end));
    at = end + 1;
  }
  const index = align(at);
  if (index + TOKENS * 2 > bytes.length) return undefined;
  if (offsets.some((offset, i) => bytes.readUInt16LE(index + i * 2) !== offset)) return undefined;
  return { start, end: index + TOKENS * 2, text };
}

/** Looks backwards for the number of symbols, behind which as many names and then their markers must lie. */
function readNames(bytes: Buffer, tokens: Tokens): CodeSymbol[] | undefined {
  const first = Math.max(16, align(tokens.start) - REACH);
  for (let at = align(tokens.start) - 8; at >= first; at -= 8) {
    const count = bytes.readUInt32LE(at);
    if (count < FEWEST || count > MOST || bytes.readUInt32LE(at + 4) !== 0) continue;
    const names = namesAt(bytes, at + 8, count, tokens);
    const address = names && addresses(bytes, at, count, tokens);
    if (!address) continue;
    const out: CodeSymbol[] = [];
    for (const [i, name] of names.entries())
      if (/^[tTwW]./.test(name)) out.push({ address: address(i), name: name.slice(1) });
    return out;
  }
  return undefined;
}

/** The names from `from` on, each with its type letter, if they are followed by markers that point to each 256th. */
function namesAt(bytes: Buffer, from: number, count: number, tokens: Tokens): string[] | undefined {
  const names: string[] = [];
  const markers: number[] = [];
  let at = from;
  for (let i = 0; i < count; i++) {
    if (i % MARKED === 0) markers.push(at - from);
    let length = bytes[at++];
    // Long names have two bytes of length.
    if (length & 0x80) length = (length & 0x7f) | (bytes[at++] << 7);
    if (length === 0 || at + length > tokens.start) return undefined;
    names.push('');
    for (const end = at + length; at < end; at++) names[i] += tokens.text[bytes[at]];
  }
  const table = align(at);
  if (table + markers.length * 4 > tokens.start) return undefined;
  return markers.every((marker, i) => bytes.readUInt32LE(table + i * 4) === marker) ? names : undefined;
}

/** Address of each symbol, by its number. */
function addresses(bytes: Buffer, at: number, count: number, tokens: Tokens): ((i: number) => bigint) | undefined {
  const size = align(count * 4);
  for (const [offsets, base] of [
    [at - 8 - size, at - 8],
    [tokens.end, tokens.end + size],
  ]) {
    if (offsets < 0 || base + 8 > bytes.length) continue;
    const relative = bytes.readBigUInt64LE(base);
    if (relative < KERNEL_HALF) continue;
    return (i) => {
      // Of a per-CPU symbol the offset itself is the address; of others it counts backwards from the base, less one.
      const offset = bytes.readInt32LE(offsets + i * 4);
      return offset >= 0 ? BigInt(offset) : relative - 1n - BigInt(offset);
    };
  }
  return undefined;
}
