/**
 * Builds a 64-bit PV domain: gives it memory, puts kernel, RAM disk, p2m list, start_info and page tables into it and sets
 * its first vCPU (Xen: tools/libs/guest, "xg_dom").
 */
import { CpuUserRegs, FLAT, VGCF } from '../../../abi/arch-x86.ts';
import { E820 } from '../../../abi/memory.ts';
import { MAX_GUEST_CMDLINE, SharedInfo, SIF, StartInfo, VcpuInfo } from '../../../abi/xen.ts';
import type { Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SIZE } from '../../kernel/memory.ts';
import { ToolstackError } from '../error.ts';
import { inMemory } from '../kernel/bytes.ts';
import { KernelError } from '../kernel/kernel.ts';
import type { Builder, BuiltDomain, DomainBuild, DomainPlan } from './builder.ts';
import { seedGrants } from './grants.ts';
import { GuestFrames } from './guest-frames.ts';
import { pvImage } from './pv-image.ts';
import { type PvLayout, pvLayout } from './pv-layout.ts';

const MAGIC = 'xen-3.0-x86_64';
const RFLAGS_IF = 1 << 9;
/** Values of the debug registers after a reset. */
const DR6_RESET = 0xffff_0ff0;
const DR7_RESET = 0x400;

/** Checks all that can be checked before there is a domain, and says where things will lie. */
export function planPv(b: Pick<DomainPlan, 'kernel' | 'kernelName' | 'ramdisk' | 'cmdline' | 'memoryMiB'>) {
  const cmdline = new TextEncoder().encode(b.cmdline);
  if (cmdline.length >= MAX_GUEST_CMDLINE) {
    throw new ToolstackError(
      `the kernel’s command line has ${cmdline.length} bytes; at most ${MAX_GUEST_CMDLINE - 1} are possible`,
    );
  }
  try {
    const image = pvImage(b.kernel);
    return { image, cmdline, layout: pvLayout(image, b.memoryMiB, b.ramdisk?.length ?? 0) };
  } catch (e) {
    if (e instanceof KernelError) throw new KernelError(`${b.kernelName} ${e.message}`);
    throw e;
  }
}

export const pvBuilder: Builder = {
  flags: 0,
  emulationFlags: 0,
  startMiB: (plan) => plan.memoryMiB,
  check: planPv,
  memoryMap: (b) => [{ addr: 0, size: (b.maxMemoryMiB ?? b.memoryMiB) * 2 ** 20, type: E820.RAM }],
  build: buildPv,
};

export function* buildPv(xen: Hypercalls, domid: number, b: DomainBuild): Generator<void, BuiltDomain> {
  const { image, layout, cmdline } = planPv(b);
  xen.domctl.setAddressSize(domid, 64);
  const frames = GuestFrames.populate(xen, domid, layout.pages);
  const mfnOf = (pfn: number) => frames.mfn(pfn);

  yield;
  for (const { at, segment } of image.loads) yield* frames.load(at, segment.data, Number(segment.size));
  if (b.ramdisk && layout.ramdisk) yield* frames.load(layout.ramdisk.pfn * PAGE_SIZE, inMemory(b.ramdisk));
  writeP2m(frames, layout);
  yield;
  for (const { pfn, entries } of layout.tables.entries(mfnOf)) {
    frames.write(pfn * PAGE_SIZE, new Uint8Array(entries.buffer));
  }
  yield;
  const storeMfn = mfnOf(layout.xenstore);
  const consoleMfn = mfnOf(layout.console);
  const info = xen.domctl.getDomainInfo(domid);
  if (!info) throw new ToolstackError(`domain ${domid} vanished while it was being built`);
  writeStartInfo(xen, frames, layout, b, cmdline, info.sharedInfoFrame);
  initSharedInfo(xen, domid, Number(info.sharedInfoFrame));
  xen.mmuext.clearPages(domid, [storeMfn, consoleMfn]);
  if (image.hypercallPage !== undefined) {
    xen.domctl.hypercallInit(domid, mfnOf(Number((image.hypercallPage - image.virtBase) / BigInt(PAGE_SIZE))));
  }

  // The kernel unpins its first page tables itself once it has others.
  xen.mmuext.pinL4(domid, [mfnOf(layout.tables.root)]);
  const stackTop = layout.vaddr(layout.bootStack + 1);
  xen.domctl.setVcpuContext(domid, 0, (c) => {
    c.set('flags', VGCF.in_kernel | VGCF.online);
    c.nested('user_regs', CpuUserRegs)
      .set('rip', image.entry)
      .set('rsp', stackTop)
      .set('rsi', layout.vaddr(layout.startInfo))
      .set('rflags', RFLAGS_IF)
      .set('cs', FLAT.KERNEL_CS)
      .set('ss', FLAT.KERNEL_SS);
    c.set('kernel_ss', FLAT.KERNEL_SS).set('kernel_sp', stackTop);
    c.set('ctrlreg', BigInt(mfnOf(layout.tables.root)) << 12n, 3);
    c.set('debugreg', DR6_RESET, 6).set('debugreg', DR7_RESET, 7);
  });
  const built = { storeGfn: storeMfn, consoleGfn: consoleMfn };
  seedGrants(xen, domid, b, built);
  return built;
}

