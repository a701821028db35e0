/** The same configuration files, judged by Xen's own parser (libxlutil) and by ours. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDiskParams } from '../../src/dom0/toolstack/xlcfg/disk-params.ts';
import { CfgSyntaxError, type CfgValue, parseCfg } from '../../src/dom0/toolstack/xlcfg/parser.ts';
import { ROOT } from './command.ts';

const RANDOM = Number(process.env.XENOLITH_XLCFG_CASES ?? 20_000);
const SEED = 20261126;

let dir: string;
let judge: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'xlu-'));
  judge = join(dir, 'xlu');
  execFileSync('gcc', ['-o', judge, join(ROOT, 'test/e2e/programs/xlu.c'), '-lxlutil', '-lxenlight']);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

function xen(texts: readonly string[], mode: string[] = []): string[] {
  const input = Buffer.concat(texts.flatMap((t) => [Buffer.from(`${Buffer.byteLength(t)}\n`), Buffer.from(t)]));
  const out = execFileSync(judge, mode, { input, encoding: 'utf8', maxBuffer: 1 << 28 });
  return out.trimEnd().split('\n');
}

const print = (v: CfgValue): string =>
  v.kind === 'string' ? `"${Buffer.from(v.text).toString('hex')}"` : `[${v.items.map(print).join('')}]`;

function ours(text: string): string {
  try {
    const file = parseCfg(text, 'corpus');
    const values = [...'abcdef'].flatMap((name) => {
      const setting = file.get(name);
      return setting ? [` ${name}=${print(setting.value)}`] : [];
    });
    return `accepted${values.join('')}`;
  } catch (error) {
    if (!(error instanceof CfgSyntaxError)) throw error;
    return 'refused';
  }
}

function expectSame(texts: readonly string[], theirs: readonly string[], mine: (text: string) => string): void {
  expect(theirs).toHaveLength(texts.length);
  const different = texts.flatMap((text, i) =>
    theirs[i] === mine(text) ? [] : [{ text, xen: theirs[i], ours: mine(text) }],
  );
  expect(different).toEqual([]);
}

/** Files, one after another, each begun by a line of `----`. */
const corpus = (name: string) => {
  const [head, ...texts] = readFileSync(join(ROOT, 'test/e2e/xlcfg', name), 'utf8').split(/^----.*\n/m);
  expect(head).toBe('');
  return texts.map((t) => t.replace(/\n<end of file without a line break>\n$/, ''));
};

describe('configuration files', () => {
  it('of the corpus get the same verdict and values', () => {
    const texts = corpus('corpus.txt');
    expect(texts.length).toBeGreaterThan(60);
    const verdicts = xen(texts);
    expectSame(texts, verdicts, ours);
    // It has both kinds.
    expect(verdicts.filter((v) => v === 'refused').length).toBeGreaterThan(20);
    expect(verdicts.filter((v) => v !== 'refused').length).toBeGreaterThan(20);
  });

  it('of random tokens get the same verdict and values', () => {
    const token = fc.constantFrom(
      ...['a', 'b', 'c', 'foo.bar', '=', '+=', '=', '[', ']', ',', ';', '\n', '\n', ' ', '\t', '1', '0x1f', '12ab'],
      ...[
        '"x"',
        "'y'",
        '"\\n"',
        '"\\q"',
        '"\\012"',
        '"\\x41"',
        '"it\'s"',
        '#c\n',
        '#c',
        '-',
        '(',
        '"',
        "'",
        '\\',
        'A',
        '.',
      ],
    );
    const value = fc.constantFrom('1', '"x"', "'y z'", '[]', '[1]', '["x",\n"y",]', '[[1],["x"]]', '"\\t"');
    const line = fc
      .tuple(
        fc.constantFrom('a', 'b', 'c'),
        fc.constantFrom('=', ' = ', '+=', ' += '),
        value,
        fc.constantFrom('\n', ';', ' # c\n'),
      )
      .map((parts) => parts.join(''));
    const text = fc.oneof(
      fc.array(token, { maxLength: 14 }).map((t) => t.join('')),
      fc
        .array(fc.oneof({ weight: 9, arbitrary: line }, { weight: 1, arbitrary: token }), { maxLength: 8 })
        .map((t) => t.join('')),
    );
    const texts = fc.sample(text, { numRuns: RANDOM, seed: SEED });
    expectSame(texts, xen(texts), ours);
  });
});

describe('disk specifications', () => {
  const mine = (text: string): string => {
    try {
      const d = parseDiskParams(text);
      return `accepted target=${d.target ?? ''} vdev=${d.vdev} format=${d.format} rw=${d.access === 'rw' ? 1 : 0} cdrom=${d.devtype === 'cdrom' ? 1 : 0} script=${d.script ?? ''} backend=${d.backend ?? ''}`;
    } catch {
      return 'refused';
    }
  };

  it('of random parameters get the same verdict and meaning', () => {
    const part = fc.constantFrom(
      ...[
        '/dev/vg/a',
        '/a',
        '',
        'raw',
        'qcow2',
        'vhd',
        'zip',
        'xvda',
        'hdc',
        'hdc:cdrom',
        'xvda:disk',
        'rw',
        'w',
        'r',
        'ro',
      ],
      ...['cdrom', 'devtype=cdrom', 'devtype=disk', 'devtype=x', 'format=raw', 'format=vhd', 'access=r', 'vdev=xvdb'],
      ...['backend=dd', 'script=s', 'backendtype=qdisk', 'backendtype=x', 'discard', 'no-discard', 'direct-io-safe'],
      ...['raw:/a', 'phy:/a', 'nbd:/a', 'file:/a', 'target=/b,c', 'sparkle=1', 'sparkle', ' /a', 'empty'],
    );
    const usual = fc.tuple(
      fc.constantFrom('/a', '', 'raw:/a', 'phy:/b'),
      fc.constantFrom('raw', '', 'vhd'),
      fc.constantFrom('xvda', 'hdc'),
    );
    const text = fc.oneof(
      fc.array(part, { minLength: 1, maxLength: 6 }).map((p) => p.join(',')),
      fc.tuple(usual, fc.array(part, { maxLength: 3 })).map(([u, p]) => [...u, ...p].join(',')),
    );
    const texts = fc.sample(text, { numRuns: RANDOM / 4, seed: SEED });
    expectSame(texts, xen(texts, ['disk']), mine);
  });
});
