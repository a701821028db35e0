/** The notes of a dump: Xen's, and one for gdb with the registers of each vCPU. */
import { CpuUserRegs, VcpuGuestContext } from '../../../abi/arch-x86.ts';
import { CompileInfo, PlatformParameters, XENVER_LEN } from '../../../abi/version.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE, StructView } from '../../kernel/memory.ts';
import { bytesOf, concat, note, putText } from './bytes.ts';
import {
  DUMPCORE,
  DumpHeader,
  DumpXenVersion,
  ElfPrstatus,
  FORMAT_VERSION,
  NT_PRSTATUS,
  XC_CORE_MAGIC,
} from './format.ts';

export interface VcpuState {
  readonly vcpu: number;
  /** VcpuGuestContext. */
  readonly context: Uint8Array;
}

export const contextView = (context: Uint8Array) =>
  new StructView(new DataView(context.buffer, context.byteOffset, context.byteLength), 0, VcpuGuestContext);

/** .note.Xen: that it is a dump, what it holds, of which hypervisor, in which version of the format. */
export function xenNotes(xen: Hypercalls, vcpus: number, pages: number): Uint8Array {
  const { version } = xen;
  const { major, minor } = version.version();
  const compiled = version.compileInfo();
  const header = bytesOf(DumpHeader, (v) => {
    v.set('xch_magic', XC_CORE_MAGIC).set('xch_nr_vcpus', vcpus);
    v.set('xch_nr_pages', pages).set('xch_page_size', PAGE_SIZE);
  });
  const about = bytesOf(DumpXenVersion, (v) => {
    v.set('major_version', major).set('minor_version', minor).set('pagesize', version.pageSize());
    v.nested('platform_parameters', PlatformParameters).set('virt_start', version.virtStart());
  });
  const { off } = DumpXenVersion;
  putText(about, off.extra_version, XENVER_LEN.extraversion, version.extraVersion());
  putText(about, off.compile_info + CompileInfo.off.compiler, 64, compiled.compiler);
  putText(about, off.compile_info + CompileInfo.off.compile_by, 16, compiled.by);
  putText(about, off.compile_info + CompileInfo.off.compile_domain, 32, compiled.domain);
  putText(about, off.compile_info + CompileInfo.off.compile_date, 32, compiled.date);
  putText(about, off.capabilities, XENVER_LEN.capabilities, version.capabilities());
  putText(about, off.changeset, XENVER_LEN.changeset, version.changeset());
  const format = new Uint8Array(8);
  new DataView(format.buffer).setBigUint64(0, FORMAT_VERSION, true);
  return concat([
    note('Xen', DUMPCORE.NONE, new Uint8Array(0)),
    note('Xen', DUMPCORE.HEADER, header),
    note('Xen', DUMPCORE.XEN_VERSION, about),
    note('Xen', DUMPCORE.FORMAT_VERSION, format),
  ]);
}

/** Registers in the order of Linux's user_regs_struct; `_` are those that are taken from elsewhere. */
const PR_REG =
  'r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi _ rip cs rflags rsp ss _fs_base _gs_base ds es fs gs'.split(
    ' ',
  );
/** No system call is being restarted. */
const NO_SYSCALL = -1n;
/** CS of a vCPU in kernel mode: PV kernels run in ring 3, and only this tells. */
const VGCF_IN_KERNEL = 1n << 2n;

/** NT_PRSTATUS of each vCPU: thread n + 1 is vCPU n. */
export function threadNotes(vcpus: readonly VcpuState[]): Uint8Array {
  return concat(vcpus.map(({ vcpu, context }) => note('CORE', NT_PRSTATUS, prstatus(vcpu, context))));
}

function prstatus(vcpu: number, context: Uint8Array): Uint8Array {
  const c = contextView(context);
  const regs = c.nested('user_regs', CpuUserRegs);
  const kernel = (c.big('flags') & VGCF_IN_KERNEL) !== 0n;
  const value = (name: string): bigint => {
    if (name === '_') return NO_SYSCALL;
    if (name === '_fs_base') return c.big('fs_base');
    if (name === '_gs_base') return c.big(kernel ? 'gs_base_kernel' : 'gs_base_user');
    return regs.big(name as keyof typeof CpuUserRegs.off);
  };
  return bytesOf(ElfPrstatus, (v) => {
    v.set('pr_pid', vcpu + 1)
      .set('pr_pgrp', 1)
      .set('pr_sid', 1);
    for (const [i, name] of PR_REG.entries()) v.set('pr_reg', value(name), i);
  });
}
