/** The gdb server by its wire protocol, with small kernels on the real hypervisor; and what a client that keeps to no rule may do. */
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CpuUserRegs, VcpuGuestContext } from '../../src/abi/arch-x86.ts';
import { StartInfo } from '../../src/abi/xen.ts';
import type { GdbServer } from '../../src/dom0/gdbserver/gdbserver.ts';
import { encodePacket, PacketReader } from '../../src/dom0/gdbserver/packets.ts';
import { Host } from '../../src/dom0/host.ts';
import type { Domain } from '../../src/dom0/toolstack/domain.ts';
import { LOAD, linuxNotes, tinyElf, VIRT_BASE } from './kernels/tiny-kernel.ts';

const ENTRY = VIRT_BASE + LOAD;
const COUNTER = ENTRY + 0x1000n;
/** entry: inc %rax; mov %rax, counter(%rip); jmp entry */
const LOOP = [0x48, 0xff, 0xc0, 0x48, 0x89, 0x05, 0xf6, 0x0f, 0, 0, 0xeb, 0xf4];
const CODE = new Uint8Array(8192);
CODE.set(LOOP);

const hex = (n: bigint) => n.toString(16);
const little = (n: bigint) => Buffer.from(BigUint64Array.of(n).buffer).toString('hex');
const [RAX, RIP, EFLAGS] = ['0', '10', '11'];

let dir: string;
let host: Host;
let domain: Domain;
let server: GdbServer;
let gdb: Gdb;
const warnings: string[] = [];

/** gdb's half of the protocol. */
class Gdb {
  readonly socket: Socket;
  readonly #answers: string[] = [];
  #wake = () => {};
  closed = false;

  constructor(path: string) {
    this.socket = connect(path);
    const reader = new PacketReader({
      packet: (data) => {
        this.#answers.push(data);
        this.socket.write('+');
        this.#wake();
      },
      interrupt: () => {},
      damaged: () => this.#answers.push('damaged'),
      resend: () => {},
    });
    this.socket.on('data', (bytes: Uint8Array) => reader.push(bytes));
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
      this.#wake();
    });
  }

  async answer(): Promise<string> {
    while (this.#answers.length === 0) {
      if (this.closed) throw new Error('disconnected');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#answers.shift()!;
  }

  send(command: string): void {
    this.socket.write(encodePacket(command));
  }

  ask(command: string): Promise<string> {
    this.send(command);
    return this.answer();
  }

  async gone(): Promise<void> {
    while (!this.closed)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1, warn: (m) => warnings.push(m) });
});
afterAll(() => host.stop());

beforeEach(async () => {
  warnings.length = 0;
  dir = mkdtempSync(join(tmpdir(), 'gdb-'));
  const kernel = tinyElf({ segments: [{ paddr: LOAD, data: CODE }], notes: linuxNotes() });
  domain = host.toolstack.create({ name: 'tiny', memoryMiB: 8, vcpus: 1, kernel, kernelName: 'tiny', cmdline: '' });
  server = await host.debug(domain, { path: join(dir, 'gdb') });
  gdb = new Gdb(server.address);
});
afterEach(() => {
  gdb.socket.destroy();
  domain.destroy();
  rmSync(dir, { recursive: true, force: true });
  expect(warnings).toEqual([]);
});

/** Where the domain's page tables are mapped, as its start info says (%rsi at the start). */
function pageTables(): bigint {
  const context = host.xen.domctl.getVcpuContext(domain.domid, 0);
  const rsi = Buffer.from(context).readBigUInt64LE(VcpuGuestContext.off.user_regs + CpuUserRegs.off.rsi);
  const info = Buffer.from(host.xen.domctl.readGuest(domain.domid, rsi, StartInfo.size));
  return info.readBigUInt64LE(StartInfo.off.pt_base);
}

