/**
 * `xl dump-core`: a domain's vCPUs and memory in a file (format.ts). The domain is paused while that is written, so that
 * what it holds fits together.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { VcpuGuestContext } from '../../../abi/arch-x86.ts';
import { ERRNO } from '../../../abi/errno.ts';
import { HypercallError, type Hypercalls } from '../../kernel/hypercalls.ts';
import { PAGE_SHIFT, PAGE_SIZE } from '../../kernel/memory.ts';
import type { Progress } from '../boot-files.ts';
import type { Domain } from '../domain.ts';
import { ToolstackError } from '../error.ts';
import { DumpP2m, SHT } from './format.ts';
import { type GuestPages, guestPages } from './guest-pages.ts';
import { layOut, type Part } from './layout.ts';
import { type Mapping, mappings } from './mappings.ts';
import { contextView, threadNotes, type VcpuState, xenNotes } from './notes.ts';

/** Program headers at most: e_phnum has 16 bits, and a debugger reads them all. */
const MAX_SEGMENTS = 32_000;
/** Pages written at once; between two writes others get their turn. */
const CHUNK = 1024;

/**
 * Writes the dump, replacing a file of that name. Nothing remains if it fails. Returns the number of bytes written.
 */
export async function dumpCore(
  xen: Hypercalls,
  domain: Domain,
  path: string,
  progress: Progress = () => {},
): Promise<number> {
  const { domid, name, config } = domain;
  if (config.type === 'pvh')
    throw new ToolstackError(`no dump of ${name}: core dumps of PVH guests are not supported yet`);
  const part = `${path}.part`;
  xen.domctl.pauseDomain(domid);
  try {
    const file = await openFile(part);
    try {
      return await write(xen, domain, file, path, progress);
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  } finally {
    if (!domain.gone) xen.domctl.unpauseDomain(domid);
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w', 0o600);
  } catch (error) {
    throw new ToolstackError(`no dump: ${(error as Error).message}`);
  }
}

async function write(
  xen: Hypercalls,
  domain: Domain,
  file: FileHandle,
  path: string,
  progress: Progress,
): Promise<number> {
  const { domid } = domain;
  const info = domain.info();
  if (!info) throw new ToolstackError(`domain ${domain.name} is gone`);
  const vcpus = vcpuStates(xen, domid, info.maxVcpuId + 1);
  const pages = guestPages(xen, domid);
  const threads = threadNotes(vcpus);
  const notes = xenNotes(xen, vcpus.length, pages.pfns.length);
  const contexts = vcpus.map((v) => v.context);
  const sharedInfo = xen.memory.read(Number(info.sharedInfoFrame) * PAGE_SIZE, PAGE_SIZE);
  const p2m = p2mTable(pages);
  const bytes = pages.pfns.length * PAGE_SIZE;
  const parts: Part[] = [
    { size: threads.length, align: 4 },
    { section: '.note.Xen', type: SHT.NOTE, size: notes.length, align: 8 },
    {
      section: '.xen_prstatus',
      size: contexts.length * VcpuGuestContext.size,
      align: 8,
      entrySize: VcpuGuestContext.size,
    },
    { section: '.xen_shared_info', size: PAGE_SIZE, align: 8, entrySize: PAGE_SIZE },
    { section: '.xen_p2m', size: p2m.length, align: 8, entrySize: DumpP2m.size },
    { section: '.xen_pages', size: bytes, align: PAGE_SIZE, entrySize: PAGE_SIZE },
  ];
  const pagesPart = parts.length - 1;
  const segments = guestMappings(xen, domid, vcpus, pages).map((m) => ({
    va: m.va,
    pa: BigInt(pages.pfns[m.index]) << BigInt(PAGE_SHIFT),
    offset: m.index * PAGE_SIZE,
    size: m.pages * PAGE_SIZE,
    flags: m.flags,
  }));
  const layout = layOut(parts, [0], pagesPart, segments);
  const put = async (data: Uint8Array, at: number) => {
    for (let done = 0; done < data.length; ) {
      done += (await file.write(data, done, data.length - done, at + done)).bytesWritten;
    }
  };
  try {
    await put(layout.head, 0);
    await put(threads, layout.offsets[0]);
    await put(notes, layout.offsets[1]);
    for (const [i, context] of contexts.entries()) await put(context, layout.offsets[2] + i * VcpuGuestContext.size);
    await put(sharedInfo, layout.offsets[3]);
    await put(p2m, layout.offsets[4]);
    for (let first = 0; first < pages.mfns.length; first += CHUNK) {
      const count = Math.min(CHUNK, pages.mfns.length - first);
      await put(
        copyPages(xen, domid, pages.mfns.subarray(first, first + count)),
        layout.offsets[5] + first * PAGE_SIZE,
      );
      progress(`dumped ${first + count} of ${pages.mfns.length} pages`);
    }
    await put(layout.tail, layout.end);
    await rename(`${path}.part`, path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code ? new ToolstackError(`no dump in ${path}: ${message}`) : error;
  }
  return layout.end + layout.tail.length;
}

/** Those that have been started. */
function vcpuStates(xen: Hypercalls, domid: number, count: number): VcpuState[] {
  const out: VcpuState[] = [];
  for (let vcpu = 0; vcpu < count; vcpu++) {
    try {
      out.push({ vcpu, context: xen.domctl.getVcpuContext(domid, vcpu) });
    } catch (error) {
      const absent = error instanceof HypercallError && [ERRNO.ENODATA, ERRNO.ESRCH].includes(error.errno as never);
      if (!absent) throw error;
    }
  }
  return out;
}

function p2mTable(pages: GuestPages): Uint8Array {
  const words = new BigUint64Array(pages.pfns.length * 2);
  for (let i = 0; i < pages.pfns.length; i++) {
    words[2 * i] = BigInt(pages.pfns[i]);
    words[2 * i + 1] = BigInt(pages.mfns[i]);
  }
  return new Uint8Array(words.buffer);
}

/** What the first vCPU's kernel page tables map; the largest runs if there are too many. */
function guestMappings(
  xen: Hypercalls,
  domid: number,
  vcpus: readonly VcpuState[],
  pages: GuestPages,
): readonly Mapping[] {
  if (vcpus.length === 0) return [];
  const root = Number(contextView(vcpus[0].context).big('ctrlreg', 3) >> BigInt(PAGE_SHIFT));
  const read = (mfn: number) => new BigUint64Array(xen.memory.buffer, xen.memory.foreignPage(domid, mfn), 512);
  const all = mappings(root, pages, read);
  if (all.length <= MAX_SEGMENTS) return all;
  return all
    .sort((a, b) => b.pages - a.pages)
    .slice(0, MAX_SEGMENTS)
    .sort((a, b) => (a.va < b.va ? -1 : 1));
}

/** Copies them at once: nothing else of the control domain runs meanwhile, and the domain is paused. */
function copyPages(xen: Hypercalls, domid: number, mfns: Uint32Array): Uint8Array {
  const out = new Uint8Array(mfns.length * PAGE_SIZE);
  for (const [i, mfn] of mfns.entries()) {
    const at = xen.memory.foreignPage(domid, mfn);
    out.set(xen.memory.bytes.subarray(at, at + PAGE_SIZE), i * PAGE_SIZE);
  }
  return out;
}
