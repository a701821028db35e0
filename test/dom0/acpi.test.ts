/** The ACPI tables of PVH domains, read back as an operating system does (ACPI 5.0, chapters 5 and 20). */
import { describe, expect, it } from 'vitest';
import { integer, nameString, packageLength } from '../../src/dom0/toolstack/builder/acpi/aml.ts';
import { acpiTables } from '../../src/dom0/toolstack/builder/acpi/tables.ts';

const BASE = 0xfc00_0000;

function read(vcpus: number) {
  const { bytes, rsdp, xsdt } = acpiTables(BASE, vcpus);
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = (at: number, length: number) => new TextDecoder().decode(bytes.subarray(at - BASE, at - BASE + length));
  const u8 = (at: number) => v.getUint8(at - BASE);
  const u16 = (at: number) => v.getUint16(at - BASE, true);
  const u32 = (at: number) => v.getUint32(at - BASE, true);
  const u64 = (at: number) => Number(v.getBigUint64(at - BASE, true));
  const sum = (at: number, length: number) =>
    bytes.subarray(at - BASE, at - BASE + length).reduce((s, b) => (s + b) & 0xff, 0);
  const length = (at: number) => u32(at + 4);
  const entries = Array.from({ length: (length(xsdt) - 36) / 8 }, (_, i) => u64(xsdt + 36 + 8 * i));
  const find = (signature: string) => entries.find((at) => text(at, 4) === signature)!;
  return { bytes, rsdp, xsdt, entries, text, u8, u16, u32, u64, sum, length, find };
}

interface Parsed {
  readonly name: string;
  readonly values: Record<string, string | number>;
}

/** Devices of a DSDT that is one scope. */
function devices(aml: Uint8Array): { scope: string; devices: Parsed[] } {
  let at = 0;
  const name = () => {
    const root = aml[at] === 0x5c ? '\\' : '';
    if (root) at++;
    at += 4;
    return root + new TextDecoder().decode(aml.subarray(at - 4, at)).replace(/_+$/, '');
  };
  /** Returns the end of the package. */
  const end = () => {
    const start = at;
    const more = aml[at] >> 6;
    let length = more === 0 ? aml[at] & 0x3f : aml[at] & 0xf;
    for (let i = 1; i <= more; i++) length += aml[at + i] << (8 * i - 4);
    at += 1 + more;
    return start + length;
  };
  const value = () => {
    const op = aml[at++];
    if (op <= 1) return op;
    if (op === 0x0d) {
      const from = at;
      while (aml[at] !== 0) at++;
      return new TextDecoder().decode(aml.subarray(from, at++));
    }
    const size = { 10: 1, 11: 2, 12: 4 }[op];
    if (!size) throw new Error(`op ${op}`);
    let n = 0;
    for (let i = 0; i < size; i++) n += aml[at++] * 2 ** (8 * i);
    return n;
  };
  expect(aml[at++]).toBe(0x10);
  const scopeEnd = end();
  const scope = name();
  const found: Parsed[] = [];
  while (at < scopeEnd) {
    expect([aml[at++], aml[at++]]).toEqual([0x5b, 0x82]);
    const deviceEnd = end();
    const device: Parsed = { name: name(), values: {} };
    while (at < deviceEnd) {
      expect(aml[at++]).toBe(0x08);
      const key = name();
      device.values[key] = value();
    }
    expect(at).toBe(deviceEnd);
    found.push(device);
  }
  expect([at, scopeEnd]).toEqual([aml.length, aml.length]);
  return { scope, devices: found };
}

