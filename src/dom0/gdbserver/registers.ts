/**
 * A vCPU's registers as gdb knows them: the target description, and each register's place in struct vcpu_guest_context
 * (public/arch-x86/xen.h) with its FXSAVE image.
 */
import { CpuUserRegs, VcpuGuestContext, VGCF } from '../../abi/arch-x86.ts';

/** Bytes of the FXSAVE image (SDM vol. 1, table 10-2). */
const FX = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, st: 32, xmm: 160 } as const;

export interface Register {
  readonly name: string;
  readonly bytes: number;
  readonly type: string;
  read(context: Uint8Array): Uint8Array;
  write(context: Uint8Array, value: Uint8Array): void;
}

interface Feature {
  readonly name: string;
  readonly registers: readonly Register[];
}

/** `bytes` at an offset of the context; shown in `shown` bytes, the rest zero. */
function plain(name: string, type: string, offset: number, bytes: number, shown = bytes): Register {
  return {
    name,
    type,
    bytes: shown,
    read: (context) => {
      const value = new Uint8Array(shown);
      value.set(context.subarray(offset, offset + bytes));
      return value;
    },
    write: (context, value) => context.set(value.subarray(0, bytes), offset),
  };
}

const user = (name: keyof typeof CpuUserRegs.off) => VcpuGuestContext.off.user_regs + CpuUserRegs.off[name];
const fpu = VcpuGuestContext.off.fpu_ctxt;

const GENERAL = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rbp', 'rsp'] as const;
const EXTENDED = ['r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15'] as const;
const SEGMENTS = ['cs', 'ss', 'ds', 'es', 'fs', 'gs'] as const;
const POINTERS: readonly string[] = ['rbp', 'rsp'];

/** Tags of the x87 registers: two bits each in gdb's, one in the image (0: empty). */
const tagWord: Register = {
  name: 'ftag',
  type: 'int',
  bytes: 4,
  read: (context) => {
    const top = (context[fpu + FX.fsw + 1] >> 3) & 7;
    let word = 0;
    for (let p = 0; p < 8; p++) word |= tagOf(context, p, (p - top) & 7) << (2 * p);
    return Uint8Array.of(word & 0xff, word >> 8, 0, 0);
  },
  write: (context, value) => {
    const word = value[0] | (value[1] << 8);
    let present = 0;
    for (let p = 0; p < 8; p++) if (((word >> (2 * p)) & 3) !== 3) present |= 1 << p;
    context[fpu + FX.ftw] = present;
  },
};

/** 0 valid, 1 zero, 2 special, 3 empty: of physical register `p`, which is st(`i`). */
function tagOf(context: Uint8Array, p: number, i: number): number {
  if (!((context[fpu + FX.ftw] >> p) & 1)) return 3;
  const at = fpu + FX.st + 16 * i;
  const view = new DataView(context.buffer, context.byteOffset + at, 10);
  const exponent = view.getUint16(8, true) & 0x7fff;
  const mantissa = view.getBigUint64(0, true);
  if (exponent === 0 && mantissa === 0n) return 1;
  return exponent !== 0 && exponent !== 0x7fff && mantissa >> 63n === 1n ? 0 : 2;
}

const FEATURES: readonly Feature[] = [
  {
    name: 'org.gnu.gdb.i386.core',
    registers: [
      ...[...GENERAL, ...EXTENDED].map((r) => plain(r, POINTERS.includes(r) ? 'data_ptr' : 'int64', user(r), 8)),
      plain('rip', 'code_ptr', user('rip'), 8),
      plain('eflags', 'i386_eflags', user('rflags'), 4),
      ...SEGMENTS.map((r) => plain(r, 'int32', user(r), 2, 4)),
      ...Array.from({ length: 8 }, (_, i) => plain(`st${i}`, 'i387_ext', fpu + FX.st + 16 * i, 10)),
      plain('fctrl', 'int', fpu + FX.fcw, 2, 4),
      plain('fstat', 'int', fpu + FX.fsw, 2, 4),
      tagWord,
      plain('fiseg', 'int', fpu + FX.fip + 4, 2, 4),
      plain('fioff', 'int', fpu + FX.fip, 4),
      plain('foseg', 'int', fpu + FX.fdp + 4, 2, 4),
      plain('fooff', 'int', fpu + FX.fdp, 4),
      plain('fop', 'int', fpu + FX.fop, 2, 4),
    ],
  },
  {
    name: 'org.gnu.gdb.i386.sse',
    registers: [
      ...Array.from({ length: 16 }, (_, i) => plain(`xmm${i}`, 'vec128', fpu + FX.xmm + 16 * i, 16)),
      plain('mxcsr', 'i386_mxcsr', fpu + FX.mxcsr, 4),
    ],
  },
  {
    name: 'org.gnu.gdb.i386.segments',
    registers: [
      plain('fs_base', 'int64', VcpuGuestContext.off.fs_base, 8),
      {
        ...plain('gs_base', 'int64', VcpuGuestContext.off.gs_base_kernel, 8),
        read: (context) => context.slice(gsBase(context), gsBase(context) + 8),
        write: (context, value) => context.set(value, gsBase(context)),
      },
    ],
  },
];