function writeP2m(frames: GuestFrames, layout: PvLayout): void {
  const list = new BigUint64Array(layout.pages);
  for (let pfn = 0; pfn < layout.pages; pfn++) list[pfn] = BigInt(frames.mfns[pfn]);
  const bytes = new Uint8Array(list.buffer);
  frames.write(layout.p2m.pfn * PAGE_SIZE, bytes, Math.ceil(bytes.length / PAGE_SIZE) * PAGE_SIZE);
}

function writeStartInfo(
  xen: Hypercalls,
  frames: GuestFrames,
  layout: PvLayout,
  b: DomainBuild,
  cmdline: Uint8Array,
  sharedInfoFrame: bigint,
): void {
  const address = frames.address(layout.startInfo);
  xen.memory.fill(address, PAGE_SIZE);
  const s = xen.memory.struct(address, StartInfo);
  const { ramdisk, p2m } = layout;
  const unmapped = ramdisk !== undefined && ramdisk.vaddr === undefined;
  xen.memory.write(s.at('magic'), new TextEncoder().encode(MAGIC));
  s.set('nr_pages', layout.pages);
  s.set('shared_info', sharedInfoFrame << 12n);
  s.set('flags', SIF.VIRT_P2M_4TOOLS | (unmapped ? SIF.MOD_START_PFN : 0));
  s.set('store_mfn', frames.mfn(layout.xenstore)).set('store_evtchn', b.storePort);
  s.set('console_mfn', frames.mfn(layout.console)).set('console_evtchn', b.consolePort);
  s.set('pt_base', layout.vaddr(layout.tables.root)).set('nr_pt_frames', layout.tableFrames);
  s.set('mfn_list', p2m.vaddr);
  if (p2m.separate) s.set('first_p2m_pfn', p2m.pfn).set('nr_p2m_frames', p2m.pages);
  if (ramdisk) s.set('mod_start', ramdisk.vaddr ?? BigInt(ramdisk.pfn)).set('mod_len', ramdisk.length);
  xen.memory.write(s.at('cmd_line'), cmdline);
}

/** All vCPUs begin with events masked. */
function initSharedInfo(xen: Hypercalls, domid: number, mfn: number): void {
  const address = xen.memory.foreignPage(domid, mfn);
  xen.memory.fill(address, PAGE_SIZE);
  const f = SharedInfo.fields.find((x) => x.name === 'vcpu_info')!;
  for (let i = 0; i < f.count; i++) xen.memory.struct(address + i * f.stride, VcpuInfo).set('evtchn_upcall_mask', 1);
}
