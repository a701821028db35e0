/** The table of xl's commands, how their words are read, and what they print of numbers. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { DomainInfo } from '../../src/api/schema/domain.ts';
import { cpusOf, parseCpuList } from '../../src/dom0/toolstack/cpu-list.ts';
import { parseArguments } from '../../src/xl/command.ts';
import { bashCompletion, zshCompletion } from '../../src/xl/completion.ts';
import { parseConf } from '../../src/xl/conf.ts';
import { formatCpus } from '../../src/xl/format/cpus.ts';
import { domainTable } from '../../src/xl/format/domains.ts';
import { parseMemory } from '../../src/xl/format/memory.ts';
import { commandHelp, commandList } from '../../src/xl/help.ts';
import { COMMANDS, findCommand } from '../../src/xl/table.ts';

/** `xl help` of Xen 4.17. */
const XEN =
  'create config-update list destroy shutdown reboot pci-attach pci-detach pci-list pci-assignable-add pci-assignable-remove pci-assignable-list pause unpause console vncviewer save migrate restore migrate-receive suspend resume dump-core cd-insert cd-eject mem-max mem-set button-press vcpu-list vcpu-pin vcpu-set vm-list info sharing sched-credit sched-credit2 sched-rtds domid domname rename trigger sysrq debug-keys set-parameters dmesg top network-attach network-list network-detach channel-list block-attach block-list block-detach vtpm-attach vtpm-list vtpm-detach vkb-attach vkb-list vkb-detach vdispl-attach vdispl-list vdispl-detach vsnd-attach vsnd-list vsnd-detach uptime claims cpupool-create cpupool-list cpupool-destroy cpupool-rename cpupool-cpu-add cpupool-cpu-remove cpupool-migrate cpupool-numa-split getenforce setenforce loadpolicy remus devd psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show psr-mba-set psr-mba-show usbctrl-attach usbctrl-detach usbdev-attach usbdev-detach usb-list qemu-monitor-command help';

describe('the table', () => {
  it('has every command of Xen’s xl, each once', () => {
    const names = COMMANDS.map((c) => c.name);
    expect(new Set(names).size).toBe(names.length);
    expect(XEN.split(' ').filter((name) => !names.includes(name))).toEqual([]);
  });

  it('finds commands by name or unambiguous beginning', () => {
    expect(findCommand('list')?.name).toBe('list');
    expect(findCommand('sched-credit')?.name).toBe('sched-credit');
    expect(findCommand('cre')?.name).toBe('create');
    expect(findCommand('pci')).toBeUndefined();
    expect(findCommand('')).toBeUndefined();
  });

  it('is what help prints', () => {
    const list = commandList().join('\n');
    for (const { name } of COMMANDS) expect(list).toContain(` ${name} `);
    expect(commandHelp(findCommand('shutdown')!).join('\n')).toContain('-w, --wait');
  });

  it('is what the completions know (scripts/completions.ts writes them)', () => {
    const read = (file: string) => readFileSync(new URL(`../../completions/${file}`, import.meta.url), 'utf8');
    expect(read('xl.bash')).toBe(bashCompletion(COMMANDS));
    expect(read('xl.zsh')).toBe(zshCompletion(COMMANDS));
  });
});

describe('the words of a command', () => {
  const shutdown = findCommand('shutdown')!;
  it('are read as getopt does', () => {
    const args = parseArguments(shutdown, ['dom', '-ww', '-aF'])!;
    expect(args.positionals).toEqual(['dom']);
    expect([args.has('all'), args.count('wait'), args.has('F')]).toEqual([true, 2, true]);
    const create = parseArguments(findCommand('create')!, ['-c', '-fguest.cfg', 'a=1', '--', '-b=2'])!;
    expect(create.value('defconfig')).toBe('guest.cfg');
    expect(create.positionals).toEqual(['a=1', '-b=2']);
  });

  it('may ask for help, or be wrong', () => {
    expect(parseArguments(shutdown, ['-h'])).toBeUndefined();
    expect(() => parseArguments(shutdown, ['-z'])).toThrow("option `z' not supported.");
    expect(() => parseArguments(findCommand('rename')!, ['a'])).toThrow("'xl rename' requires at least 2 arguments.");
  });
});

