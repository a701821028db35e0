/** The x87 instructions: every form can be described, and does what the recorded CPU did. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { CpuState, VEC } from '../../src/engine/state.ts';
import { f80, TRANSCENDENTAL } from '../cpu/x87/cases.ts';
import {
  CPU,
  execute,
  floatRuntime,
  getState,
  MEMORY,
  type Recorded,
  type Runtime,
  recordAll,
  type State,
  setState,
} from './x87-machine.ts';

let rt: Runtime;
beforeAll(async () => {
  rt = await floatRuntime();
});
const all = recordAll();

const ONE = f80(0x3fff, 1n << 63n);
const ZERO = f80(0, 0n);

/** ST(0) and ST(1) are 1, the rest empty, all exceptions masked. */
function fresh(over: Partial<State> = {}): State {
  const st = [ONE, ONE, ...Array.from({ length: 6 }, () => ZERO)];
  return { fcw: 0x37f, fsw: 0, ftw: 0xfff0, flags: 0, memory: '', st, ...over };
}

/** The recorded form with this encoding text. */
function form(text: string, opsize?: number): Recorded {
  const r = all.find((x) => x.encoding.text === text && (opsize === undefined || x.opsize === opsize));
  if (!r) throw new Error(`no form ${text}`);
  return r;
}

function run(text: string, state: State, i = 0, opsize?: number): number {
  setState(rt, state);
  return execute(rt, form(text, opsize), i);
}

test('every opcode D8 to DF has one meaning', () => {
  const seen = new Map<string, string>();
  for (const { encoding: e } of all) {
    const keys: string[] = [];
    if (!e.hasModrm) keys.push(e.opcode.toString(16));
    else if (e.modrm >= 0)
      for (let i = 0; i < e.modrmSpan; i++) keys.push(`${e.opcode.toString(16)} ${(e.modrm + i).toString(16)}`);
    else keys.push(`${e.opcode.toString(16)} /${e.digit}`);
    for (const k of keys) {
      expect(seen.get(k) ?? e.text, k).toBe(e.text);
      seen.set(k, e.text);
    }
  }
  // What Intel leaves undefined among the memory forms: D9 /1, DB /4, DB /6, DD /5.
  const memory = [...seen.keys()].filter((k) => k.includes('/'));
  expect(memory.length).toBe(64 - 4);
});

/** Whether two registers hold numbers at most one unit in the last place apart. */
function near(a: string, b: string): boolean {
  const value = (h: string) => {
    const v = Buffer.from(h, 'hex');
    const n = (BigInt(v.readUInt16LE(8) & 0x7fff) << 63n) + (v.readBigUInt64LE(0) & ((1n << 63n) - 1n));
    return v[9] & 0x80 ? -n : n;
  };
  const d = value(a) - value(b);
  return d >= -1n && d <= 1n;
}

describe('recorded CPU', () => {
  const file = join(import.meta.dirname, '../cpu/x87/x87.txt.gz');
  const lines = gunzipSync(readFileSync(file)).toString().trim().split('\n');
  const groups = new Map<string, string[]>();
  for (const l of lines) {
    const name = l.slice(0, l.indexOf('|'));
    groups.set(name, [...(groups.get(name) ?? []), l]);
  }

  test('has cases of every encoding', () => {
    const recorded = new Set(lines.map((l) => l.split('|', 2).join('|')));
    const missing = all.map((r) => `${r.encoding.insn.name}|${r.encoding.text}`).filter((t) => !recorded.has(t));
    expect(missing).toEqual([]);
  });

  test.each([...groups.keys()])('%s', (name) => {
    const approximate = TRANSCENDENTAL.test(name);
    const wrong: string[] = [];
    for (const line of groups.get(name)!) {
      const [title, input, output] = line.split('> ');
      const [, text, opsize, i] = title.split('|');
      const [cw, sw, tw, flags, memory, ...st] = input.trim().split(' ');
      const n = (h: string) => Number.parseInt(h, 16);
      const before: State = { fcw: n(cw), fsw: n(sw), ftw: n(tw), flags: n(flags), memory, st };
      const end = run(text, before, Number(i), Number(opsize));
      const got = getState(rt);
      const [wcw, wsw, wtw, wflags, wmem, ...wst] = output.split(' ');
      let [gsw, want] = [got.fsw, n(wsw)];
      if (approximate && want & 0x20) {
        // C1 tells the direction of the last rounding
        gsw &= ~0x200;
        want &= ~0x200;
      }
      let ok = end === -1 && got.fcw === n(wcw) && gsw === want && got.ftw === n(wtw) && got.flags === n(wflags);
      // FIP, FCS, FOP, FDP and FDS of the images are not compared.
      const image = (m: string) => {
        if (!/^fn(stenv|save)$/.test(name)) return m;
        const wide = opsize !== '2';
        return m.slice(0, wide ? 24 : 12) + m.slice(wide ? 52 : 28);
      };
      const full = (m: string) => m.padEnd(got.memory.length, '0');
      ok &&= image(full(wmem === '=' ? memory : wmem)) === image(got.memory);
      const moved = ((n(wsw) >> 11) - (before.fsw >> 11)) & 7;
      wst.forEach((w, k) => {
        const v = w === '=' ? st[(k + moved) & 7] : w;
        ok &&= got.st[k] === v || (approximate && near(got.st[k], v));
      });
      if (!ok) wrong.push(`${line}\n  got ${JSON.stringify(got)}, end ${end}`);
    }
    expect(wrong).toEqual([]);
  });
});