/** Offset of the GS base that is active: the kernel's, in kernel mode. */
function gsBase(context: Uint8Array): number {
  return inKernel(context) ? VcpuGuestContext.off.gs_base_kernel : VcpuGuestContext.off.gs_base_user;
}

const inKernel = (context: Uint8Array) => (context[VcpuGuestContext.off.flags] & VGCF.in_kernel) !== 0;

/** By gdb's number. */
export const REGISTERS: readonly Register[] = FEATURES.flatMap((f) => f.registers);
export const REGISTER = { rsp: 7, rip: 16, eflags: 17 } as const;

/** All of them, as the `g` packet has them. */
export function readAll(context: Uint8Array): Uint8Array {
  return Buffer.concat(REGISTERS.map((r) => r.read(context)));
}

/** `values`: those that the `G` packet has, from the first on. */
export function writeAll(context: Uint8Array, values: Uint8Array): void {
  let at = 0;
  for (const register of REGISTERS) {
    if (at + register.bytes > values.length) return;
    register.write(context, values.subarray(at, at + register.bytes));
    at += register.bytes;
  }
}

const xmlType = (bits: number, name: string) => `<field name="${name}" start="${bits}" end="${bits}"/>`;
const flags = (id: string, bits: readonly (readonly [number, string])[]) =>
  `<flags id="${id}" size="4">${bits.map(([bit, name]) => xmlType(bit, name)).join('')}</flags>`;

const EFLAGS = [
  ...([
    [0, 'CF'],
    [1, ''],
    [2, 'PF'],
    [4, 'AF'],
    [6, 'ZF'],
    [7, 'SF'],
    [8, 'TF'],
    [9, 'IF'],
    [10, 'DF'],
    [11, 'OF'],
  ] as const),
  ...([
    [14, 'NT'],
    [16, 'RF'],
    [17, 'VM'],
    [18, 'AC'],
    [19, 'VIF'],
    [20, 'VIP'],
    [21, 'ID'],
  ] as const),
] as const;
const MXCSR = [
  ...([
    [0, 'IE'],
    [1, 'DE'],
    [2, 'ZE'],
    [3, 'OE'],
    [4, 'UE'],
    [5, 'PE'],
    [6, 'DAZ'],
    [7, 'IM'],
    [8, 'DM'],
    [9, 'ZM'],
  ] as const),
  ...([
    [10, 'OM'],
    [11, 'UM'],
    [12, 'PM'],
    [15, 'FZ'],
  ] as const),
] as const;
const VEC128 = [
  '<vector id="v4f" type="ieee_single" count="4"/>',
  '<vector id="v2d" type="ieee_double" count="2"/>',
  '<vector id="v16i8" type="int8" count="16"/>',
  '<vector id="v8i16" type="int16" count="8"/>',
  '<vector id="v4i32" type="int32" count="4"/>',
  '<vector id="v2i64" type="int64" count="2"/>',
  '<union id="vec128">',
  ...[
    'v4_float:v4f',
    'v2_double:v2d',
    'v16_int8:v16i8',
    'v8_int16:v8i16',
    'v4_int32:v4i32',
    'v2_int64:v2i64',
    'uint128:uint128',
  ]
    .map((f) => f.split(':'))
    .map(([name, type]) => `<field name="${name}" type="${type}"/>`),
  '</union>',
].join('');
const TYPES: Record<string, string> = {
  'org.gnu.gdb.i386.core': flags('i386_eflags', EFLAGS),
  'org.gnu.gdb.i386.sse': VEC128 + flags('i386_mxcsr', MXCSR),
};

/** The target description (GDB manual, appendix G). */
export function targetDescription(): string {
  const features = FEATURES.map(({ name, registers }) => {
    const list = registers.map((r) => `<reg name="${r.name}" bitsize="${r.bytes * 8}" type="${r.type}"/>`).join('\n');
    return `<feature name="${name}">${TYPES[name] ?? ''}\n${list}\n</feature>`;
  });
  return `<?xml version="1.0"?>
<!DOCTYPE target SYSTEM "gdb-target.dtd">
<target version="1.0">
<architecture>i386:x86-64</architecture>
<osabi>GNU/Linux</osabi>
${features.join('\n')}
</target>
`;
}
