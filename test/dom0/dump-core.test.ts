/** Core dumps of domains, read back with nothing but the format's description. That gdb opens them is shown in test/e2e. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VcpuGuestContext } from '../../src/abi/arch-x86.ts';
import { Host } from '../../src/dom0/host.ts';
import { dumpCore } from '../../src/dom0/toolstack/core/dump-core.ts';
import type { Domain } from '../../src/dom0/toolstack/domain.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';

/** Where the kernel lies: pfn 0x100, and in virtual memory from here on. */
const TEXT_PFN = 0x100n;
const code = new Uint8Array(4096).map((_, i) => (i * 7) & 0xff);
code.set([0xeb, 0xfe]); // jmp .

let dir: string;
let host: Host;
let domain: Domain;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'core-'));
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  domain = host.toolstack.create({
    name: 'tiny',
    memoryMiB: 8,
    vcpus: 2,
    kernel: tinyElf({ segments: [{ paddr: 0x10_0000n, data: code }], notes: linuxNotes() }),
    kernelName: 'tiny',
    cmdline: '',
  });
  domain.unpause();
});
afterAll(async () => {
  await host.stop();
  rmSync(dir, { recursive: true, force: true });
});

interface Section {
  offset: number;
  size: number;
  type: number;
}

function parse(path: string) {
  const file = readFileSync(path);
  const sections = new Map<string, Section>();
  const at = Number(file.readBigUInt64LE(0x28));
  const header = (i: number) => at + i * 64;
  const names = Number(file.readBigUInt64LE(header(file.readUInt16LE(0x3e)) + 24));
  for (let i = 1; i < file.readUInt16LE(0x3c); i++) {
    const name = names + file.readUInt32LE(header(i));
    sections.set(file.toString('latin1', name, file.indexOf(0, name)), {
      type: file.readUInt32LE(header(i) + 4),
      offset: Number(file.readBigUInt64LE(header(i) + 24)),
      size: Number(file.readBigUInt64LE(header(i) + 32)),
    });
  }
  const segments = Array.from({ length: file.readUInt16LE(0x38) }, (_, i) => {
    const p = 64 + i * 56;
    const u64 = (o: number) => file.readBigUInt64LE(p + o);
    return { type: file.readUInt32LE(p), offset: u64(8), va: u64(16), pa: u64(24), size: u64(32) };
  });
  return { file, sections, segments };
}

describe('a dump', () => {
  it('has Xen’s sections, and every page of the domain', async () => {
    const path = join(dir, 'core');
    const told: string[] = [];
    const bytes = await dumpCore(host.xen, domain, path, (m) => told.push(m));
    expect(told.at(-1)).toBe('dumped 2048 of 2048 pages');
    expect(domain.info()?.paused).toBe(false);
    const { file, sections } = parse(path);
    expect(file.length).toBe(bytes);
    expect(file.subarray(0, 7)).toEqual(Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]));
    expect([file.readUInt16LE(16), file.readUInt16LE(18)]).toEqual([4, 62]);
    expect([...sections.keys()]).toEqual([
      '.note.Xen',
      '.xen_prstatus',
      '.xen_shared_info',
      '.xen_p2m',
      '.xen_pages',
      '.shstrtab',
    ]);
    const note = sections.get('.note.Xen')!;
    expect(note.type).toBe(7);
    const header = file.indexOf(Buffer.from([1, 0, 0, 2]), note.offset) + 8; // type, then the name "Xen"
    const words = Array.from({ length: 4 }, (_, i) => file.readBigUInt64LE(header + i * 8));
    expect(words).toEqual([0xf00febedn, 1n, 2048n, 4096n]);
    expect(sections.get('.xen_prstatus')!.size).toBe(VcpuGuestContext.size); // the second vCPU was never started
    const p2m = sections.get('.xen_p2m')!;
    const pfns = Array.from({ length: 2048 }, (_, i) => file.readBigUInt64LE(p2m.offset + i * 16));
    expect(pfns).toEqual(Array.from({ length: 2048 }, (_, i) => BigInt(i)));
    const page = sections.get('.xen_pages')!.offset + Number(TEXT_PFN) * 4096;
    expect(file.subarray(page, page + 4096).equals(code)).toBe(true);
  });

  it('says where in the guest’s address space its pages are, and what its registers hold', async () => {
    const path = join(dir, 'core');
    await dumpCore(host.xen, domain, path);
    const { file, segments, sections } = parse(path);
    const context = file.subarray(sections.get('.xen_prstatus')!.offset).subarray(0, VcpuGuestContext.size);
    const rip = context.readBigUInt64LE(VcpuGuestContext.off.user_regs + 16 * 8);
    const [notes, ...loads] = segments;
    expect(notes.type).toBe(4);
    expect(file.indexOf(Buffer.from('CORE'), Number(notes.offset))).toBe(Number(notes.offset) + 12);
    const regs = Number(notes.offset) + 20 + 112;
    expect(file.readBigUInt64LE(regs + 16 * 8)).toBe(rip);
    expect(loads.every((l) => l.type === 1 && l.size > 0n)).toBe(true);
    const text = loads.find((l) => rip >= l.va && rip < l.va + l.size)!;
    const at = Number(text.offset + (rip - text.va));
    expect(file.subarray(at, at + 2)).toEqual(Buffer.from([0xeb, 0xfe]));
    expect(text.pa + (rip - text.va)).toBe(TEXT_PFN << 12n);
  });

  it('that cannot be written leaves nothing, and the domain running', async () => {
    await expect(dumpCore(host.xen, domain, join(dir, 'none', 'core'))).rejects.toThrow(/no dump: ENOENT/);
    await expect(dumpCore(host.xen, domain, dir)).rejects.toThrow(/no dump in .*: EISDIR|directory/);
    expect(existsSync(`${dir}.part`)).toBe(false);
    expect(domain.info()?.paused).toBe(false);
  });
});