describe('exceptions', () => {
  test('a pending exception is raised by waiting instructions only, and before memory is touched', () => {
    const pending = fresh({ fcw: 0x37b, fsw: 0x0004 });
    expect(run('9B', pending)).toBe(VEC.MF);
    expect(run('D9 =D0', pending)).toBe(VEC.MF);
    expect(run('D8 =C0+i STi', pending)).toBe(VEC.MF);
    for (const text of ['D9 /2 Md', 'DB /7 M', 'D9 /5 Mw', 'DD /4 M ; v'])
      expect(run(text, pending), text).toBe(VEC.MF);
    for (const text of ['DB =E3', 'DB =E2', 'DF =E0', 'D9 /7 Mw', 'DD /7 Mw', 'D9 /6 M ; v', 'DD /6 M ; v'])
      expect(run(text, pending), text).toBe(-1);
  });

  test('fwait heeds CR0.MP and CR0.TS together', () => {
    for (const [cr0, vector] of [
      [0n, -1],
      [2n, -1],
      [8n, -1],
      [10n, VEC.NM],
    ] as const) {
      setState(rt, fresh());
      rt.view.setBigUint64(CPU + CpuState.off.cr0, cr0, true);
      expect(execute(rt, form('9B'), 0)).toBe(vector);
    }
  });

  test('an unmasked exception is recorded with its instruction and operand', () => {
    const o = CpuState.off;
    // fdiv qword [rdi] by zero
    expect(run('DC /6 Mq', fresh({ fcw: 0x37b, memory: '0000000000000000' }))).toBe(-1);
    expect(getState(rt).fsw).toBe(0x8084);
    expect(getState(rt).st[0]).toBe(ONE);
    expect(rt.view.getBigUint64(CPU + o.fip, true)).toBe(0x30000n);
    expect(rt.view.getBigUint64(CPU + o.fdp, true)).toBe(BigInt(MEMORY));
    expect(rt.view.getUint16(CPU + o.fop, true)).toBe(0x437);
    // masked: nothing is noted
    expect(run('DC /6 Mq', fresh({ memory: '0000000000000000' }))).toBe(-1);
    expect(rt.view.getBigUint64(CPU + o.fip, true)).toBe(0n);
  });

  test('an unmasked invalid store writes nothing and keeps the stack', () => {
    const nan = f80(0x7fff, 0xa000000000000000n);
    const state = fresh({ fcw: 0x37e, memory: '1122334455667788' });
    state.st[0] = nan;
    for (const text of ['D9 /3 Md', 'DD /3 Mq', 'DB /3 Md', 'DF /7 Mq', 'DF /6 M']) {
      expect(run(text, state), text).toBe(-1);
      const s = getState(rt);
      expect(s.memory.slice(0, 16), text).toBe('1122334455667788');
      expect(s.st[0], text).toBe(nan);
      expect(s.fsw, text).toBe(0x8081);
    }
  });

  test('faults of the large images leave everything as it was', () => {
    for (const text of ['D9 /4 M ; v', 'DD /4 M ; v', 'DD /6 M ; v', 'D9 /6 M ; v']) {
      setState(rt, fresh());
      const before = getState(rt);
      const name = { 'D9 /4': 'fp_load_env', 'DD /4': 'fp_restore', 'DD /6': 'fp_save', 'D9 /6': 'fp_store_env' }[
        text.slice(0, 5)
      ]!;
      expect(rt.fn[name](CPU, 0n, 1)).toBe(0);
      expect(rt.view.getUint32(CPU + CpuState.off.exit_vector, true)).toBe(VEC.PF);
      expect(getState(rt)).toEqual(before);
    }
  });

  test('fldcw that unmasks a set flag makes it pending', () => {
    expect(run('D9 /5 Mw', fresh({ fsw: 0x20, memory: '5f03' }))).toBe(-1);
    expect(getState(rt).fsw).toBe(0x80a0);
    expect(getState(rt).fcw).toBe(0x35f);
  });
});

test('fnsave and frstor round trip in both formats', () => {
  const state = fresh({ fsw: 0x3000, ftw: 0x0fff });
  for (const opsize of [2, 4, 8]) {
    expect(run('DD /6 M ; v', state, 0, opsize)).toBe(-1);
    const image = rt.bytes.slice(MEMORY, MEMORY + 128);
    expect(getState(rt).fcw).toBe(0x37f);
    expect(getState(rt).ftw).toBe(0xffff);
    setState(rt, fresh({ fcw: 0x7f }));
    rt.bytes.set(image, MEMORY);
    expect(execute(rt, form('DD /4 M ; v', opsize), 0)).toBe(-1);
    const got = getState(rt);
    expect([got.fcw, got.fsw, got.st]).toEqual([state.fcw, state.fsw, state.st]);
  }
});
