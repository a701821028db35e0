/** State of an HVM domain's vCPUs as records (public/hvm/save.h), as domctl gethvmcontext gives and sethvmcontext takes it. */
import { HVM_ARBYTES, HVM_SAVE, HvmHwCpu, HvmHwMtrr, HvmSaveDescriptor } from '../../../abi/hvm/save.ts';
import { StructView } from '../../kernel/memory.ts';

const CR0_PE_ET = 0x11;
const RFLAGS_RESERVED = 2;
const DR6_RESET = 0xffff_0ff0;
const DR7_RESET = 0x400;
const FLAT_LIMIT = 0xffff_ffff;
const TSS_LIMIT = 0x67;

/** MTRRs enabled, write-back where none of them says otherwise: without them Linux does without PAT. */
const MTRR_DEF_TYPE_ENABLED_WB = 0x806;

interface HvmRecord {
  readonly typecode: number;
  /** Of which vCPU. */
  readonly instance: number;
  readonly data: Uint8Array;
}

/** Up to END, which is left out. */
function parseRecords(context: Uint8Array): HvmRecord[] {
  const view = new DataView(context.buffer, context.byteOffset, context.length);
  const out: HvmRecord[] = [];
  for (let at = 0; at + HvmSaveDescriptor.size <= context.length; ) {
    const d = new StructView(view, at, HvmSaveDescriptor);
    const [typecode, instance, length] = [d.get('typecode'), d.get('instance'), d.get('length')];
    if (typecode === HVM_SAVE.END) break;
    at += HvmSaveDescriptor.size;
    out.push({ typecode, instance, data: context.slice(at, at + length) });
    at += length;
  }
  return out;
}

function packRecords(list: readonly HvmRecord[]): Uint8Array {
  const all = [...list, { typecode: HVM_SAVE.END, instance: 0, data: new Uint8Array(0) }];
  const out = new Uint8Array(all.reduce((sum, r) => sum + HvmSaveDescriptor.size + r.data.length, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const { typecode, instance, data } of all) {
    const d = new StructView(view, at, HvmSaveDescriptor);
    d.set('typecode', typecode).set('instance', instance).set('length', data.length);
    out.set(data, at + HvmSaveDescriptor.size);
    at += HvmSaveDescriptor.size + data.length;
  }
  return out;
}

const viewOf = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.length);

/** 32 bits, flat segments, no paging, ebx at the hvm_start_info (docs/misc/pvh.pandoc). */
function entryRecord(entry: number, startInfo: number): HvmRecord {
  const data = new Uint8Array(HvmHwCpu.size);
  const cpu = new StructView(viewOf(data), 0, HvmHwCpu);
  cpu.set('rip', entry).set('rbx', startInfo).set('rflags', RFLAGS_RESERVED).set('cr0', CR0_PE_ET);
  cpu.set('dr6', DR6_RESET).set('dr7', DR7_RESET);
  for (const segment of ['ds', 'es', 'ss'] as const) {
    cpu.set(`${segment}_limit`, FLAT_LIMIT).set(`${segment}_arbytes`, HVM_ARBYTES.DATA32);
  }
  cpu.set('cs_limit', FLAT_LIMIT).set('cs_arbytes', HVM_ARBYTES.CODE32);
  cpu.set('tr_limit', TSS_LIMIT).set('tr_arbytes', HVM_ARBYTES.TSS_BUSY);
  return { typecode: HVM_SAVE.CPU, instance: 0, data };
}

/**
 * What a new PVH domain's vCPUs start from. `context`: all that they have now; of it the header, which is the hypervisor's to
 * make, and the MTRRs are taken over. Only the first vCPU is up: there is no record of kind CPU for others.
 */
export function pvhContext(context: Uint8Array, entry: number, startInfo: number): Uint8Array {
  const now = parseRecords(context);
  const mtrrs = now.filter((r) => r.typecode === HVM_SAVE.MTRR);
  for (const { data } of mtrrs) {
    new StructView(viewOf(data), 0, HvmHwMtrr).set('msr_mtrr_def_type', MTRR_DEF_TYPE_ENABLED_WB);
  }
  const header = now.filter((r) => r.typecode === HVM_SAVE.HEADER);
  return packRecords([...header, ...mtrrs, entryRecord(entry, startInfo)]);
}
