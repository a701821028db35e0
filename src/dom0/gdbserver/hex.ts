/** Bytes as gdb writes them: two hexadecimal digits each. */

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex');
}

/** undefined: no such text. */
export function fromHex(text: string): Uint8Array | undefined {
  return /^(?:[0-9a-f]{2})*$/i.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined;
}

/** An address or length; undefined if it is none of at most 64 bits. */
export function parseAddress(text: string): bigint | undefined {
  return /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

/** A count or an id that fits 31 bits. */
export function parseCount(text: string): number | undefined {
  return /^[0-9a-f]{1,7}$/i.test(text) ? Number.parseInt(text, 16) : undefined;
}

export const hexText = (text: string) => toHex(new TextEncoder().encode(text));
