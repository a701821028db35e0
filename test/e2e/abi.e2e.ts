/** The recorded facts of test/abi/offsets.json against the public headers of this machine (Debian: libxen-dev, gcc). */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { ask, questions, RECORDED } from '../abi/offsets.ts';

function compiler(): boolean {
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    return existsSync('/usr/include/xen/xen.h');
  } catch {
    return false;
  }
}

test.skipIf(!compiler())('offsets.json is what the headers say', async () => {
  expect(ask(await questions())).toEqual(JSON.parse(readFileSync(RECORDED, 'utf8')));
});
