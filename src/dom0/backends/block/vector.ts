/** The memory that a request reads into or writes from, as one call of the host takes it. */
import type { GrantedPage } from '../../kernel/grant-map.ts';

/**
 * Bytes `from[i]` to `to[i]` of each page, in order. What lies side by side in machine memory becomes one piece: the host's
 * calls take half the time for 128 KiB in one than in 32.
 */
export function vector(pages: readonly GrantedPage[], from: ArrayLike<number>, to: ArrayLike<number>): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let i = 0; i < pages.length; ) {
    const { address, bytes } = pages[i];
    const start = address + from[i];
    let end = address + to[i];
    for (i++; i < pages.length && pages[i].address + from[i] === end; i++) end = pages[i].address + to[i];
    pieces.push(new Uint8Array(bytes.buffer, start, end - start));
  }
  return pieces;
}