describe('numbers', () => {
  it('of CPUs are read and printed', () => {
    expect(cpusOf(parseCpuList('0-3,^2,6', 8))).toEqual([0, 1, 3, 6]);
    expect(cpusOf(parseCpuList('all,^0', 3))).toEqual([1, 2]);
    expect(cpusOf(parseCpuList('nodes:0', 2))).toEqual([0, 1]);
    for (const bad of ['', 'x', '4', '3-1', '^0', '0,^0', 'node:1', '-1']) {
      expect(() => parseCpuList(bad, 4), bad).toThrow(/\w/);
    }
    expect(formatCpus([0, 1, 2, 5], 8)).toBe('0-2,5');
    expect(formatCpus([0, 1], 2)).toBe('all');
    expect(formatCpus([], 2)).toBe('none');
  });

  it('of memory are read', () => {
    expect(['200', '200m', '1G', '4096k', '1048576b', '1t'].map(parseMemory)).toEqual([
      204800, 204800, 1048576, 4096, 1024, 1073741824,
    ]);
    expect(['', 'm', '-1', '1.5g', '1x', '1mb'].map(parseMemory)).toEqual(Array(6).fill(undefined));
  });

  it('of domains are printed column for column', () => {
    const domain: DomainInfo = {
      domid: 3,
      name: 'fred',
      uuid: '594356c6-3057-4344-9496-7323db1b9a27',
      running: false,
      blocked: true,
      paused: false,
      shutdown: true,
      dying: false,
      shutdownReason: 3,
      memoryKiB: 262144,
      outstandingKiB: 1024,
      targetKiB: null,
      maxMemoryKiB: 263168,
      cpuTime: 12.34,
      vcpusOnline: 2,
      vcpusMax: 2,
      cpupool: 0,
      neverStop: false,
      startTime: 0,
    };
    const poolNames = new Map([[0, 'Pool-0']]);
    expect(domainTable([domain], { claim: true, cpupool: true, poolNames })).toEqual([
      'Name                                        ID   Mem VCPUs\tState\tTime(s)  Claimed         Cpupool',
      'fred                                         3   257     2     -b-sc-      12.3     1          Pool-0',
    ]);
    expect(domainTable([domain], { verbose: true })[1]).toMatch(/12\.3 594356c6-\S+ {8}3 {16}-$/);
  });
});

describe('xl.conf', () => {
  it('of Debian is read', () => {
    const conf = parseConf(
      '#autoballoon="auto"\nlockfile="/x"\nvif.default.bridge="xenbr0"\nmax_grant_frames=32\n',
      'xl.conf',
    );
    expect(conf).toMatchObject({ defaults: { max_grant_frames: 32 }, claimMode: true, hasMasks: false, warnings: [] });
  });

  it('may leave CPUs out', () => {
    const conf = parseConf('vm.cpumask="1-3"\nvm.pv.cpumask="0-2"\nclaim_mode=0\nfoo=1', 'xl.conf');
    expect(cpusOf(conf.maskCpus(0b1111n, 4))).toEqual([1, 2]);
    expect(conf.claimMode).toBe(false);
    expect(conf.warnings).toEqual(['xl.conf:4: foo: warning: is no key of xl.conf; ignored']);
  });

  it('is refused where it asks for what is not there', () => {
    expect(() => parseConf('output_format="sxp"', 'xl.conf')).toThrow(
      'xl.conf:1: output_format: sxp: not supported yet',
    );
    expect(() => parseConf('output_format="xml"', 'xl.conf')).toThrow('invalid default output format');
  });
});
