/** `xl` in a checkout: what bin/xl.mjs starts. A host process builds what is out of date before it makes a machine. */
import { main } from '../src/xl/main.ts';

// npm runs scripts in the package's folder; names of files are meant from where the user stands.
const cwd = (process.env.npm_lifecycle_event === 'npx' && process.env.INIT_CWD) || process.cwd();
const build = async () => {
  const { build } = await import('./build.ts');
  await build();
};
process.exit(await main(process.argv.slice(2), { cwd, build }));
