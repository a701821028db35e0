/**
 * AML, the byte code of ACPI's definition blocks: as much of it as declares devices (ACPI specification, "ACPI Machine
 * Language"). Each function returns the bytes of one term.
 */
const ZERO_OP = 0x00;
const ONE_OP = 0x01;
const NAME_OP = 0x08;
const BYTE_PREFIX = 0x0a;
const WORD_PREFIX = 0x0b;
const DWORD_PREFIX = 0x0c;
const STRING_PREFIX = 0x0d;
const SCOPE_OP = 0x10;
const EXT_OP = 0x5b;
const DEVICE_OP = 0x82;
const ROOT_CHAR = 0x5c;

type Bytes = readonly number[];

const ascii = (text: string): number[] => [...text].map((c) => c.charCodeAt(0));

/** A name segment (four characters, a letter or "_" first), "\" before it for one at the root. */
export function nameString(name: string): Bytes {
  const [, root, segment] = /^(\\?)([A-Z_][A-Z0-9_]{0,3})$/.exec(name) ?? [];
  if (segment === undefined) throw new RangeError(`${name} is no name of AML`);
  return [...(root ? [ROOT_CHAR] : []), ...ascii(segment.padEnd(4, '_'))];
}

export function integer(value: number): Bytes {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw new RangeError(`${value} is no DWord`);
  const bytes = [value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24];
  if (value === 0) return [ZERO_OP];
  if (value === 1) return [ONE_OP];
  if (value <= 0xff) return [BYTE_PREFIX, ...bytes.slice(0, 1)];
  if (value <= 0xffff) return [WORD_PREFIX, ...bytes.slice(0, 2)];
  return [DWORD_PREFIX, ...bytes];
}

export const string = (text: string): Bytes => [STRING_PREFIX, ...ascii(text), 0];

/** `Name (name, value)`. */
export const named = (name: string, value: Bytes): Bytes => [NAME_OP, ...nameString(name), ...value];

/** The length of a package, itself included, in 1 to 4 bytes: 6 bits in one, else 4 in the first and 8 in each other. */
export function packageLength(content: number): Bytes {
  if (content + 1 < 1 << 6) return [content + 1];
  for (let more = 1; more <= 3; more++) {
    const length = content + 1 + more;
    if (length >= 1 << (4 + 8 * more)) continue;
    const rest = Array.from({ length: more }, (_, i) => (length >>> (4 + 8 * i)) & 0xff);
    return [(more << 6) | (length & 0xf), ...rest];
  }
  throw new RangeError(`${content} bytes are too many for a package of AML`);
}

function block(op: Bytes, name: string, terms: readonly Bytes[]): Bytes {
  const content = [...nameString(name), ...terms.flat()];
  return [...op, ...packageLength(content.length), ...content];
}

export const scope = (name: string, terms: readonly Bytes[]): Bytes => block([SCOPE_OP], name, terms);

export const device = (name: string, terms: readonly Bytes[]): Bytes => block([EXT_OP, DEVICE_OP], name, terms);
