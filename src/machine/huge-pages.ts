/**
 * Huge pages of the host below a machine's memory (docs/decisions/0025-huge-pages.md): one page fault for 2 MiB that a guest
 * touches instead of 512. Linux gives them to who asks (`madvise`), which takes a call into the C library; the npm package
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

/**
 * Ask for huge pages below all of a memory; best before it is touched. False where that changes nothing: the host gives them
 * unasked or not at all, or `koffi` is not installed for it.
 */
export function askForHugePages(memory: WebAssembly.Memory): boolean {
  if (!hugePagesForAsking()) return false;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    const madvise = koffi.load(null).func('int madvise(uintptr_t addr, size_t length, int advice)');
    return madvise(koffi.address(new Uint8Array(memory.buffer)), memory.buffer.byteLength, MADV_HUGEPAGE) === 0;
  } catch {
    return false;
  }
}
