/**
 * `npm start`: one domain, its console on the user's terminal. A thin face of the host (src/dom0/host.ts), which knows how
 * to run domains; this knows what a user at a terminal expects.
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Host } from '../dom0/host.ts';
import { HypercallError } from '../dom0/kernel/hypercalls.ts';
import { Cache } from '../dom0/toolstack/cache.ts';
import type { Domain } from '../dom0/toolstack/domain.ts';
import { ToolstackError } from '../dom0/toolstack/error.ts';
import { wholeOf } from '../dom0/toolstack/kernel/bytes.ts';
import { KernelError } from '../dom0/toolstack/kernel/kernel.ts';
import { supervise } from '../dom0/toolstack/lifecycle.ts';
import { TranslationFile } from '../dom0/translations.ts';
import { ImageError, type Images, loadImages } from './images.ts';
import { help, type Options, parseOptions, UsageError } from './options.ts';
import type { ProfileRecorder } from './profile.ts';
import { decoderStats, StatsRecorder } from './stats.ts';
import { Terminal } from './terminal.ts';

/** Exit status: the guest powered off or the user left; something went wrong; the options are wrong. */
const DONE = 0;
const FAILED = 1;
const USAGE = 2;

/** What makes a person press Ctrl-C, close the window, or stop a service. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const SIGNAL_STATUS: Record<(typeof SIGNALS)[number], number> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };

/** Errors that say what the user can do; of others the place is shown. */
const EXPECTED = [UsageError, ImageError, KernelError, ToolstackError, HypercallError];

/** The guest can see its UUID (XENVER_guest_handle). */
const DETERMINISTIC_UUID = '00000000-0000-4000-8000-000000000001';

/** Lines of the hypervisor's log that are shown when something goes wrong. */
const LOG_TAIL = 40;

const say = (line: string) => process.stderr.write(`${line}\n`);

/**
 * Returns the exit status. `cwd`: where names of files are relative to. `build` brings what is generated up to date; it is
 * called once the options are known to be right.
 */
export async function main(args: readonly string[], cwd: string, build: () => Promise<void>): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(`npm start: ${error.message}`);
    say('`npm start -- --help` lists the options');
    return USAGE;
  }
  if (options.help) {
    process.stdout.write(`${help()}\n`);
    return DONE;
  }
  try {
    await build();
    const images = await loadImages(options, cwd, new Cache(), (line) => say(`npm start: ${line}`));
    const { profile, symbols } = options;
    let recorder: ProfileRecorder | undefined;
    if (profile !== undefined) {
      const { ProfileRecorder } = await import('./profile.ts');
      recorder = new ProfileRecorder(profile, symbols, wholeOf(images.elf), cwd);
    }
    return await new Run(options, images, recorder).run();
  } catch (error) {
    const expected = EXPECTED.some((kind) => error instanceof kind);
    say(`npm start: ${expected ? (error as Error).message : ((error as Error).stack ?? error)}`);
    return FAILED;
  }
}

/** One run of the command: a host and, one after the other, the domains that a guest's reboots make. */
class Run {
  readonly #options: Options;
  readonly #images: Images;
  readonly #stats = new StatsRecorder();
  readonly #profile: ProfileRecorder | undefined;
  readonly #log: string[] = [];
  /** How the guest ended, if that was no shutdown: told when the machine has stopped. */
  #ended: string | undefined;
  readonly #terminal: Terminal;
  /** Resolved by Ctrl-], a signal, or the failure of the machine, with the exit status. */
  readonly #interrupted: Promise<number>;
  #interrupt: (status: number) => void = () => {};

