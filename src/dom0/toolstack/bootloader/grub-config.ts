/**
 * GRUB 2's grub.cfg, as far as choosing a kernel needs it (GNU GRUB manual, "Shell-like scripting"): `menuentry` and
 * `submenu` blocks with their `linux` and `initrd` commands, and `set default`. Scripts are not run: conditions are not
 * evaluated, the first assignment of `default` that is not a variable counts, as in pygrub; an entry is named by GRUB's numbers,
 * its title or its id, in submenus after those of the menus, joined by ">".
 */
import type { BootEntry, BootMenu } from './entry.ts';

const KERNEL_COMMANDS = ['linux', 'linux16', 'linuxefi'];
const RAMDISK_COMMANDS = ['initrd', 'initrd16', 'initrdefi'];

interface Block {
  readonly title?: string;
  readonly id?: string;
  /** `menuentry`; other blocks are submenus and functions. */
  readonly entry: boolean;
  /** Where GRUB counts it: "1>0" is the first of the second item's menu. Functions have none. */
  readonly position?: string;
  /** Items of its own menu so far. */
  items: number;
  kernel?: string;
  ramdisk?: string;
  args: string;
}

export function parseGrubConfig(text: string): BootMenu {
  const entries: BootEntry[] = [];
  const positions: string[] = [];
  const top: Block = { entry: false, items: 0, args: '' };
  const open: Block[] = [];
  let fallback: string | undefined;
  for (const words of commands(text)) {
    if (words[0] === '}') {
      const block = open.pop();
      if (block?.entry && block.kernel !== undefined) {
        const titles = [...open, block].flatMap((b) => b.title ?? []);
        entries.push({
          title: titles.join('>'),
          id: block.id,
          kernel: block.kernel,
          ramdisk: block.ramdisk,
          args: block.args,
        });
        positions.push(block.position ?? '');
      }
      continue;
    }
    if (words.at(-1) === '{') {
      const item = words[0] === 'menuentry' || words[0] === 'submenu';
      const menu = open.findLast((b) => b.position !== undefined) ?? top;
      const place = [menu.position, menu.items].filter((p) => p !== undefined).join('>');
      if (item) menu.items++;
      open.push({
        entry: words[0] === 'menuentry',
        title: item ? words[1] : undefined,
        id: idOf(words),
        position: item ? place : undefined,
        items: 0,
        args: '',
      });
      continue;
    }
    const block = open.findLast((b) => b.entry);
    if (block && KERNEL_COMMANDS.includes(words[0]) && words.length > 1) {
      block.kernel = words[1];
      block.args = words.slice(2).join(' ');
    } else if (block && RAMDISK_COMMANDS.includes(words[0]) && words.length > 1) {
      block.ramdisk = words[1];
    } else if (words[0] === 'set' && words[1]?.startsWith('default=')) {
      const value = words[1].slice('default='.length);
      if (!value.includes('$')) fallback ??= value;
    }
  }
  const wanted = fallback ?? '0';
  const last = wanted.split('>').at(-1);
  const found = [
    positions.indexOf(wanted),
    entries.findIndex((e) => e.title === wanted || e.id === last || e.title.split('>').at(-1) === last),
  ];
  return { entries, default: found.find((i) => i >= 0) ?? 0 };
}

function idOf(words: readonly string[]): string | undefined {
  const at = words.findIndex((w) => w === '--id' || w === '$menuentry_id_option');
  return at > 0 ? words[at + 1] : undefined;
}

/** The words of each command, quotes and escapes resolved; the braces of blocks stand alone or last. */
function* commands(text: string): Generator<string[]> {
  let words: string[] = [];
  let word: string | undefined;
  const endWord = () => {
    if (word !== undefined) words.push(word);
    word = undefined;
  };
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '\\') {
      i++;
      if (text[i] !== '\n') word = (word ?? '') + (text[i] ?? '');
    } else if (c === "'" || c === '"') {
      word ??= '';
      for (i++; i < text.length && text[i] !== c; i++) {
        if (c === '"' && text[i] === '\\' && i + 1 < text.length) i++;
        word += text[i];
      }
    } else if (c === '#' && word === undefined) {
      while (i + 1 < text.length && text[i + 1] !== '\n') i++;
    } else if (c === '\n' || c === ';') {
      endWord();
      if (words.length) yield words;
      words = [];
    } else if (c === ' ' || c === '\t' || c === '\r') {
      endWord();
    } else if (word === undefined && (c === '{' || c === '}') && /[\s;]|^$/.test(text[i + 1] ?? '')) {
      if (c === '}' && words.length) {
        yield words;
        words = [];
      }
      yield [...words, c];
      words = [];
    } else {
      word = (word ?? '') + c;
    }
  }
  endWord();
  if (words.length) yield words;
}
