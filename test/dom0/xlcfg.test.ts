/** xl's configuration files: grammar, keys, messages. What Xen's own parser says of the same is compared in test/e2e. */
import { describe, expect, it } from 'vitest';
import { parseDomainFile } from '../../src/dom0/toolstack/xlcfg/domain.ts';
import { KEYS } from '../../src/dom0/toolstack/xlcfg/keys.ts';
import { type CfgValue, parseCfg } from '../../src/dom0/toolstack/xlcfg/parser.ts';
import { parseNumber } from '../../src/dom0/toolstack/xlcfg/reader.ts';

const plain = (v: CfgValue): unknown => (v.kind === 'string' ? v.text : v.items.map(plain));
const parse = (text: string) =>
  Object.fromEntries([...parseCfg(text, 'g.cfg')].map(([name, { value }]) => [name, plain(value)]));

describe('the grammar', () => {
  it.each<[string, unknown]>([
    ['', {}],
    ['a=1', { a: '1' }],
    ['a=1;b = "x"\n', { a: '1', b: 'x' }],
    ['# note\na=0x1f # more\n', { a: '0x1f' }],

    ['a=\'say "x"\'', { a: 'say "x"' }],
    ['a="\\n\\t\\"\\\\"', { a: '\n\t"\\' }],
    ['a="\\0123"', { a: '' }],
    ['a=[]', { a: [] }],
    ['a=[ 1, "b", ]', { a: ['1', 'b'] }],
    ['a=[\n\n 1\n,\n2 # two\n\n]', { a: ['1', '2'] }],
    ['a=[[1,2],["x"],[]]', { a: [['1', '2'], ['x'], []] }],
    ['a=1\na=2', { a: '2' }],
    ['a="x"\na+="y"', { a: 'xy' }],
    ['a=[1]\na+=[2,3]', { a: ['1', '2', '3'] }],
    ['a+=[2]', { a: ['2'] }],
    ['vif.default.script="x"', { 'vif.default.script': 'x' }],
  ])('reads %j', (text, expected) => {
    expect(parse(text)).toEqual(expected);
  });

  it.each<[string, RegExp]>([
    ['a', /^g.cfg:1: config parsing error near <end of file>: syntax error, unexpected end of file, expecting =/],
    ['\n\na=b\n', /^g.cfg:3: config parsing error near `b': syntax error, unexpected name/],
    ['a=1 b=2', /^g.cfg:1: .*near `b'.*unexpected name/],
    ['a=[1 2]', /^g.cfg:1: .*near `2'.*unexpected number, expecting , or \]/],
    ['a=[,]', /near `,'/],
    ['a=[1', /unexpected end of file/],
    ['A=1', /near `A=1': lexical error/],
    ['a="x', /near `"x': lexical error/],
    ['a="\\q"', /invalid character after backlash/],
    ['a="\\x41"', /invalid digit after backslash hex/],
    ['a="\\1"', /octal/],
    ['a=1 # end', /near `#': lexical error/],
    ['a=1\na+=[2]', /can't add \[list\]/],
    ['=1', /unexpected =, expecting the name/],
  ])('refuses %j', (text, message) => {
    expect(() => parse(text)).toThrow(message);
  });

  it('refuses lists without end', () => {
    expect(() => parse(`a=${'['.repeat(5000)}`)).toThrow(/nested too deep/);
  });

  it('tells every line that is wrong', () => {
    expect(() => parse('a=\nb=2\nc d\n')).toThrow(/g.cfg:1:.*\ng.cfg:3:/);
  });
});

it('numbers are read as C reads them', () => {
  expect(['10', '0x1F', '010', '-3', '0', ' 7'].map(parseNumber)).toEqual([10, 31, 8, -3, 0, 7]);
  expect(['', 'x', '08', '1.5', '7 ', '0x'].map(parseNumber)).toEqual(Array(6).fill(undefined));
});

const spec = (text: string) => parseDomainFile(text, { name: 'g.cfg', cwd: '/here' });
const base = 'name="g"\nkernel="k"\n';

describe('a domain’s file', () => {
  it('becomes a spec', () => {
    const { spec: s, warnings } = spec(
      `${base}ramdisk="/r"\nmemory=128\nmaxmem=256\nvcpus=2\nextra="b c"\nroot="/dev/xvda"\non_crash="preserve"\ncpus=["0","1"]\ndisk=[]\n`,
    );
    expect(warnings).toEqual([]);
    expect(s).toEqual({
      name: 'g',
      type: 'pv',
      kernel: '/here/k',
      ramdisk: '/r',
      memory: 128,
      maxmem: 256,
      vcpus: 2,
      cmdline: 'root=/dev/xvda b c',
      on_crash: 'preserve',
      cpus: ['0', '1'],
      disk: [],
    });
  });

  it('has xl’s defaults', () => {
    expect(spec(base).spec).toMatchObject({ memory: 32, vcpus: 1, cmdline: '' });
    expect(spec(`${base}maxmem=64`).spec).toMatchObject({ memory: 64 });
    expect(spec(`${base}type="p"`).spec.type).toBe('pv');
    expect(spec(`${base}builder="generic"`).spec.type).toBe('pv');
  });

  it('may be of a PVH guest', () => {
    const pvh = `${base}type="pvh"\n`;
    expect(spec(`${pvh}memory=64\nvcpus=1`)).toEqual({
      spec: { name: 'g', type: 'pvh', kernel: '/here/k', memory: 64, vcpus: 1, cmdline: '' },
      warnings: [],
    });
    expect(spec(`type='pvh'\nname="g"\nbootloader="pygrub"\ndisk=['img,,xvda']`).spec).toMatchObject({
      type: 'pvh',
      bootloader: 'pygrub',
    });
    // The type may stand behind what depends on it.
    expect(spec(`${base}bios="ovmf"\ntimer_mode=1\ntype="pvh"`).warnings).toEqual([
      'g.cfg:3: bios: warning: has no effect on a PVH guest',
      'g.cfg:4: timer_mode: warning: has no effect on a PVH guest',
    ]);
    expect(spec(`${pvh}hap=1\napic=1\npvshim=0\nnestedhvm=0`).warnings).toEqual([]);
  });

  it.each<[string, string]>([
    ['vcpus=2', 'g.cfg:4: vcpus: PVH guests have one vCPU so far'],
    ['maxvcpus=2', 'g.cfg:4: maxvcpus: PVH guests have one vCPU so far'],
    ['pvshim=1', 'g.cfg:4: pvshim: not supported yet; see docs/SUPPORT.md'],
    ['nestedhvm=1', 'g.cfg:4: nestedhvm: not supported yet'],
    ['apic=0', 'g.cfg:4: apic: not supported yet'],
    ['hap=0', 'g.cfg:4: hap: not supported yet'],
    ['builder="hvm"', 'g.cfg:3: type: Contradicting'],
    ['bootloader="pvgrub"', 'g.cfg:4: bootloader: "pvgrub" is not supported yet'],
  ])('of a PVH guest is refused with %j', (line, message) => {
    expect(() => spec(`${base}type="pvh"\n${line}`)).toThrow(message);
  });

  it('of a PVH guest needs a kernel too', () => {
    expect(() => spec('name="g"\ntype="pvh"')).toThrow('g.cfg: kernel= is missing: a PVH guest needs one');
  });

  it.each<[string, string]>([
    ['kernel="k"', 'g.cfg: Domain name must be specified.'],
    ['name="g"', 'g.cfg: kernel= is missing: a PV guest needs one'],
    [`${base}memory=[1]`, 'g.cfg:3: memory: is a list but should be a single value'],
    [`${base}\nmemory="x"`, 'g.cfg:4: memory: "x" is not a valid number'],
    [`${base}vcpus=0`, 'g.cfg:3: vcpus: '],
    [`${base}vcpus=4\nmaxvcpus=2`, 'g.cfg:4: maxvcpus: 2 is less than vcpus = 4'],
    [`${base}on_crash="explode"`, 'g.cfg:3: on_crash: '],
    [`${base}uuid="zz"`, 'g.cfg:3: uuid: '],
    [`${base}type="hvm"`, 'g.cfg:3: type: hvm guests are not supported yet; see docs/SUPPORT.md'],
    [`${base}type="x"`, 'g.cfg:3: type: Invalid domain type x.'],
    [`${base}type="pv"\nbuilder="hvm"`, 'g.cfg:3: type: Contradicting'],
    [`${base}vtpm=["x"]`, 'g.cfg:3: vtpm: not supported yet; see docs/SUPPORT.md'],
    [`${base}vpmu=1`, 'g.cfg:3: vpmu: not supported yet'],
    [`${base}gic_version="v3"`, 'g.cfg:3: gic_version: only for Arm'],
  ])('is refused with file, line and key: %j', (text, message) => {
    expect(() => spec(text)).toThrow(message);
  });

  it('may have disks and network cards', () => {
    expect(spec(`${base}disk=['img,qcow2,xvda,r', ',,hdc,cdrom']`).spec.disk).toEqual([
      { vdev: 'xvda', target: '/here/img', format: 'qcow2', readOnly: true, cdrom: false },
      { vdev: 'hdc', target: '', readOnly: true, cdrom: true },
    ]);
    expect(spec(`${base}vif=['mac=00:16:3e:01:02:03', '']`).spec.vif).toEqual([{ mac: '00:16:3e:01:02:03' }, {}]);
    expect(() => spec(`${base}disk=['/a,zip,xvda']`)).toThrow("g.cfg:3: disk: '/a,zip,xvda': unknown value for format");
    expect(() => spec(`${base}disk=['/a,,xvda,script=x']`)).toThrow('script x is not supported yet');
    expect(() => spec(`${base}vif=['ip=1.2.3.4']`)).toThrow("g.cfg:3: vif: 'ip=1.2.3.4': ip is not supported yet");
  });

  it('that says what has no effect gets a warning', () => {
    expect(spec(`${base}hap=1\nfoo=2\n`).warnings).toEqual([
      'g.cfg:3: hap: warning: has no effect on a PV guest',
      'g.cfg:4: foo: warning: is no key of xl.cfg; ignored',
    ]);
    expect(spec(`${base}vpmu=0\nvtpm=[]`).warnings).toEqual([]);
  });

  it.each(['pv', 'pvh'])('may hold any key of the manual: none is dropped in silence (%s)', (type) => {
    const has = type === 'pvh' ? ['apic', 'hap'] : [];
    for (const key of KEYS.keys()) {
      for (const value of ['1', '"x"', '["x"]']) {
        let out: ReturnType<typeof spec>;
        try {
          out = spec(`name="g"\nkernel="k"\n${key === 'type' ? '' : `type="${type}"\n`}${key}=${value}\n`);
        } catch {
          continue; // refused, with a reason
        }
        const used = key in out.spec || ['root', 'extra', 'builder'].includes(key);
        const off = ['passthrough', ...has].includes(key);
        expect(used || off || out.warnings.length > 0, `${key}=${value}`).toBe(true);
      }
    }
  });
});