const running = async () => {
  const now = domain.info()!.cpuTime;
  for (let i = 0; i < 500; i++) {
    if (domain.info()!.cpuTime > now + 1_000_000n) return true;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return false;
};

describe('a domain that has not run', () => {
  it('shows its first instruction, registers and description', async () => {
    expect(await gdb.ask('qSupported:swbreak+;xmlRegisters=i386')).toContain('qXfer:features:read+');
    expect(await gdb.ask('?')).toMatch(/^T05thread:01;10:/);
    expect(await gdb.ask(`p${RIP}`)).toBe(little(ENTRY));
    expect(await gdb.ask(`m${hex(ENTRY)},c`)).toBe(Buffer.from(LOOP).toString('hex'));
    expect(await gdb.ask('qfThreadInfo')).toBe('m01');
    expect(await gdb.ask('qsThreadInfo')).toBe('l');
    expect(await gdb.ask('qXfer:features:read:target.xml:0,40')).toMatch(/^m<\?xml/);
    const all = await gdb.ask('g');
    expect(all).toHaveLength(2 * (17 * 8 + 7 * 4 + 8 * 10 + 8 * 4 + 16 * 16 + 4 + 16));
    expect(await gdb.ask(`G${all}`)).toBe('OK');
  });

  it('runs when its owner lets it, not before', async () => {
    gdb.send('c');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(domain.info()!.paused).toBe(true);
    domain.unpause();
    expect(await running()).toBe(true);
  });
});

describe('a domain that runs', () => {
  beforeEach(async () => {
    domain.unpause();
    await gdb.ask('qSupported:swbreak+');
  });

  it('stops at a breakpoint, every time', async () => {
    const at = ENTRY + 3n;
    expect(await gdb.ask(`Z0,${hex(at)},1`)).toBe('OK');
    expect(await gdb.ask(`m${hex(ENTRY)},c`)).toBe(Buffer.from(LOOP).toString('hex')); // not to be seen
    expect(await gdb.ask('vCont;c')).toMatch(/^T05thread:01;.*swbreak:;$/);
    expect(await gdb.ask(`p${RIP}`)).toBe(little(at));
    const rax = Buffer.from(await gdb.ask(`p${RAX}`), 'hex').readBigUInt64LE();
    // Past it as gdb goes: without the breakpoint for one step.
    expect(await gdb.ask(`z0,${hex(at)},1`)).toBe('OK');
    expect(await gdb.ask('vCont;s:1')).toMatch(/^T05thread:01;/);
    expect(await gdb.ask(`p${RIP}`)).toBe(little(ENTRY + 10n));
    expect(await gdb.ask(`m${hex(COUNTER)},8`)).toBe(little(rax));
    expect(await gdb.ask(`Z0,${hex(at)},1`)).toBe('OK');
    expect(await gdb.ask('vCont;c')).toMatch(/swbreak:;$/);
    expect(await gdb.ask(`p${RAX}`)).toBe(little(rax + 1n));
  });

  it('goes on with the registers and the code that it is given', async () => {
    expect(await gdb.ask(`P${RAX}=${little(1000n)}`)).toBe('OK');
    expect(await gdb.ask(`P${RIP}=${little(ENTRY)}`)).toBe('OK');
    expect(await gdb.ask('vCont;s')).toMatch(/^T05/);
    expect(await gdb.ask(`p${RAX}`)).toBe(little(1001n));
    // dec %rax in place of inc, under a breakpoint.
    expect(await gdb.ask(`Z0,${hex(ENTRY)},1`)).toBe('OK');
    expect(await gdb.ask(`M${hex(ENTRY)},3:48ffc8`)).toBe('OK');
    expect(await gdb.ask('c')).toMatch(/swbreak/);
    expect(await gdb.ask(`z0,${hex(ENTRY)},1`)).toBe('OK');
    expect(await gdb.ask('s')).toMatch(/^T05/);
    expect(await gdb.ask(`p${RAX}`)).toBe(little(1000n));
    expect(await gdb.ask(`X${hex(COUNTER)},5:\x01}\x03#`)).toBe('E16'); // four bytes
    expect(await gdb.ask(`X${hex(COUNTER)},3:}#$`)).toBe('OK');
    expect(await gdb.ask(`m${hex(COUNTER)},3`)).toBe('7d2324');
    const flags = await gdb.ask(`p${EFLAGS}`);
    expect(Number.parseInt(flags.slice(2, 4), 16) & 1).toBe(0); // no trap flag is left
  });

  it('stops after each write of watched memory', async () => {
    expect(await gdb.ask(`Z2,${hex(COUNTER)},8`)).toBe('OK');
    let last: bigint | undefined;
    for (let i = 0; i < 3; i++) {
      expect(await gdb.ask('vCont;c')).toMatch(new RegExp(`^T05thread:01;.*watch:${hex(COUNTER)};$`));
      expect(await gdb.ask(`p${RIP}`)).toBe(little(ENTRY + 10n));
      const now = Buffer.from(await gdb.ask(`m${hex(COUNTER)},8`), 'hex').readBigUInt64LE();
      if (last !== undefined) expect(now).toBe(last + 1n);
      last = now;
    }
    expect(await gdb.ask(`z2,${hex(COUNTER)},8`)).toBe('OK');
    gdb.send('vCont;c');
    expect(await running()).toBe(true);
  });

  it('has code that was hot before watched too, and what lies beside left alone', async () => {
    gdb.send('c');
    await new Promise((resolve) => setTimeout(resolve, 300)); // the loop is translated by now
    gdb.socket.write('\x03');
    expect(await gdb.answer()).toMatch(/^T02/);
    expect(await gdb.ask(`Z4,${hex(COUNTER + 8n)},8`)).toBe('OK');
    gdb.send('c');
    expect(await running()).toBe(true);
    gdb.socket.write('\x03');
    expect(await gdb.answer()).toMatch(/^T02/);
    expect(await gdb.ask(`Z4,${hex(COUNTER + 1n)},1`)).toBe('OK');
    expect(await gdb.ask('c')).toMatch(new RegExp(`awatch:${hex(COUNTER + 1n)};$`));
  });

  it('stops at a hardware breakpoint, which is in no code', async () => {
    await gdb.ask('qSupported:hwbreak+');
    const at = ENTRY + 3n;
    expect(await gdb.ask(`Z1,${hex(at)},1`)).toBe('OK');
    for (let i = 0; i < 2; i++) {
      expect(await gdb.ask('vCont;c')).toMatch(/hwbreak:;$/);
      expect(await gdb.ask(`p${RIP}`)).toBe(little(at));
      expect(host.xen.domctl.readGuest(domain.domid, ENTRY, LOOP.length)).toEqual(Uint8Array.from(LOOP));
      expect(await gdb.ask(`z1,${hex(at)},1`)).toBe('OK');
      expect(await gdb.ask('vCont;s:1')).toMatch(/^T05thread:01;(10|07):[^:]*;(10|07):[^:]*;$/);
      expect(await gdb.ask(`Z1,${hex(at)},1`)).toBe('OK');
    }
  });

  it('has four debug registers, and gets its own back', async () => {
    const registers = () => {
      const context = Buffer.from(host.xen.domctl.getVcpuContext(domain.domid, 0));
      return [0, 1, 2, 3, 7].map((n) => context.readBigUInt64LE(VcpuGuestContext.off.debugreg + 8 * n));
    };
    const own = registers();
    expect(await gdb.ask(`Z2,${hex(COUNTER + 63n)},9`)).toBe('OK'); // one byte, and eight
    expect(await gdb.ask(`Z2,${hex(COUNTER + 100n)},8`)).toBe('OK'); // twice four bytes
    expect(await gdb.ask(`Z1,${hex(ENTRY)},1`)).toBe('E01');
    expect(await gdb.ask(`z2,${hex(COUNTER + 63n)},9`)).toBe('OK');
    gdb.send('c');
    expect(await running()).toBe(true);
    gdb.socket.write('\x03');
    await gdb.answer();
    // Registers 2 and 3: writes of four bytes.
    expect(registers().slice(2)).toEqual([COUNTER + 100n, COUNTER + 104n, 0xdd0004a0n]);
    expect(await gdb.ask('D')).toBe('OK');
    await gdb.gone();
    expect(await running()).toBe(true);
    expect(registers()).toEqual(own);
  });

  it('is interrupted, and detached as it was', async () => {
    await gdb.ask(`Z0,${hex(COUNTER)},1`); // of no consequence, as nothing executes there
    gdb.send('c');
    expect(await running()).toBe(true);
    gdb.socket.write('\x03');
    expect(await gdb.answer()).toMatch(/^T02thread:01;/);
    expect(await gdb.ask('D')).toBe('OK');
    await gdb.gone();
    expect(await running()).toBe(true);
    expect(host.xen.domctl.readGuest(domain.domid, ENTRY, LOOP.length)).toEqual(Uint8Array.from(LOOP));
  });

  it('goes on without breakpoints when gdb is gone', async () => {
    await gdb.ask(`Z0,${hex(ENTRY + 3n)},1`);
    await gdb.ask('c');
    gdb.socket.destroy();
    expect(await running()).toBe(true);
    expect(host.xen.domctl.readGuest(domain.domid, ENTRY, LOOP.length)).toEqual(Uint8Array.from(LOOP));
    gdb = new Gdb(server.address); // and another may come
    expect(await gdb.ask('qC')).toBe('QC01');
  });

  it('has one debugger at a time, and tells it of its end', async () => {
    await new Gdb(server.address).gone();
    gdb.send('c');
    expect(await running()).toBe(true);
    domain.destroy();
    expect(await gdb.answer()).toBe('W00');
    await gdb.gone();
    expect(existsSync(server.address)).toBe(false);
  });

  it('is ended by kill', async () => {
    gdb.send('k');
    await gdb.gone();
    expect(domain.gone).toBe(true);
  });
});

describe('a client that keeps to no rule', () => {
  it('has a socket that is its owner’s alone', () => {
    expect(statSync(server.address).mode & 0o777).toBe(0o600);
  });

  it('is told what cannot be', async () => {
    domain.unpause();
    expect(await gdb.ask('p99')).toBe('E01');
    expect(await gdb.ask('P10=12')).toBe('E16');
    expect(await gdb.ask('m10,8')).toBe('E01');
    expect(await gdb.ask('mxyz,8')).toBe('E16');
    expect(await gdb.ask('m0')).toBe('E16');
    expect(await gdb.ask('M10,1:00')).toBe('E01');
    expect(await gdb.ask('Z0,10,1')).toBe('E01');
    expect(await gdb.ask('z0,10,1')).toBe('E01');
    expect(await gdb.ask('Hg7')).toBe('E01');
    expect(await gdb.ask('T7')).toBe('E01');
    expect(await gdb.ask('vCont;x')).toBe('E16');
    expect(await gdb.ask('vMustReplyEmpty')).toBe('');
    expect(await gdb.ask('Z3,10,8')).toBe('');
    expect(await gdb.ask('Z2,10')).toBe('E16');
    expect(await gdb.ask('Z2,10,21')).toBe('E01');
    // Page tables are the hypervisor's to change: those that the start info names (pt_base, where the stack page ends).
    const tables = pageTables();
    expect((await gdb.ask(`m${hex(tables)},8`)).length).toBe(16);
    expect(await gdb.ask(`M${hex(tables)},8:0000000000000000`)).toBe('E01');
  });

  it('is asked again for what came damaged', async () => {
    const raw: string[] = [];
    gdb.socket.on('data', (d: Buffer) => raw.push(d.toString('latin1')));
    gdb.socket.write('$g#00');
    while (raw.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(raw.join('')).toBe('-');
    expect(await gdb.ask('qAttached')).toBe('1');
    gdb.socket.write('-');
    expect(await gdb.answer()).toBe('1');
  });

  it('harms nobody with noise', async () => {
    const before = host.xen.sysctl.physInfo().freePages;
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.string({ maxLength: 30 }).map((s) => encodePacket(s)),
      fc
        .tuple(
          fc.constantFrom(
            'g',
            'G',
            'm',
            'M',
            'X',
            'p',
            'P',
            'Z0,',
            'z0,',
            'Z1,',
            'Z2,',
            'z2,',
            'Z4,',
            'H',
            'T',
            'vCont;',
            'q',
            'Q',
            's',
            '?',
            'qXfer:',
          ),
          fc.constantFrom('', 'g1', '1', 'c', hex(ENTRY), 'ffffffffffffffff', '-1', ':', 's:1', 'features:read:'),
          fc.constantFrom('', ',1', ',fffffff', ',8:00', '=00', ':0,ffff', ';c', ',4:\x00\x01#$'),
        )
        .map((parts) => encodePacket(parts.join(''))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 30 }), async (pieces) => {
        const noisy = new Gdb(server.address);
        for (const p of pieces) noisy.socket.write(p);
        await new Promise((resolve) => setTimeout(resolve, 2));
        noisy.socket.destroy();
        await noisy.gone();
      }),
      { numRuns: Number(process.env.GDB_FUZZ ?? 50) },
    );
    gdb.socket.destroy();
    domain.destroy();
    expect(host.xen.sysctl.physInfo().freePages).toBeGreaterThan(before);
  });
});
