/**
 * The ACPI tables of a PVH domain (ACPI specification 5.0, chapter 5): which processors there are, and that none of the PC's
 * devices is. Kernels find the root pointer through hvm_start_info.
 *
 * As libxl's, without what only reads of missing ports would follow from: there is no block of general-purpose events.
 */
import { device, integer, named, scope, string } from './aml.ts';

/** As Xen's: some guests look at it. */
const OEM_ID = 'Xen';
const OEM_TABLE_ID = 'HVM';
const CREATOR_ID = 'XENO';

const HEADER = 36;
const REVISION = { XSDT: 1, FADT: 5, DSDT: 2, MADT: 2, RSDP: 2 } as const;

const LAPIC_ADDRESS = 0xfee0_0000;
/** MADT: a local APIC of a processor that is there. */
const MADT_LAPIC = { type: 0, length: 8, enabled: 1 } as const;
/** As the hypervisor numbers them. */
export const lapicId = (vcpu: number) => vcpu * 2;

const FADT_SIZE = 268;
/** Offsets in the FADT. */
const FADT = {
  firmwareCtrl: 36,
  dsdt: 40,
  sciInt: 46,
  pm1aEvtBlk: 56,
  pm1aCntBlk: 64,
  pm1EvtLen: 88,
  pm1CntLen: 89,
  pLvl2Lat: 96,
  pLvl3Lat: 98,
  iapcBootArch: 109,
  flags: 112,
  xDsdt: 140,
  xPm1aEvtBlk: 148,
  xPm1aCntBlk: 172,
} as const;
/** What is not there: VGA, CMOS clock; bits of what is (8042, devices on an ISA bus) are clear. */
const BOOT_ARCH = { noVga: 1 << 2, noCmosRtc: 1 << 5 } as const;
/** wbinvd works, C1 is there; power and sleep buttons and the clock's alarm are not in the PM registers. */
const FLAGS = { wbinvd: 1 << 0, procC1: 1 << 2, pwrButton: 1 << 4, slpButton: 1 << 5, fixRtc: 1 << 6 } as const;
/**
 * Ports of the PM1 registers, which the specification wants. Nothing answers there, reads give all ones: that is ACPI mode
 * with nothing to do.
 */
const PM1_EVENT = { port: 0xb000, bytes: 4 } as const;
const PM1_CONTROL = { port: 0xb004, bytes: 2 } as const;
const SYSTEM_IO = 1;
const SCI = 9;
/** More than these says that C2 (µs above 100) and C3 (above 1000) are not there. */
const NO_C_STATE = 0x0fff;

const FACS_SIZE = 64;

class Table {
  readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.view = new DataView(this.bytes.buffer);
  }

  text(at: number, length: number, text: string): this {
    for (let i = 0; i < length; i++) this.bytes[at + i] = text.padEnd(length).charCodeAt(i);
    return this;
  }

  u8(at: number, value: number): this {
    this.view.setUint8(at, value);
    return this;
  }

  u16(at: number, value: number): this {
    this.view.setUint16(at, value, true);
    return this;
  }

  u32(at: number, value: number): this {
    this.view.setUint32(at, value, true);
    return this;
  }

  u64(at: number, value: number): this {
    this.view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  /** A generic address structure. */
  io(at: number, { port, bytes }: { port: number; bytes: number }): this {
    return this.u8(at, SYSTEM_IO)
      .u8(at + 1, bytes * 8)
      .u64(at + 4, port);
  }

  /** Makes the first `length` bytes sum up to 0. */
  checksum(at: number, length = this.bytes.length): this {
    this.bytes[at] = 0;
    this.bytes[at] = -this.bytes.subarray(0, length).reduce((sum, byte) => sum + byte, 0);
    return this;
  }
}

/** A table with the standard header; `fill` writes what follows it. */
function table(signature: string, revision: number, size: number, fill: (t: Table) => void): Uint8Array {
  const t = new Table(size).text(0, 4, signature).u32(4, size).u8(8, revision);
  t.text(10, 6, OEM_ID).text(16, 8, OEM_TABLE_ID).text(28, 4, CREATOR_ID);
  fill(t);
  return t.checksum(9).bytes;
}

function facs(): Uint8Array {
  return new Table(FACS_SIZE).text(0, 4, 'FACS').u32(4, FACS_SIZE).u8(32, 1).bytes;
}

/** Name of a vCPU's device. */
const deviceName = (vcpu: number) => `C${vcpu.toString(16).toUpperCase().padStart(3, '0')}`;

