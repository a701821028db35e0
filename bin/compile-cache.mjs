/**
 * Modules are compiled (and in a checkout stripped of their types) once, and kept in the cache folder, `modules`, safe to delete: a
 * process starts in half the time, a back end's thread in a third. To be imported first. Threads and child processes find
 * it through the environment.
 */
import module from 'node:module';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';

// As src/dom0/toolstack/cache.ts has it, which is not compiled yet.
const xdg = process.env.XDG_CACHE_HOME;
const cache = join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), '.cache'), 'xenolith', 'modules');

if (!process.env.NODE_DISABLE_COMPILE_CACHE) {
  process.env.NODE_COMPILE_CACHE ??= cache;
  module.enableCompileCache?.(process.env.NODE_COMPILE_CACHE); // a Node without it has none
}
