/**
 * Runs a TypeScript file of this project on the Node that it needs: `node scripts/run.mjs scripts/start.ts [arguments]`.
 * Plain JavaScript, because an older Node cannot read the rest. `npm ci` installs Node 24 into node_modules.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const WANTED = 24;
const major = (version) => Number(/^v?(\d+)/.exec(version)?.[1] ?? 0);
const [script, ...args] = process.argv.slice(2);
const local = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url));

if (!script) {
  console.error('usage: node scripts/run.mjs FILE [arguments]');
  process.exitCode = 2;
} else if (major(process.version) >= WANTED) {
  process.argv.splice(1, 1);
  await import('../bin/compile-cache.mjs');
  await import(pathToFileURL(resolve(script)).href);
} else if (existsSync(local) && major(spawnSync(local, ['--version'], { encoding: 'utf8' }).stdout ?? '') >= WANTED) {
  const child = spawnSync(local, [resolve(script), ...args], { stdio: 'inherit' });
  if (child.signal) process.kill(process.pid, child.signal);
  process.exitCode = child.status ?? 1;
} else {
  console.error(`This needs Node ${WANTED} or later; this is ${process.version}, and there is none in node_modules.`);
  console.error('Run `npm ci` (without --omit=optional), which brings one for x86-64 Linux, or install Node 24.');
  process.exitCode = 1;
}
