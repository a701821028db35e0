/** Frames for tests, and a checker of checksums that shares nothing with the code under test. */

const mac = (n: number) => [0x00, 0x16, 0x3e, 0, n >> 8, n & 255];

export interface TcpFrame {
  readonly version: 4 | 6;
  readonly payload: Uint8Array;
  readonly from?: number;
  readonly to?: number;
  readonly vlan?: boolean;
  readonly flags?: number;
  readonly sequence?: number;
  readonly udp?: boolean;
}

/** A frame whose transport checksum is blank. */
export function packet(o: TcpFrame): Uint8Array {
  const ethernet = [...mac(o.to ?? 2), ...mac(o.from ?? 1), ...(o.vlan ? [0x81, 0, 0, 5] : [])];
  const s = o.sequence ?? 1000;
  const transport = o.udp
    ? [0x30, 0x39, 0, 53, (o.payload.length + 8) >> 8, (o.payload.length + 8) & 255, 0, 0]
    : [
        0x30,
        0x39,
        0,
        80,
        s >>> 24,
        (s >> 16) & 255,
        (s >> 8) & 255,
        s & 255,
        0,
        0,
        0,
        1,
        0x60,
        o.flags ?? 0x18,
        16,
        0,
        0,
        0,
        0,
        0,
        1,
        1,
        1,
        0,
      ];
  const length = transport.length + o.payload.length;
  const protocol = o.udp ? 17 : 6;
  const ip =
    o.version === 4
      ? [
          0x45,
          0,
          (length + 20) >> 8,
          (length + 20) & 255,
          0x12,
          0x34,
          0x40,
          0,
          64,
          protocol,
          0,
          0,
          10,
          0,
          0,
          1,
          10,
          0,
          0,
          2,
        ]
      : [
          0x60,
          0,
          0,
          0,
          length >> 8,
          length & 255,
          protocol,
          64,
          ...Array(15).fill(0xfd),
          1,
          ...Array(15).fill(0xfe),
          2,
        ];
  const type = o.version === 4 ? [8, 0] : [0x86, 0xdd];
  return Uint8Array.from([...ethernet, ...type, ...ip, ...transport, ...o.payload]);
}

/** One's complement sum over bytes, by the book. */
function onesComplement(bytes: number[]): number {
  let total = 0n;
  for (let i = 0; i < bytes.length; i += 2) total += BigInt(((bytes[i] << 8) | (bytes[i + 1] ?? 0)) >>> 0);
  while (total >> 16n) total = (total & 0xffffn) + (total >> 16n);
  return Number(total);
}

export interface Checked {
  readonly ipOk: boolean;
  readonly transportOk: boolean;
  readonly payload: Uint8Array;
  readonly sequence: number;
  readonly flags: number;
  readonly id: number;
}

/** Takes a frame that `packet` made (or a part of one) apart. */
export function check(frame: Uint8Array, vlan = false): Checked {
  const f = [...frame];
  const ip = vlan ? 18 : 14;
  const four = f[ip] >> 4 === 4;
  const at = ip + (four ? 20 : 40);
  const length = four ? ((f[ip + 2] << 8) | f[ip + 3]) - 20 : (f[ip + 4] << 8) | f[ip + 5];
  const protocol = four ? f[ip + 9] : f[ip + 6];
  const addresses = four ? f.slice(ip + 12, ip + 20) : f.slice(ip + 8, ip + 40);
  const segment = f.slice(at, at + length);
  const pseudo = [...addresses, 0, protocol, length >> 8, length & 255];
  const header = protocol === 17 ? 8 : (segment[12] >> 4) * 4;
  return {
    ipOk: !four || onesComplement(f.slice(ip, at)) === 0xffff,
    transportOk: segment.length === length && onesComplement([...pseudo, ...segment]) === 0xffff,
    payload: Uint8Array.from(segment.slice(header)),
    sequence: new DataView(frame.buffer, frame.byteOffset).getUint32(at + 4),
    flags: segment[13],
    id: (f[ip + 4] << 8) | f[ip + 5],
  };
}

export const bytes = (length: number, seed = 1) =>
  Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13 + (i >> 8)) & 255);
