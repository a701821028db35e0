/** Configuration of extlinux and syslinux: `label`, `kernel`/`linux`, `append`, `initrd`, `menu label`, `default`. */
import type { BootEntry, BootMenu } from './entry.ts';

interface Label {
  readonly name: string;
  title?: string;
  kernel?: string;
  ramdisk?: string;
  args: string;
}

export function parseExtlinuxConfig(text: string): BootMenu {
  const labels: Label[] = [];
  let fallback: string | undefined;
  for (const line of text.split('\n')) {
    const [, keyword = '', rest = ''] = /^\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? [];
    const label = labels.at(-1);
    switch (keyword.toLowerCase()) {
      case 'label':
        labels.push({ name: rest, args: '' });
        break;
      case 'default':
        fallback ??= rest;
        break;
      case 'menu': {
        const [, title] = /^label\s+(.*)/i.exec(rest) ?? [];
        if (label && title) label.title = title.replaceAll('^', '');
        if (label && /^default$/i.test(rest)) fallback = label.name;
        break;
      }
      case 'kernel':
      case 'linux':
        if (label) label.kernel = rest;
        break;
      case 'initrd':
        if (label) label.ramdisk = rest;
        break;
      case 'append':
        if (label) setArguments(label, rest);
        break;
    }
  }
  const entries = labels.flatMap((l): BootEntry[] =>
    l.kernel ? [{ title: l.title ?? l.name, id: l.name, kernel: l.kernel, ramdisk: l.ramdisk, args: l.args }] : [],
  );
  return {
    entries,
    default: Math.max(
      0,
      entries.findIndex((e) => e.id === fallback),
    ),
  };
}

/** The ramdisk may be named among the kernel's arguments. */
function setArguments(label: Label, text: string): void {
  const words = text.split(/\s+/);
  const ramdisk = words.find((w) => w.startsWith('initrd='));
  if (ramdisk) label.ramdisk ??= ramdisk.slice('initrd='.length);
  label.args = words.filter((w) => w !== ramdisk).join(' ');
}
