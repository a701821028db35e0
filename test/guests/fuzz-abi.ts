/**
 * The interface as the fuzzing guest knows it (src/fuzz.c): each operation of each hypercall, with the kinds of its arguments
 * and of the fields of its structure, made from src/abi. Prints lib/fuzz-abi.h; a test compares.
 *
 * Usage: node test/guests/fuzz-abi.ts > test/guests/lib/fuzz-abi.h
 */
import { CALLBACKOP, CallbackRegister, CallbackUnregister } from '../../src/abi/callback.ts';
import { Domctl } from '../../src/abi/domctl.ts';
import * as evtchn from '../../src/abi/event_channel.ts';
import * as grant from '../../src/abi/grant_table.ts';
import * as hvm from '../../src/abi/hvm/hvm_op.ts';
import type { Struct } from '../../src/abi/layout.ts';
import * as memory from '../../src/abi/memory.ts';
import { XenNmiCallback } from '../../src/abi/nmi.ts';
import * as physdev from '../../src/abi/physdev.ts';
import { PlatformOp } from '../../src/abi/platform.ts';
import * as sched from '../../src/abi/sched.ts';
import { Sysctl } from '../../src/abi/sysctl.ts';
import * as vcpu from '../../src/abi/vcpu.ts';
import * as version from '../../src/abi/version.ts';
import { HYPERCALL, MMUEXT, MmuextOp, MmuUpdate, MulticallEntry, VMASST_CMD } from '../../src/abi/xen.ts';

/** What a number means, so that the guest can make good and bad ones. */
const KINDS = [
  'none',
  'number',
  'domid',
  'pointer',
  'frame',
  'count',
  'flags',
  'port',
  'ref',
  'vcpu',
  'address',
  'pte',
  'entry',
  'cmd',
  'arg',
] as const;
type Kind = (typeof KINDS)[number];

interface Field {
  readonly offset: number;
  readonly size: number;
  readonly kind: Kind;
}

/** Kind of a field by its name and size: the names of the public headers are regular enough. */
function kindOf(struct: string, name: string, size: number): Kind {
  if (struct === 'mmu_update') return name === 'ptr' ? 'entry' : 'pte';
  if (size === 8) {
    if (
      /list|buffer|extent_start|bitmap|ctxt|ports|idxs|gpfns|errs|vdistance|vmemrange|vcpu_to|addr$|^p$|^v$/.test(name)
    )
      return /host_addr|new_addr|dev_bus_addr/.test(name) ? 'address' : 'pointer';
    if (/fn$|mfn|frame|arg[12]|^u$|^a$/.test(name)) return 'frame';
  }
  if (size === 2 && /dom/.test(name)) return 'domid';
  if (/^nr_|count|length|len$|order|size|nr$/.test(name)) return 'count';
  if (/ref/.test(name)) return 'ref';
  if (/port/.test(name)) return 'port';
  if (/vcpu/.test(name)) return 'vcpu';
  if (/flags|op$|type|cmd|space|reason|id$/.test(name)) return 'flags';
  return 'number';
}

function flatten(s: Struct, base = 0, out: Field[] = []): Field[] {
  for (const f of s.fields) {
    for (let i = 0; i < Math.min(f.count, 4); i++) {
      const at = base + f.offset + i * f.stride;
      if (typeof f.type === 'object') flatten(f.type, at, out);
      else if (f.stride <= 8) out.push({ offset: at, size: f.stride, kind: kindOf(s.name, f.name, f.stride) });
    }
  }
  return out;
}

interface Row {
  readonly call: number;
  readonly cmd: number;
  readonly args: readonly Kind[];
  readonly struct?: Struct;
}

/** Structure whose name is the operation's, with any of the prefixes. */
function structFor(module: object, op: string, prefix: string): Struct | undefined {
  const structs = Object.values(module).filter((v): v is Struct => v?.fields !== undefined);
  return structs.find((s) => s.name === `${prefix}${op}`);
}

function ops(
  call: keyof typeof HYPERCALL,
  args: readonly Kind[],
  numbers: Readonly<Record<string, number>>,
  struct: (op: string) => Struct | undefined,
): Row[] {
  return Object.entries(numbers).map(([op, cmd]) => ({ call: HYPERCALL[call], cmd, args, struct: struct(op) }));
}
const one = (call: keyof typeof HYPERCALL, args: readonly Kind[], struct?: Struct): Row => ({
  call: HYPERCALL[call],
  cmd: 0,
  args,
  struct,
});

const MEMORY: Readonly<Record<string, Struct>> = {
  increase_reservation: memory.MemoryReservation,
  decrease_reservation: memory.MemoryReservation,
  populate_physmap: memory.MemoryReservation,
  claim_pages: memory.MemoryReservation,
  exchange: memory.MemoryExchange,
  current_reservation: memory.MemoryDomain,
  maximum_reservation: memory.MemoryDomain,
  maximum_gpfn: memory.MemoryDomain,
  machphys_mfn_list: memory.MachphysMfnList,
  machphys_mapping: memory.MachphysMapping,
  memory_map: memory.MemoryMap,
  machine_memory_map: memory.MemoryMap,
  set_memory_map: memory.ForeignMemoryMap,
  add_to_physmap: memory.AddToPhysmap,
  add_to_physmap_batch: memory.AddToPhysmapBatch,
  remove_from_physmap: memory.RemoveFromPhysmap,
  acquire_resource: memory.MemAcquireResource,
  reserved_device_memory_map: memory.ReservedDeviceMemoryMap,
  get_vnumainfo: memory.VnumaTopologyInfo,
};
const SCHED: Readonly<Record<string, Struct>> = {
  shutdown: sched.SchedShutdown,
  poll: sched.SchedPoll,
  remote_shutdown: sched.SchedRemoteShutdown,
  watchdog: sched.SchedWatchdog,
  pin_override: sched.SchedPinOverride,
};
const VCPU: Readonly<Record<string, Struct>> = {
  get_runstate_info: vcpu.VcpuRunstateInfo,
  register_runstate_memory_area: vcpu.VcpuRegisterRunstateMemoryArea,
  set_periodic_timer: vcpu.VcpuSetPeriodicTimer,
  set_singleshot_timer: vcpu.VcpuSetSingleshotTimer,
  register_vcpu_info: vcpu.VcpuRegisterVcpuInfo,
  get_physid: vcpu.VcpuGetPhysid,
  register_vcpu_time_memory_area: vcpu.VcpuRegisterTimeMemoryArea,
};
/** Numbers of a call whose operations have no table of structures. */
const upTo = (n: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`${i}`, i]));