/** A processor device for each vCPU; its _UID is what the MADT calls it by. */
function dsdt(vcpus: number): Uint8Array {
  const PRESENT_ENABLED_SHOWN_WORKING = 0xf;
  const processors = Array.from({ length: vcpus }, (_, vcpu) =>
    device(deviceName(vcpu), [
      named('_HID', string('ACPI0007')),
      named('_UID', integer(vcpu)),
      named('_STA', integer(PRESENT_ENABLED_SHOWN_WORKING)),
    ]),
  );
  const aml = scope('\\_SB', processors);
  return table('DSDT', REVISION.DSDT, HEADER + aml.length, (t) => t.bytes.set(aml, HEADER));
}

function fadt(facsAt: number, dsdtAt: number): Uint8Array {
  return table('FACP', REVISION.FADT, FADT_SIZE, (t) => {
    t.u32(FADT.firmwareCtrl, facsAt).u32(FADT.dsdt, dsdtAt).u64(FADT.xDsdt, dsdtAt).u16(FADT.sciInt, SCI);
    t.u32(FADT.pm1aEvtBlk, PM1_EVENT.port).u8(FADT.pm1EvtLen, PM1_EVENT.bytes).io(FADT.xPm1aEvtBlk, PM1_EVENT);
    t.u32(FADT.pm1aCntBlk, PM1_CONTROL.port).u8(FADT.pm1CntLen, PM1_CONTROL.bytes).io(FADT.xPm1aCntBlk, PM1_CONTROL);
    t.u16(FADT.pLvl2Lat, NO_C_STATE).u16(FADT.pLvl3Lat, NO_C_STATE);
    t.u16(FADT.iapcBootArch, BOOT_ARCH.noVga | BOOT_ARCH.noCmosRtc);
    t.u32(FADT.flags, FLAGS.wbinvd | FLAGS.procC1 | FLAGS.pwrButton | FLAGS.slpButton | FLAGS.fixRtc);
  });
}

function madt(vcpus: number): Uint8Array {
  const first = HEADER + 8;
  return table('APIC', REVISION.MADT, first + vcpus * MADT_LAPIC.length, (t) => {
    t.u32(HEADER, LAPIC_ADDRESS);
    for (let vcpu = 0; vcpu < vcpus; vcpu++) {
      const at = first + vcpu * MADT_LAPIC.length;
      t.u8(at, MADT_LAPIC.type)
        .u8(at + 1, MADT_LAPIC.length)
        .u8(at + 2, vcpu)
        .u8(at + 3, lapicId(vcpu));
      t.u32(at + 4, MADT_LAPIC.enabled);
    }
  });
}

function xsdt(tables: readonly number[]): Uint8Array {
  return table('XSDT', REVISION.XSDT, HEADER + 8 * tables.length, (t) => {
    for (const [i, address] of tables.entries()) t.u64(HEADER + 8 * i, address);
  });
}

/** The root pointer, to be put at a multiple of 16. */
export function rsdpTable(xsdtAt: number): Uint8Array {
  const SIZE = 36;
  const FIRST_PART = 20;
  return new Table(SIZE)
    .text(0, 8, 'RSD PTR ')
    .text(9, 6, OEM_ID)
    .u8(15, REVISION.RSDP)
    .u32(20, SIZE)
    .u64(24, xsdtAt)
    .checksum(8, FIRST_PART)
    .checksum(32).bytes;
}

export interface AcpiTables {
  /** All of them, for the address that they were made for. */
  readonly bytes: Uint8Array;
  readonly xsdt: number;
  readonly rsdp: number;
}

/** `address`: where they will lie, a multiple of 64. */
export function acpiTables(address: number, vcpus: number): AcpiTables {
  // The FACS must be at a multiple of 64, the root pointer of 16.
  const ALIGN = 64;
  const placed: { at: number; bytes: Uint8Array }[] = [];
  let next = 0;
  const place = (bytes: Uint8Array) => {
    placed.push({ at: next, bytes });
    const at = address + next;
    next = Math.ceil((next + bytes.length) / ALIGN) * ALIGN;
    return at;
  };
  const fadtAt = place(fadt(place(facs()), place(dsdt(vcpus))));
  const xsdtAt = place(xsdt([fadtAt, place(madt(vcpus))]));
  const rsdp = place(rsdpTable(xsdtAt));
  const bytes = new Uint8Array(next);
  for (const { at, bytes: part } of placed) bytes.set(part, at);
  return { bytes, xsdt: xsdtAt, rsdp };
}
