/** Sizes of memory as xl reads them: MiB, or a number with `t g m k b`. */

const SHIFT: Readonly<Record<string, number>> = { t: 30, g: 20, m: 10, '': 10, k: 0, b: -10 };

/** KiB; undefined for what is no size. */
export function parseMemory(text: string): number | undefined {
  const match = /^(\d+)([tgmkb]?)$/i.exec(text);
  if (!match) return undefined;
  const kib = Math.floor(Number(match[1]) * 2 ** SHIFT[match[2].toLowerCase()]);
  return Number.isSafeInteger(kib) ? kib : undefined;
}
