/** `npm run compile`: the sources as JavaScript in dist/, and what they need in build/: what is published. */
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from './build.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
await build();
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(`${root}node_modules/.bin/tsc`, ['-p', 'tsconfig.dist.json'], {
  cwd: root,
  stdio: ['ignore', 'inherit', 'inherit'],
});
