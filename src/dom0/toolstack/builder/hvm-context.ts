/** State of an HVM domain's vCPUs as records (public/hvm/save.h), as domctl sethvmcontext takes it. */
import {
  HVM_ARBYTES,
  HVM_FILE_MAGIC,
  HVM_FILE_VERSION,
  HVM_SAVE,
  HvmHwCpu,
  HvmSaveDescriptor,
  HvmSaveHeader,
} from '../../../abi/hvm/save.ts';
import { StructView } from '../../kernel/memory.ts';

const CR0_PE_ET = 0x11;
const RFLAGS_RESERVED = 2;
const DR6_RESET = 0xffff_0ff0;
const DR7_RESET = 0x400;
const FLAT_LIMIT = 0xffff_ffff;
const TSS_LIMIT = 0x67;

interface HvmRecord {
  readonly typecode: number;
  readonly data: Uint8Array;
}

function records(list: readonly HvmRecord[]): Uint8Array {
  const size = list.reduce((sum, r) => sum + HvmSaveDescriptor.size + r.data.length, 0);
  const out = new Uint8Array(size);
  const view = new DataView(out.buffer);
  let at = 0;
  for (const { typecode, data } of list) {
    new StructView(view, at, HvmSaveDescriptor).set('typecode', typecode).set('length', data.length);
    out.set(data, at + HvmSaveDescriptor.size);
    at += HvmSaveDescriptor.size + data.length;
  }
  return out;
}

/** The first vCPU of a PVH domain: 32 bits, flat segments, no paging, ebx at the hvm_start_info (docs/misc/pvh.pandoc). */
export function pvhEntryContext(entry: number, startInfo: number): Uint8Array {
  const header = new Uint8Array(HvmSaveHeader.size);
  new StructView(new DataView(header.buffer), 0, HvmSaveHeader)
    .set('magic', HVM_FILE_MAGIC)
    .set('version', HVM_FILE_VERSION);
  const data = new Uint8Array(HvmHwCpu.size);
  const cpu = new StructView(new DataView(data.buffer), 0, HvmHwCpu);
  cpu.set('rip', entry).set('rbx', startInfo).set('rflags', RFLAGS_RESERVED).set('cr0', CR0_PE_ET);
  cpu.set('dr6', DR6_RESET).set('dr7', DR7_RESET);
  for (const segment of ['ds', 'es', 'ss'] as const) {
    cpu.set(`${segment}_limit`, FLAT_LIMIT).set(`${segment}_arbytes`, HVM_ARBYTES.DATA32);
  }
  cpu.set('cs_limit', FLAT_LIMIT).set('cs_arbytes', HVM_ARBYTES.CODE32);
  cpu.set('tr_limit', TSS_LIMIT).set('tr_arbytes', HVM_ARBYTES.TSS_BUSY);
  return records([
    { typecode: HVM_SAVE.HEADER, data: header },
    { typecode: HVM_SAVE.CPU, data },
    { typecode: HVM_SAVE.END, data: new Uint8Array(0) },
  ]);
}
