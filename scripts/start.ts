/** `npm start`: builds what is out of date, then boots a kernel as a PV domain (src/start/main.ts). */
import { build } from './build.ts';

// npm runs scripts in the package's folder; names of files are meant from where the user stands.
const cwd = (process.env.npm_lifecycle_event === 'start' && process.env.INIT_CWD) || process.cwd();
try {
  await build();
} catch (error) {
  console.error(`build: ${(error as Error).message}`);
  process.exit(1);
}
const { main } = await import('../src/start/main.ts');
process.exitCode = await main(process.argv.slice(2), cwd);
