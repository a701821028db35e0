/** What is kept of a domain that crashed: what it printed last, and its memory where the configuration says so. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Hypercalls } from '../kernel/hypercalls.ts';
import { fileName } from '../xenconsoled/xenconsoled.ts';
import type { Domain, DomainEnd } from './domain.ts';

/** Bytes of the last output that are kept. */
const LAST_WORDS = 16 * 1024;
/** How a kernel says that it gives up, or what went wrong before. The first kind found counts. */
const CAUSES = [/Kernel panic - not syncing: .*/, /BUG: .*/, /Oops: .*/, /general protection fault.*/];

export interface CrashOptions {
  readonly xen: Hypercalls;
  /** Where `guest-<name>.crash` and `dump/<name>.core` go; without it neither is kept. */
  readonly dir?: string;
  readonly warn: (message: string) => void;
}

export class CrashRecords {
  readonly #options: CrashOptions;

  constructor(options: CrashOptions) {
    this.#options = options;
  }

  /** Keeps the domain's last output and tells of its end. To be called before it is destroyed. */
  note(domain: Domain, end: DomainEnd): void {
    const { dir, warn } = this.#options;
    const text = new TextDecoder().decode(domain.console.recent(LAST_WORDS));
    const cause = causeOf(text);
    warn(`domain ${domain.name} (${domain.domid}) ended: ${end}${cause ? `: ${cause}` : ''}`);
    domain.tellCrash(cause ?? '');
    if (dir === undefined) return;
    this.#try(`the last output of ${domain.name} is not kept`, () => {
      const path = join(dir, `guest-${fileName(domain.name)}.crash`);
      mkdirSync(dir, { recursive: true });
      writeFileSync(path, `${domain.name} (${domain.domid}) ended: ${end}, ${new Date().toISOString()}\n${text}`);
    });
  }

  /** Writes the domain's memory to a file, replacing an older one of its name. A failure is told, and no more. */
  async dump(domain: Domain): Promise<void> {
    const { dir, warn, xen } = this.#options;
    const lost = `the memory of ${domain.name} is not kept`;
    if (dir === undefined) {
      warn(`${lost}: this host has no folder for it`);
      return;
    }
    const path = join(dir, 'dump', `${fileName(domain.name)}.core`);
    try {
      mkdirSync(dirname(path), { recursive: true });
      const { dumpCore } = await import('./core/dump-core.ts');
      await dumpCore(xen, domain, path);
      warn(`the memory of ${domain.name} is in ${path}`);
    } catch (error) {
      warn(`${lost}: ${(error as Error).message}`);
    }
  }

  #try(lost: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#options.warn(`${lost}: ${(error as Error).message}`);
    }
  }
}

/** The line of a kernel's output that says why it stopped. */
export function causeOf(text: string): string | undefined {
  for (const kind of CAUSES) {
    const found = kind.exec(text);
    if (found) return found[0].trim();
  }
  return undefined;
}
