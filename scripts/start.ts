/** `npm start`: builds what is out of date, then boots a kernel as a PV domain (src/start/main.ts). */
import { loadAhead, preparePcpuThreads } from '../src/machine/pcpu-threads.ts';

// One is needed in any case, and takes as long to start as all that comes before it.
preparePcpuThreads(1);
const { build, isUpToDate } = await import('./build.ts');
const built = await isUpToDate();
if (built) loadAhead();
const { main } = await import('../src/start/main.ts');

// npm runs scripts in the package's folder; names of files are meant from where the user stands.
const cwd = (process.env.npm_lifecycle_event === 'start' && process.env.INIT_CWD) || process.cwd();
const status = await main(process.argv.slice(2), cwd, built ? async () => {} : build);
// Not left to an empty event loop: standard input may be a pipe that stays open.
process.exit(status);
