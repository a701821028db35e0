/** Payload strings: bytes of any value, each kept as one character so that nothing is lost on the way back out. */

export function fromBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

export function toBytes(text: string): Uint8Array {
  // Memory of its own, not of Node's pool: values stay for long.
  const bytes = new Uint8Array(text.length);
  Buffer.from(bytes.buffer).write(text, 'latin1');
  return bytes;
}

/** `a\0b\0` from `['a', 'b']`. */
export const nulTerminated = (strings: Iterable<string>) => toBytes([...strings].map((s) => `${s}\0`).join(''));

/** The nul-terminated strings of a payload; bytes after the last nul are not looked at. */
export function splitStrings(payload: Uint8Array): string[] {
  const text = fromBytes(payload);
  const strings: string[] = [];
  let from = 0;
  for (let nul = text.indexOf('\0'); nul >= 0; nul = text.indexOf('\0', from)) {
    strings.push(text.slice(from, nul));
    from = nul + 1;
  }
  return strings;
}
