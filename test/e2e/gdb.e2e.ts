/** Debian's gdb on a guest's kernel: breakpoints by symbol, steps, registers, memory, several vCPUs, Ctrl-C, and going away. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HostGuest } from './host-guest.ts';

const FUNCTIONS = ['__do_sys_newuname', 'do_sys_openat2'];
const SYMBOLS = [...FUNCTIONS, 'linux_banner', 'saved_command_line', 'jiffies_64'];
/** Where Linux's text starts. */
const TEXT = '0xffffffff81000000';

let dir: string;
let guest: HostGuest;
let gdb: Gdb;
const symbols = new Map<string, string>();

/** gdb at its prompt. */
class Gdb {
  readonly #child: ChildProcess;
  #text = '';
  #wake = () => {};
  #ended = false;

  constructor(args: readonly string[]) {
    // One stream, so that what it says comes in its order.
    this.#child = spawn('sh', ['-c', 'exec gdb -nx -q "$@" 2>&1', 'gdb', ...args], {
      stdio: 'pipe',
      env: { ...process.env, TERM: 'dumb' },
    });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#text += text;
      this.#wake();
    });
    this.#child.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** What it says until its next prompt. */
  async prompt(seconds = 60): Promise<string> {
    const deadline = Date.now() + seconds * 1000;
    while (!this.#text.endsWith('(gdb) ')) {
      if (this.#ended || Date.now() > deadline) throw new Error(`no prompt from gdb:\n${this.#text}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 500);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const said = this.#text.slice(0, -'(gdb) '.length).trim();
    this.#text = '';
    return said;
  }

  send(command: string): void {
    this.#child.stdin!.write(`${command}\n`);
  }

  async ask(command: string): Promise<string> {
    this.send(command);
    return await this.prompt();
  }

  /** Ctrl-C. */
  interrupt(): void {
    this.#child.kill('SIGINT');
  }

  /** As if it had crashed. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  async quit(): Promise<void> {
    this.#child.stdin!.end();
    while (!this.#ended) await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const connect = async (): Promise<Gdb> => {
  const g = new Gdb([join(dir, 'symbols')]);
  await g.prompt();
  for (const setting of ['pagination off', 'confirm off', 'width 0', 'architecture i386:x86-64']) {
    await g.ask(`set ${setting}`);
  }
  await g.ask(`target remote ${join(dir, 'gdb')}`);
  return g;
};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'gdb-'));
  guest = await HostGuest.boot({ domain: { vcpus: 2 } });
  const list = await guest.shell(`grep -E ' (${SYMBOLS.join('|')})$' /proc/kallsyms`);
  for (const line of list.split('\n')) {
    const [address, , name] = line.split(' ');
    symbols.set(name, address);
  }
  writeFileSync(join(dir, 'symbols.s'), assembly());
  execFileSync('as', ['-o', join(dir, 'symbols.o'), join(dir, 'symbols.s')]);
  execFileSync('ld', ['-Ttext', TEXT, '-e', '0', '-o', join(dir, 'symbols'), join(dir, 'symbols.o')]);
  await guest.host.debug(guest.domain, { path: join(dir, 'gdb') });
  gdb = await connect();
});
afterAll(async () => {
  await gdb?.quit();
  await guest?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** What Debian's debug package has, as far as it is used here: names for addresses, of functions with nothing in them. */
function assembly(): string {
  const functions = [...symbols].filter(([name]) => FUNCTIONS.includes(name)).sort(([, a], [, b]) => (a < b ? -1 : 1));
  const offset = (at: string) => BigInt(`0x${at}`) - BigInt(TEXT);
  return functions.map(([f, at]) => `.globl ${f}\n.type ${f}, @function\n.org ${offset(at)}\n${f}:\n`).join('');
}

const address = (name: string) => `0x${symbols.get(name)}`;

it('stops a guest that runs, with each vCPU as a thread', async () => {
  expect(symbols.size).toBe(SYMBOLS.length);
  const threads = await gdb.ask('info threads');
  expect(threads).toMatch(/1\s+Thread 1 \(vCPU 0.*\n.*2\s+Thread 2 \(vCPU 1/);
  await gdb.ask('thread 2');
  expect(await gdb.ask('info registers rip rsp cs')).toMatch(/rip\s+0x[0-9a-f]+.*\nrsp\s+0x[0-9a-f]+.*\ncs\s+0xe033/);
});

it('stops in a kernel function that the guest calls, again and again', async () => {
  expect(await gdb.ask('break *&__do_sys_newuname')).toMatch(/^Breakpoint 1 at 0xffffffff81/);
  for (let i = 0; i < 2; i++) {
    gdb.send('continue');
    guest.type(`uname -${'rm'[i]}\n`);
    expect(await gdb.prompt()).toMatch(/hit Breakpoint 1, 0x[0-9a-f]+ in __do_sys_newuname \(\)/);
    expect(await gdb.ask('print/x $rip')).toBe(`$${i + 1} = ${address('__do_sys_newuname')}`);
  }
});

it('steps instruction by instruction, through the breakpoint', async () => {
  const code = await gdb.ask('x/3i $rip');
  const second = /\n\s+(0x[0-9a-f]{16})/.exec(code)![1];
  expect(code).not.toContain('int3');
  await gdb.ask('stepi');
  expect(await gdb.ask('p/x $rip')).toMatch(new RegExp(` = ${second}$`));
  const before = await gdb.ask('p/x $rsp');
  await gdb.ask('stepi 20');
  expect(await gdb.ask('p/x $rsp')).not.toBe(before); // the function has set up its frame
});

it('watches memory, by steps', async () => {
  await gdb.ask('set can-use-hw-watchpoints 0');
  expect(await gdb.ask('watch -l *(long*)($rsp - 8)')).toMatch(/^Watchpoint 2/);
  expect(await gdb.ask('continue')).toMatch(/Watchpoint 2[\s\S]*Old value[\s\S]*New value/); // a call or a push
  await gdb.ask('delete 2');
  await gdb.ask('set can-use-hw-watchpoints 1');
});

it('watches memory with the debug registers, while the guest runs at its speed', async () => {
  // A program that starts asks for the kernel's name as well, so it would be hit again at any time.
  await gdb.ask('delete 1');
  expect(await gdb.ask(`watch -l *(long*)${address('jiffies_64')}`)).toMatch(/^Hardware watchpoint 3/);
  let last = 0;
  for (let i = 0; i < 3; i++) {
    const said = await gdb.ask('continue');
    const values = /Hardware watchpoint 3[\s\S]*Old value = (\d+)\s+New value = (\d+)/.exec(said);
    expect(values, said).not.toBeNull();
    if (i > 0) expect(Number(values![1])).toBe(last);
    last = Number(values![2]);
  }
  await gdb.ask('delete 3');
});

it('stops at a hardware breakpoint', async () => {
  expect(await gdb.ask('hbreak *&do_sys_openat2')).toMatch(/^Hardware assisted breakpoint 4/);
  gdb.send('continue');
  guest.type('cat /proc/version\n');
  expect(await gdb.prompt()).toContain(`hit Breakpoint 4, ${address('do_sys_openat2')}`);
  await gdb.ask('delete');
  gdb.send('continue');
  await guest.expect(/\nLinux version .*\s+guest:\S*# $/);
  gdb.interrupt();
  await gdb.prompt();
});

it('reads and writes memory and registers', async () => {
  expect(await gdb.ask(`x/s ${address('linux_banner')}`)).toMatch(/"Linux version 6\.1\./);
  expect(await gdb.ask('x/x 0xffff800000000000')).toMatch(/Cannot access memory/);
  const before = await gdb.ask('p/x $r11');
  await gdb.ask('set $r11 = 0x1234567890');
  expect(await gdb.ask('p/x $r11')).toMatch(/= 0x1234567890$/);
  await gdb.ask(`set $r11 = ${before.split(' = ')[1]}`);
  expect(await gdb.ask('p $mxcsr')).toMatch(/= \[ .*IM DM ZM OM UM PM.*\]/);
  expect(await gdb.ask('p/x $gs_base')).toMatch(/= 0xffff8/);
});

it('changes what the guest prints', async () => {
  const line = address('saved_command_line');
  const text = /"(.*)"/.exec(await gdb.ask(`x/s *(long*)${line}`))![1];
  expect(text).toBe('console=hvc0 quiet');
  await gdb.ask(`set {char[5]}(*(long*)${line}+13) = "loud"`);
  gdb.send('continue');
  expect(await guest.shell('cat /proc/cmdline')).toMatch(/console=hvc0 loud/);
});

it('is stopped by Ctrl-C, and goes on as if nothing had been', async () => {
  gdb.interrupt();
  expect(await gdb.prompt()).toMatch(/received signal SIGINT|Program received signal/);
  await gdb.ask('detach');
  expect(await guest.shell('echo alive; uname -s')).toMatch(/alive\nLinux$/);
});

it('is left running, without a breakpoint, when gdb dies', async () => {
  await gdb.quit();
  gdb = await connect();
  await gdb.ask('break *&do_sys_openat2');
  gdb.send('continue');
  guest.type('cat /etc/hostname\n');
  expect(await gdb.prompt()).toContain('Breakpoint 1');
  gdb.kill();
  await guest.expect(/hostname[\s\S]*# $/);
  expect(await guest.shell('cat /proc/uptime > /dev/null; echo still')).toMatch(/still$/);
  expect(guest.output).not.toMatch(/BUG|Oops|int3/);
});

it('tells gdb when the guest is gone', async () => {
  gdb = await connect();
  gdb.send('continue');
  await guest.shell('true');
  guest.domain.destroy();
  expect(await gdb.prompt()).toMatch(/exited normally/);
});
