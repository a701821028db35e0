/** Payload strings: bytes of any value, each kept as one character so that nothing is lost on the way back out. */

export function fromBytes(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]);
  return text;
}

export function toBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** `a\0b\0` from `['a', 'b']`. */
export const nulTerminated = (strings: Iterable<string>) => toBytes([...strings].map((s) => `${s}\0`).join(''));

/** The nul-terminated strings of a payload; bytes after the last nul are not looked at. */
export function splitStrings(payload: Uint8Array): string[] {
  const strings: string[] = [];
  let from = 0;
  for (let nul = payload.indexOf(0); nul >= 0; nul = payload.indexOf(0, from)) {
    strings.push(fromBytes(payload.subarray(from, nul)));
    from = nul + 1;
  }
  return strings;
}
