/**
 * What most guests run: boots the benchmark's guest, PVH and PV, runs each of its programs once, and names the handlers that were used: the
 * source of src/engine/interpreter/usual.ts.
 *
 * Usage: node bench/usual.ts [--write]
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Host } from '../src/dom0/host.ts';
import { imageAt, kernelElf } from '../src/dom0/toolstack/boot-files.ts';
import { Cache } from '../src/dom0/toolstack/cache.ts';
import { codeOwnersSize } from '../src/engine/area.ts';
import { FUSION_PLAN } from '../src/engine/interpreter/fusion.ts';
import { generateInterpreter } from '../src/engine/interpreter/generate.ts';
import { allEncodings } from '../src/engine/semantics/index.ts';
import { AREA_BASE } from '../src/machine/layout.ts';
import { makeFiles } from './files.ts';
import { BOOT, LINES } from './lines.ts';
import { decodedRecords } from './records.ts';

const MACHINE_MIB = 2048;
/** Code that is dropped, as a kernel's initialization is when it is done, is seen if it lives as long as this. */
const LOOK_MS = 50;
const PROMPT = 'bench> ';

const cache = new Cache();
const dir = cache.scratch();
const files = await makeFiles(dir, [], (line) => console.error(line));
const { names } = generateInterpreter(allEncodings(), FUSION_PLAN);
const found = new Set<string>();

/** The handlers of all records there are now, of the first pCPU. */
function look(host: Host): void {
  const u32 = new Uint32Array(host.machine.memory.buffer);
  const area = AREA_BASE + codeOwnersSize(MACHINE_MIB * 256);
  for (const { rec } of decodedRecords(u32, area)) {
    const name = names.get(u32[rec >>> 2]);
    if (name) found.add(name);
  }
}

async function runGuest(type: 'pv' | 'pvh'): Promise<void> {
  // Translated code would stand in the records.
  const host = await Host.create({ memoryMiB: MACHINE_MIB, pcpus: 1, translationMiB: 0 });
  const elf = await kernelElf(imageAt(files.kernel, cache), 'the kernel', cache, () => {});
  const domain = host.toolstack.create({
    name: type,
    type,
    memoryMiB: 512,
    vcpus: 1,
    kernel: elf,
    kernelName: 'vmlinuz',
    ramdisk: readFileSync(files.ramdisk),
    cmdline: 'console=hvc0',
  });
  let text = '';
  let prompt = Promise.withResolvers<void>();
  domain.console.attach({
    paces: false,
    write: (bytes: Uint8Array) => {
      text += new TextDecoder().decode(bytes);
      if (text.endsWith(PROMPT)) prompt.resolve();
      return true;
    },
  } as never);
  const looking = setInterval(() => look(host), LOOK_MS);
  domain.unpause();
  await prompt.promise;
  for (const { name } of LINES.filter((line) => line.name !== BOOT)) {
    prompt = Promise.withResolvers();
    text = '';
    domain.console.input(Buffer.from(`${name} 1\n`));
    await prompt.promise;
    if (/^failed/m.test(text)) throw new Error(`${type}: ${text}`);
  }
  clearInterval(looking);
  look(host);
  await host.stop();
  console.error(`${type}: ${found.size} handlers so far, of ${names.size} that are no superinstructions`);
}

try {
  await runGuest('pvh');
  await runGuest('pv');
} finally {
  rmSync(dir, { recursive: true });
}
if (process.argv.includes('--write')) {
  const lines = [...found].sort().map((name) => `  '${name}',\n`);
  writeFileSync(
    new URL('../src/engine/interpreter/usual.ts', import.meta.url),
    `/**
 * Handlers that most guests use, besides superinstructions (names as \`handlerName\` gives them): the build keeps machine code of these, and
 * V8 compiles the others when they are called first. Written by bench/usual.ts.
 */
export const USUAL: readonly string[] = [
${lines.join('')}];
`,
  );
}
process.exit(0);
