/** The version of this package. */
import { readFileSync } from 'node:fs';

/** From package.json, which is two folders up both from the sources and from what they are compiled to. */
export const VERSION: string = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version;
