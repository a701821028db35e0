/**
 * Huge pages of the host below a machine's memory and other large ones (docs/decisions/0025-huge-pages.md): one page fault for
 * 2 MiB that are touched instead of 512. Linux gives them to who asks (`madvise`), which takes a call into the C library; the npm package
 * `koffi`, which is optional, makes it.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Whether this host gives huge pages: to all, to who asks, to nobody. */
const ENABLED = '/sys/kernel/mm/transparent_hugepage/enabled';
/** Linux, asm-generic/mman-common.h. */
const MADV_HUGEPAGE = 14;

/** Does the host give huge pages to those who ask for them, and only to those? */
export function hugePagesForAsking(): boolean {
  try {
    return process.platform === 'linux' && readFileSync(ENABLED, 'utf8').includes('[madvise]');
  } catch {
    return false;
  }
}

const PAGE = 4096;

/**
 * Ask for huge pages below a memory, as far as it has whole pages; best before it is touched. False where that changes nothing: the host gives them
 * unasked or not at all, or `koffi` is not installed for it.
 */
export function askForHugePages(memory: ArrayBufferLike): boolean {
  if (!hugePagesForAsking()) return false;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const madvise = koffi.load(null).func('int madvise(uintptr_t addr, size_t length, int advice)');
    const from = Number(koffi.address(new Uint8Array(memory)));
    const first = Math.ceil(from / PAGE) * PAGE;
    const size = Math.floor((from + memory.byteLength) / PAGE) * PAGE - first;
    return size > 0 && madvise(first, size, MADV_HUGEPAGE) === 0;
  } catch {
    return false;
  }
}
