/** Debug keys, as `xl debug-keys` presses them: what the hypervisor's log shows then. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Host } from '../../src/dom0/host.ts';
import { linuxNotes, tinyElf } from './kernels/tiny-kernel.ts';

let host: Host;
beforeAll(async () => {
  host = await Host.create({ memoryMiB: 256, pcpus: 1 });
  host.toolstack.create({
    name: 'tiny',
    memoryMiB: 8,
    vcpus: 2,
    uuid: '00112233-4455-6677-8899-aabbccddeeff',
    kernel: tinyElf({ segments: [{ paddr: 0x10_0000n, data: Uint8Array.of(0xeb, 0xfe) }], notes: linuxNotes() }),
    kernelName: 'tiny',
    cmdline: '',
  });
});
afterAll(() => host.stop());

function press(keys: string): string {
  host.xen.sysctl.readConsole(true);
  host.xen.sysctl.debugKeys(keys);
  return host.xen.sysctl.readConsole(true);
}

it('h lists the keys there are, and each of them does something', () => {
  const shown = press('h').trimEnd().split('\n');
  expect(shown[0]).toBe("(XEN) 'h' pressed -> showing installed handlers");
  expect(shown).toContain("(XEN)  key 'q' (ascii '71') => dump domain (and guest debug) info");
  for (const line of shown.slice(1)) {
    const [, key, code] = /^\(XEN\) {2}key '(.)' \(ascii '([0-9a-f]{2})'\) => \w/.exec(line)!;
    expect(key.charCodeAt(0)).toBe(Number.parseInt(code, 16));
    expect(press(key)).toMatch(new RegExp(`^\\(XEN\\) '${key}' pressed -> `));
  }
});

it('q shows domains and their vCPUs', () => {
  const shown = press('q');
  expect(shown).toMatch(/^\(XEN\) 'q' pressed -> dumping domain info \(now = \d+\)\n/);
  expect(shown).toMatch(/General information for domain 0:\n/);
  expect(shown).toMatch(
    /domain 1:\n\(XEN\) {5}refcnt=\d+ dying=0 pause_count=1\n\(XEN\) {5}nr_pages=2048 xenheap_pages=\d+ max_pages=\d+\n/,
  );
  expect(shown).toContain('    handle=00112233-4455-6677-8899-aabbccddeeff vm_assist=');
  // The second vCPU is down until the guest starts it.
  expect(shown).toMatch(
    /VCPU1: CPU0 \[has=F\] poll=0 upcall_pend=00 upcall_mask=01\n\(XEN\) {5}pause_count=\d pause_flags=2\n\(XEN\) {5}100 Hz periodic timer \(period 10 ms\)\n/,
  );
  expect(shown).toContain('Notifying guest 1:1 (virq 1, port 0)\n');
});

it('e shows event channels from both ends', () => {
  const shown = press('e');
  const [, dom0, guest] = shown.split(/Event channel information for domain \d+:\n/);
  const store = /^\(XEN\) {8}1 \[\d\/\d\]: s=3 n=0 x=0 d=0 p=(\d+)$/m.exec(guest)!;
  expect(dom0).toMatch(new RegExp(`^\\(XEN\\) +${store[1]} \\[\\d/\\d\\]: s=3 n=0 x=0 d=1 p=1$`, 'm'));
});

it('H shows the free memory', () => {
  const { freePages } = host.xen.sysctl.physInfo();
  expect(press('H')).toContain(`heap[node=0][zone=0] -> ${freePages} pages\n`);
});

it('others do nothing, and are passed over', () => {
  expect(press('x\u007f~')).toBe('');
  expect(press('xH').match(/pressed/g)).toHaveLength(1);
});
