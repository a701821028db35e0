/** What of an outcome must be equal, and how a difference is told. */
import { applyOverrides, type Case, type Exception, fieldText, hex, type Outcome, type Poke } from './case.ts';
import { baseState, WINDOW_PATTERN, WINDOW_SIZE } from './state.ts';
import { IGNORED_FIELDS, tolerance, undefinedFlags } from './tolerance.ts';

/** The final bytes of the window, told as changes against what it held. */
function flatten(c: Case, changes: readonly Poke[]): Uint8Array {
  const w = WINDOW_PATTERN.slice(0, WINDOW_SIZE);
  for (const p of c.pokes) w.set(p.bytes, p.offset);
  for (const p of changes) w.set(p.bytes, p.offset);
  return w;
}

function memoryDifference(c: Case, want: Outcome, got: Outcome, mask: (offset: number) => number): string | undefined {
  if (!want.memory.length && !got.memory.length) return undefined;
  const a = flatten(c, want.memory);
  const b = flatten(c, got.memory);
  if (Buffer.compare(a, b) === 0) return undefined;
  for (let i = 0; i < WINDOW_SIZE; i++) {
    if ((a[i] ^ b[i]) & mask(i)) {
      const from = Math.max(0, i - 2);
      return `memory @${from.toString(16)}: ${hex(b.subarray(from, from + 16))}, CPU ${hex(a.subarray(from, from + 16))}`;
    }
  }
  return undefined;
}

/** Differences between what the CPU did and what another did, empty if none matters. `title`: of the case's group. */
export function differences(title: string, c: Case, want: Outcome, got: Outcome): string[] {
  const out: string[] = [];
  const x = (o: Outcome) =>
    o.exception
      ? `exception ${o.exception.vector} error ${o.exception.error.toString(16)} cr2 ${o.exception.cr2.toString(16)}`
      : 'none';
  const t = tolerance(title, c, want);
  const near = (a: Exception | null, b: Exception | null) =>
    a && b && t.cr2Within && a.vector === b.vector && a.error === b.error
      ? (a.cr2 > b.cr2 ? a.cr2 - b.cr2 : b.cr2 - a.cr2) < BigInt(t.cr2Within)
      : false;
  if (x(want) !== x(got) && !near(want.exception, got.exception)) out.push(`exception: ${x(got)}, CPU ${x(want)}`);
  if (want.ip !== got.ip) out.push(`ip: ${got.ip.toString(16)}, CPU ${want.ip.toString(16)}`);
  const fields = new Set([...want.changed.keys(), ...got.changed.keys()]);
  if (fields.size) {
    let block: Uint8Array | undefined;
    for (const f of fields) {
      if (IGNORED_FIELDS.has(f)) continue;
      let a = want.changed.get(f);
      let b = got.changed.get(f);
      if (a === b) continue;
      block ??= applyOverrides(baseState(c.seed, c.mode), c);
      a ??= fieldText(block, f);
      b ??= fieldText(block, f);
      if (f === 'f') {
        const mask = ~BigInt(undefinedFlags(title, c, block));
        if (((BigInt(`0x${a}`) ^ BigInt(`0x${b}`)) & mask) === 0n) continue;
      }
      if (t.field?.(f, a, b)) continue;
      out.push(`${f}: ${b}, CPU ${a}`);
    }
  }
  const m = memoryDifference(c, want, got, t.memoryMask ?? (() => 0xff));
  if (m) out.push(m);
  return out;
}
