/** `npm start`: builds what is out of date, then boots a kernel as a PV domain (src/start/main.ts). */
import { main } from '../src/start/main.ts';
import { build } from './build.ts';

// npm runs scripts in the package's folder; names of files are meant from where the user stands.
const cwd = (process.env.npm_lifecycle_event === 'start' && process.env.INIT_CWD) || process.cwd();
const status = await main(process.argv.slice(2), cwd, () => build());
// Not left to an empty event loop: standard input may be a pipe that stays open.
process.exit(status);