export const ROWS: readonly Row[] = [
  ...ops('grant_table_op', ['cmd', 'arg', 'count'], grant.GNTTABOP, (op) => structFor(grant, op, 'gnttab_')),
  ...ops('event_channel_op', ['cmd', 'arg'], evtchn.EVTCHNOP, (op) => structFor(evtchn, op, 'evtchn_')),
  ...ops('memory_op', ['cmd', 'arg'], memory.XENMEM, (op) => MEMORY[op]),
  ...ops('sched_op', ['cmd', 'arg'], sched.SCHEDOP, (op) => SCHED[op]),
  ...ops('vcpu_op', ['cmd', 'vcpu', 'arg'], vcpu.VCPUOP, (op) => VCPU[op]),
  ...ops('physdev_op', ['cmd', 'arg'], physdev.PHYSDEVOP, (op) => structFor(physdev, op, 'physdev_')),
  ...ops('xen_version', ['cmd', 'arg'], upTo(12), () => version.CompileInfo),
  ...ops('hvm_op', ['cmd', 'arg'], upTo(26), () => hvm.HvmParam),
  ...ops('callback_op', ['cmd', 'arg'], CALLBACKOP, (op) =>
    op === 'register' ? CallbackRegister : CallbackUnregister,
  ),
  ...ops('nmi_op', ['cmd', 'arg'], upTo(2), () => XenNmiCallback),
  ...ops('vm_assist', ['cmd', 'number'], VMASST_CMD, () => undefined),
  ...ops('console_io', ['cmd', 'count', 'pointer'], upTo(2), () => undefined),
  ...Object.values(MMUEXT).map(
    (cmd): Row => ({ call: HYPERCALL.mmuext_op, cmd, args: ['arg', 'count', 'pointer', 'domid'], struct: MmuextOp }),
  ),
  ...Array.from({ length: 8 }, () => one('mmu_update', ['arg', 'count', 'pointer', 'domid'], MmuUpdate)),
  ...Array.from({ length: 8 }, () => one('update_va_mapping', ['address', 'pte', 'flags'])),
  one('update_va_mapping_otherdomain', ['address', 'pte', 'flags', 'domid']),
  one('set_gdt', ['pointer', 'count']),
  one('update_descriptor', ['entry', 'number']),
  one('set_trap_table', ['pointer']),
  one('stack_switch', ['number', 'pointer']),
  one('set_callbacks', ['pointer', 'pointer', 'pointer']),
  one('fpu_taskswitch', ['flags']),
  one('set_debugreg', ['flags', 'number']),
  one('get_debugreg', ['flags']),
  one('set_segment_base', ['flags', 'number']),
  one('set_timer_op', ['number']),
  one('multicall', ['arg', 'count'], MulticallEntry),
  one('sched_op_compat', ['cmd', 'arg']),
  one('platform_op', ['arg'], PlatformOp),
  one('sysctl', ['arg'], Sysctl),
  one('domctl', ['arg'], Domctl),
  one('xenpmu_op', ['cmd', 'arg']),
  one('iret', []),
];

export function header(): string {
  const fields: Field[] = [];
  const structs = new Map<Struct | undefined, { first: number; n: number }>([[undefined, { first: 0, n: 0 }]]);
  for (const { struct } of ROWS) {
    if (!struct || structs.has(struct)) continue;
    const flat = flatten(struct);
    structs.set(struct, { first: fields.length, n: flat.length });
    fields.push(...flat);
  }
  // mmuext_op is told its command in its structure.
  const row = (r: Row) => {
    const { first, n } = structs.get(r.struct)!;
    const args = [...r.args, 'none', 'none', 'none', 'none', 'none'].slice(0, 5).map((k) => `k_${k}`);
    return `    {${r.call}, ${r.cmd}, {${args.join(', ')}}, ${r.struct?.size ?? 0}, ${first}, ${n}},`;
  };
  return `/* Made from src/abi by fuzz-abi.ts: do not edit. */
#pragma once
#include "xen.h"

enum fuzz_kind { ${KINDS.map((k) => `k_${k}`).join(', ')} };
struct fuzz_field {
  u16 offset;
  u8 size, kind;
};
struct fuzz_op {
  u8 call;
  u32 cmd;
  u8 args[5];
  u16 size, first, fields;
};
static const struct fuzz_field fuzz_fields[] = {
${fields.map((f) => `    {${f.offset}, ${f.size}, k_${f.kind}},`).join('\n')}
};
static const struct fuzz_op fuzz_ops[] = {
${ROWS.map(row).join('\n')}
};
`;
}

if (import.meta.main) process.stdout.write(header());
