/** Structures as bytes of a file. */
import type { Struct } from '../../../abi/layout.ts';
import { StructView } from '../../kernel/memory.ts';

/** The bytes of a structure that `fill` has written to; zeros before. */
export function bytesOf<N extends string>(s: Struct<N>, fill: (v: StructView<N>) => void): Uint8Array {
  const bytes = new Uint8Array(s.size);
  fill(new StructView(new DataView(bytes.buffer), 0, s));
  return bytes;
}

/** A string and its end, cut to the field's size. */
export function putText(bytes: Uint8Array, at: number, size: number, text: string): void {
  bytes.set(new TextEncoder().encode(text).subarray(0, size - 1), at);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** One ELF note: sizes, type, name and contents, each padded to 4 bytes. */
export function note(name: string, type: number, desc: Uint8Array): Uint8Array {
  const pad = (n: number) => (n + 3) & ~3;
  const nameBytes = new TextEncoder().encode(`${name}\0`);
  const bytes = new Uint8Array(12 + pad(nameBytes.length) + pad(desc.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, nameBytes.length, true);
  view.setUint32(4, desc.length, true);
  view.setUint32(8, type, true);
  bytes.set(nameBytes, 12);
  bytes.set(desc, 12 + pad(nameBytes.length));
  return bytes;
}
