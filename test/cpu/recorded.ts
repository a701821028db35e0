/** The recorded cases of one file. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { type Group, parseGroups } from './case.ts';
import type { FileName } from './tables.ts';

export function load(file: FileName): Group[] {
  return parseGroups(gunzipSync(readFileSync(new URL(`./recorded/${file}.txt.gz`, import.meta.url))).toString());
}