describe.each([1, 2, 17, 128])('the tables for %i vCPUs', (vcpus) => {
  const t = read(vcpus);

  it('are found from the root pointer, and their sums are right', () => {
    expect(t.text(t.rsdp, 8)).toBe('RSD PTR ');
    expect([t.rsdp % 16, t.u8(t.rsdp + 15), t.u32(t.rsdp + 20), t.u64(t.rsdp + 24)]).toEqual([0, 2, 36, t.xsdt]);
    expect([t.sum(t.rsdp, 20), t.sum(t.rsdp, 36)]).toEqual([0, 0]);
    expect(t.text(t.xsdt, 4)).toBe('XSDT');
    expect(t.entries.map((at) => t.text(at, 4))).toEqual(['FACP', 'APIC']);
    const dsdt = t.u32(t.find('FACP') + 40);
    for (const at of [t.xsdt, ...t.entries, dsdt]) {
      expect(t.sum(at, t.length(at)), t.text(at, 4)).toBe(0);
      expect(at + t.length(at)).toBeLessThanOrEqual(BASE + t.bytes.length);
      expect(t.text(at + 10, 14)).toBe('Xen   HVM     ');
    }
  });

  it('say that no device of a PC is there', () => {
    const fadt = t.find('FACP');
    expect([t.u8(fadt + 8), t.length(fadt)]).toEqual([5, 268]);
    expect(t.u16(fadt + 109)).toBe(0x24);
    // No SMI command, PM timer or GPE block; nothing that only a reduced machine has.
    expect([t.u32(fadt + 48), t.u32(fadt + 76), t.u32(fadt + 80), t.u8(fadt + 91), t.u8(fadt + 92)]).toEqual([
      0, 0, 0, 0, 0,
    ]);
    expect(t.u32(fadt + 112) & (1 << 20)).toBe(0);
    expect(t.u32(fadt + 112) & 0x30).toBe(0x30);
    // The PM1 blocks are told twice, alike.
    expect([t.u32(fadt + 56), t.u8(fadt + 88), t.u64(fadt + 152), t.u8(fadt + 149)]).toEqual([0xb000, 4, 0xb000, 32]);
    expect([t.u32(fadt + 64), t.u8(fadt + 89), t.u64(fadt + 176), t.u8(fadt + 173)]).toEqual([0xb004, 2, 0xb004, 16]);
    const facs = t.u32(fadt + 36);
    expect([t.text(facs, 4), t.length(facs), facs % 64]).toEqual(['FACS', 64, 0]);
    expect(t.u64(fadt + 140)).toBe(t.u32(fadt + 40));
  });

  it('name each vCPU in the MADT and in the DSDT', () => {
    const madt = t.find('APIC');
    expect([t.u32(madt + 36), t.u32(madt + 40)]).toEqual([0xfee0_0000, 0]);
    const lapics = [];
    for (let at = madt + 44; at < madt + t.length(madt); at += t.u8(at + 1)) {
      lapics.push([t.u8(at), t.u8(at + 2), t.u8(at + 3), t.u32(at + 4)]);
    }
    expect(lapics).toEqual(Array.from({ length: vcpus }, (_, i) => [0, i, 2 * i, 1]));

    const dsdt = t.u32(t.find('FACP') + 40);
    expect([t.text(dsdt, 4), t.u8(dsdt + 8)]).toEqual(['DSDT', 2]);
    const { scope, devices: found } = devices(t.bytes.subarray(dsdt + 36 - BASE, dsdt + t.length(dsdt) - BASE));
    expect(scope).toBe('\\_SB');
    expect(found.map((d) => d.values)).toEqual(
      Array.from({ length: vcpus }, (_, i) => ({ _HID: 'ACPI0007', _UID: i, _STA: 0xf })),
    );
    expect(new Set(found.map((d) => d.name)).size).toBe(vcpus);
  });
});

describe('AML', () => {
  it('has lengths of packages in as few bytes as they take', () => {
    expect(packageLength(0)).toEqual([1]);
    expect(packageLength(62)).toEqual([63]);
    expect(packageLength(63)).toEqual([0x41, 0x04]);
    expect(packageLength(0xffd)).toEqual([0x4f, 0xff]);
    expect(packageLength(0xffe)).toEqual([0x81, 0x00, 0x01]);
    expect(packageLength((1 << 20) - 4)).toEqual([0x8f, 0xff, 0xff]);
    expect(packageLength((1 << 20) - 3)).toEqual([0xc1, 0x00, 0x00, 0x01]);
    expect(() => packageLength(1 << 28)).toThrow(RangeError);
  });

  it('has integers by their size, and names of four characters', () => {
    expect([0, 1, 2, 0x100, 0x1_0000].map(integer)).toEqual([[0], [1], [0x0a, 2], [0x0b, 0, 1], [0x0c, 0, 0, 1, 0]]);
    expect(nameString('\\_SB')).toEqual([0x5c, 0x5f, 0x53, 0x42, 0x5f]);
    for (const bad of ['', 'ABCDE', '1ABC', 'a', '\\\\A']) expect(() => nameString(bad), bad).toThrow(RangeError);
    expect(() => integer(-1)).toThrow(RangeError);
  });
});
