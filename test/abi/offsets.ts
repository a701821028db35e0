/**
 * Asks the C compiler for the sizes, offsets and numbers of the public headers: prints a C program from the tables'
 * names, compiles it against /usr/include/xen (Debian: libxen-dev) and reads what it prints.
 *
 * `node test/abi/offsets.ts` records the answer in test/abi/offsets.json.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { abiModules } from '../../scripts/gen-abi.ts';
import type { Struct } from '../../src/abi/layout.ts';
import { C_FIELD, C_NAME, C_PREFIX, C_TYPE, NOT_IN_HEADERS } from './c-names.ts';

export const RECORDED = fileURLToPath(new URL('offsets.json', import.meta.url));

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** What is compared: `Struct.field` offset, `Struct` size, `Struct.field#` size of the field, `TABLE.name` value. */
export type Answers = Record<string, string>;

interface Question {
  readonly key: string;
  readonly c: string;
  /** What the tables say. */
  readonly ours: string;
}

const HEADERS = [
  'xen.h',
  'memory.h',
  'event_channel.h',
  'grant_table.h',
  'sched.h',
  'vcpu.h',
  'version.h',
  'features.h',
  'elfnote.h',
  'callback.h',
  'nmi.h',
  'physdev.h',
  'platform.h',
  'domctl.h',
  'sysctl.h',
  'errno.h',
  'arch-x86/cpuid.h',
  'hvm/params.h',
  'hvm/hvm_op.h',
  'arch-x86/hvm/start_info.h',
  'io/console.h',
  'io/xs_wire.h',
  'io/ring.h',
  'io/xenbus.h',
  'io/blkif.h',
  'io/netif.h',
];

function structQuestions(name: string, s: Struct): Question[] {
  const type = name in C_TYPE ? C_TYPE[name] : `struct ${s.name}`;
  if (type === null || s.name.endsWith('_u')) return [];
  const out: Question[] = [];
  // A ring's entries follow its head; a structure that ends in "u" of fixed room has the union's size.
  if (name !== 'Sring') out.push({ key: name, c: `sizeof(${type})`, ours: `${s.size}` });
  for (const f of s.fields) {
    const field = `${name}.${f.name}` in C_FIELD ? C_FIELD[`${name}.${f.name}`] : f.name;
    if (field === null) continue;
    out.push({ key: `${name}.${f.name}`, c: `offsetof(${type}, ${field})`, ours: `${f.offset}` });
    if (f.name === 'u' || f.name.startsWith('_') || typeof f.type !== 'string') continue;
    if (`${name}.${f.name}` === 'ReservedDeviceMemoryMap.dev') continue;
    out.push({
      key: `${name}.${f.name}#`,
      c: `sizeof(((${type} *)0)->${field})`,
      ours: `${f.stride * f.count}`,
    });
  }
  return out;
}

/** Every comparable fact in the tables. */
export async function questions(): Promise<Question[]> {
  const out: Question[] = [];
  for (const file of abiModules()) {
    const exports: Record<string, unknown> = await import(pathToFileURL(join(ROOT, file)).href);
    for (const [name, value] of Object.entries(exports)) {
      if (typeof value === 'number' || typeof value === 'bigint') {
        const c = name in C_NAME ? C_NAME[name] : name;
        if (c !== null) out.push({ key: name, c, ours: `${BigInt.asIntN(64, BigInt(value))}` });
      } else if (typeof value === 'object' && value !== null && 'fields' in value) {
        out.push(...structQuestions(name, value as Struct));
      } else if (name in C_PREFIX) {
        for (const [k, v] of Object.entries(value as Record<string, number | bigint>)) {
          if (NOT_IN_HEADERS.has(`${name}.${k}`)) continue;
          out.push({ key: `${name}.${k}`, c: `${C_PREFIX[name]}${k}`, ours: `${BigInt.asIntN(64, BigInt(v))}` });
        }
      }
    }
  }
  return out;
}

function program(qs: readonly Question[]): string {
  return `#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#define __XEN_TOOLS__ 1
#define __XEN_INTERFACE_VERSION__ 0x00041100
${HEADERS.map((h) => `#include <xen/${h}>`).join('\n')}
struct test_entry { uint32_t x; };
DEFINE_RING_TYPES(test, struct test_entry, struct test_entry);
int main(void) {
${qs.map((q) => `  printf("%s %lld\\n", "${q.key}", (long long)(${q.c}));`).join('\n')}
  return 0;
}
`;
}

/** The headers' answers. Throws with the compiler's words if gcc or the headers are missing. */
export function ask(qs: readonly Question[]): Answers {
  const dir = mkdtempSync(join(tmpdir(), 'xen-abi-'));
  try {
    const c = join(dir, 'offsets.c');
    const exe = join(dir, 'offsets');
    writeFileSync(c, program(qs));
    execFileSync('gcc', ['-w', '-o', exe, c], { stdio: ['ignore', 'inherit', 'inherit'] });
    const lines = execFileSync(exe, { encoding: 'utf8' }).trim().split('\n');
    return Object.fromEntries(lines.map((l) => l.split(' ') as [string, string]));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(RECORDED, `${JSON.stringify(ask(await questions()), null, 1)}\n`);
}
