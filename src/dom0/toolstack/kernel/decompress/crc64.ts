/** CRC-64 of xz (ECMA-182, reflected), in two 32-bit halves. */
const LOW = new Uint32Array(256);
const HIGH = new Uint32Array(256);

for (let i = 0; i < 256; i++) {
  let lo = i;
  let hi = 0;
  for (let k = 0; k < 8; k++) {
    const odd = lo & 1;
    lo = ((lo >>> 1) | (hi << 31)) >>> 0;
    hi >>>= 1;
    if (odd) {
      lo = (lo ^ 0xd787_0f42) >>> 0;
      hi = (hi ^ 0xc96c_5795) >>> 0;
    }
  }
  LOW[i] = lo;
  HIGH[i] = hi;
}

/** Low and high half. */
export function crc64(data: Uint8Array): readonly [number, number] {
  let lo = 0xffff_ffff;
  let hi = 0xffff_ffff;
  for (let i = 0; i < data.length; i++) {
    const t = (lo ^ data[i]) & 0xff;
    lo = (((lo >>> 8) | (hi << 24)) ^ LOW[t]) >>> 0;
    hi = ((hi >>> 8) ^ HIGH[t]) >>> 0;
  }
  return [~lo >>> 0, ~hi >>> 0];
}