  constructor(options: Options, images: Images, profile: ProfileRecorder | undefined) {
    this.#options = options;
    this.#profile = profile;
    this.#images = images;
    this.#interrupted = new Promise((resolve) => {
      this.#interrupt = resolve;
    });
    const streams = { input: process.stdin, output: process.stdout };
    this.#terminal = new Terminal(
      streams,
      () => this.#interrupt(DONE),
      (bytes) => this.#stats.console(bytes),
    );
  }

  /** Unless told: no more than the one guest can use, and the host keeps a core for the control domain. */
  #pcpus(): number {
    const { pcpus, vcpus, deterministic } = this.#options;
    if (pcpus !== undefined) return pcpus;
    return deterministic ? 1 : Math.max(1, Math.min(vcpus, availableParallelism() - 1));
  }

  async run(): Promise<number> {
    const handlers = SIGNALS.map((signal) => [signal, () => this.#interrupt(SIGNAL_STATUS[signal])] as const);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    const host = await Host.create({
      bare: true,
      memoryMiB: this.#options.machineMemory,
      pcpus: this.#pcpus(),
      deterministic: this.#options.deterministic,
      // Deterministic time has nothing to do with how long things take.
      timing: this.#options.stats && !this.#options.deterministic,
      translationMiB: this.#options.noTranslate ? 0 : this.#options.translationMemory,
      translations: new TranslationFile(join(new Cache().dir, 'translations')),
      logDir: this.#options.logDir,
      log: (text) => this.#hypervisorLog(text),
      warn: (message) => say(`npm start: ${message}\r`),
    });
    host.onFailure((error) => {
      this.#report(`the machine failed: ${error.message}`);
      this.#interrupt(FAILED);
    });
    try {
      this.#terminal.start();
      this.#profile?.start(host);
      if (this.#terminal.interactive) say('npm start: Ctrl-] leaves\r');
      return await this.#guests(host);
    } finally {
      this.#terminal.stop();
      const report = this.#options.stats ? this.#stats.report(host) : [];
      if (this.#profile) report.push(...this.#profile.finish());
      await host.stop();
      // What processors said of the end has come by now.
      if (this.#ended) this.#report(this.#ended);
      // What the decoders did is known now.
      if (this.#options.stats) report.push(...decoderStats(host.machine.decoderStats));
      for (const line of report) say(line);
      for (const [signal, handler] of handlers) process.off(signal, handler);
    }
  }

  async #guests(host: Host): Promise<number> {
    const { name, type, memory, vcpus, append } = this.#options;
    const first = host.toolstack.create({
      name,
      type,
      uuid: this.#options.deterministic ? DETERMINISTIC_UUID : undefined,
      memoryMiB: memory,
      vcpus,
      kernel: this.#images.elf,
      kernelName: this.#images.kernelName,
      ramdisk: this.#images.ramdisk,
      ramdiskName: this.#images.ramdiskName,
      cmdline: append + this.#terminal.environment,
    });
    const connect = (domain: Domain) => {
      this.#terminal.connect(domain.console);
      this.#profile?.name(domain.domid, domain.name);
    };
    // Its failure ends the run in any case.
    await Promise.race([host.machine.started.catch(() => {}), this.#interrupted]);
    connect(first);
    const { done } = supervise(host.toolstack, first, { started: connect, crashes: host.crashes });
    first.unpause();
    const end = await Promise.race([done, this.#interrupted]);
    if (typeof end === 'number') return end;
    if (end === 'poweroff') return DONE;
    this.#ended = `the guest ended: ${end}`;
    return FAILED;
  }

  /**
   * What a guest prints before its console works (`earlyprintk=xen`) goes to the hypervisor; the user sees it at once. The
   * hypervisor's own lines are kept for when something goes wrong.
   */
  #hypervisorLog(text: string): void {
    for (const line of text.split('\n')) {
      const early = /^\(d\d+\) (.*)$/.exec(line);
      if (early) this.#terminal.print(early[1]);
      else if (line !== '') this.#log.push(line);
    }
    this.#log.splice(0, Math.max(0, this.#log.length - LOG_TAIL));
  }

  /** A failure, with what the hypervisor said last. */
  #report(what: string): void {
    for (const line of ['', ...this.#log, `npm start: ${what}`]) say(`${line}\r`);
  }
}
