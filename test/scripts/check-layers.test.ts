/** The layering check finds what it is there to find. */
import { describe, expect, it } from 'vitest';
import { mutableGlobals, wrongImports } from '../../scripts/check-layers.ts';

describe('imports', () => {
  const wrong = (path: string, text: string) => [...wrongImports(path, text)];

  it.each([
    ['src/engine/a.ts', "import { x } from '../abi/xen.ts';"],
    ['src/engine/a/b.ts', "import { x } from '../c.ts';\nimport fs from 'node:fs';"],
    ['src/dom0/a.ts', "import type {\n  A,\n  B,\n} from '../machine/machine.ts';"],
    ['src/hypervisor/a.ts', "import { X } from '../../build/abi/xen';"],
    ['src/abi/a.ts', "/** import { x } from '../dom0/a.ts'; */"],
  ])('downwards or sideways are fine: %s %s', (path, text) => {
    expect(wrong(path, text)).toEqual([]);
  });

  it.each([
    ['src/engine/a.ts', "import { x } from '../dom0/a.ts';"],
    ['src/abi/a.ts', "\nimport type {\n  X,\n} from '../engine/x.ts';"],
    ['src/machine/a.ts', "import { x } from '../hypervisor/a.ts';"],
    ['src/dom0/a/b.ts', "export * from '../../start/main.ts';"],
    ['src/dom0/a.ts', "const x = await import('../xl/main.ts');"],
    ['src/dom0/a.ts', "import '../../scripts/build.ts';"],
    ['src/nowhere/a.ts', ''],
  ])('upwards are not: %s %s', (path, text) => {
    expect(wrong(path, text).length).toBe(1);
  });
});

describe('mutable globals', () => {
  it('are found at top level and as statics', () => {
    const text =
      '// let a = 1\nlet b: u32 = 0;\nexport var c = 1;\nclass D {\n  static e: u32 = 0;\n  static readonly f: u32 = 0;\n}\n';
    const found = [...mutableGlobals('src/hypervisor/x.ts', text)].map((line) => /global (\w+)/.exec(line)?.[1]);
    expect(found).toEqual(['b', 'c', 'e']);
    expect([...mutableGlobals('src/hypervisor/percpu.ts', text)]).toEqual([]);
  });

  it('are not what functions have', () => {
    expect([...mutableGlobals('src/hypervisor/x.ts', 'const a = 1;\nfunction f() {\n  let b = 0;\n}\n')]).toEqual([]);
  });
});
