/** xenconsoled: the consoles of all domains. Follows Xen's tools/console/daemon. */
import { join } from 'node:path';
import type { ChannelSocket } from './channel-socket.ts';
import type { Served } from './channels.ts';
import { Console } from './console.ts';
import { DEFAULT_LOG_LIMIT, LogFile } from './log.ts';
import { Pty } from './pty.ts';
import type { ConsolePage } from './ring.ts';

export { Console } from './console.ts';
export type { ConsolePage } from './ring.ts';
export { streamViewer, type Viewer } from './viewer.ts';

export interface XenConsoledOptions {
  /** Where the logs go: `guest-<name>.log` and `hypervisor.log`; without it there are none. */
  logDir?: string;
  /** Bytes of a log before it is turned over. */
  logLimit?: number;
  /** As in ConsoleOptions. */
  unlimited?: boolean;
  /** A console has got a pseudo-terminal (its path), where they can be had; without this there are none. */
  onTty?: (domid: number, path: string) => void;
  /** A log that cannot be written. */
  onLogError?: (path: string, error: Error) => void;
}

export class XenConsoled {
  readonly #options: XenConsoledOptions;
  readonly #consoles = new Map<number, Served>();
  readonly #hypervisorLog: LogFile | undefined;

  constructor(options: XenConsoledOptions = {}) {
    this.#options = options;
    this.#hypervisorLog = this.#open('hypervisor.log');
  }

  /** Text of the hypervisor's own console, what guests print early included: for its log. */
  hypervisorOutput(text: string): void {
    this.#hypervisorLog?.write(new TextEncoder().encode(text));
  }

  /** Serves a domain's console from now on. The page must stay the domain's until `release`. */
  introduce(domid: number, name: string, page: ConsolePage): Console {
    this.release(domid);
    const served = this.serve(name, page);
    this.#consoles.set(domid, served);
    if (served.tty !== undefined) this.#options.onTty?.(domid, served.tty);
    served.console.event();
    return served.console;
  }

  /** A console with a log and a pty of its own, or at `socket`; the page is left alone once it is closed. */
  serve(name: string, page: ConsolePage, socket?: ChannelSocket): Served {
    const { unlimited, onTty } = this.#options;
    const console = new Console(page, { log: this.#open(`guest-${fileName(name)}.log`), unlimited });
    const pty = onTty && !socket ? Pty.open(console) : undefined;
    const leave = socket?.serve(console);
    const close = () => {
      console.close();
      pty?.close();
      leave?.();
    };
    return { console, tty: pty?.path, close };
  }

  /** The domain signalled its console's event channel. */
  event(domid: number): void {
    this.#consoles.get(domid)?.console.event();
  }

  console(domid: number): Console | undefined {
    return this.#consoles.get(domid)?.console;
  }

  /** Takes the last output; the page is not touched after this. */
  release(domid: number): void {
    const served = this.#consoles.get(domid);
    if (!served) return;
    this.#consoles.delete(domid);
    served.close();
  }

  /** No console is served any more. */
  close(): void {
    for (const domid of [...this.#consoles.keys()]) this.release(domid);
    this.#hypervisorLog?.close();
  }

  #open(file: string): LogFile | undefined {
    const { logDir, logLimit = DEFAULT_LOG_LIMIT, onLogError } = this.#options;
    if (logDir === undefined) return undefined;
    const path = join(logDir, file);
    return new LogFile(path, logLimit, (error) => onLogError?.(path, error));
  }
}

/** A domain's name as part of a file name. */
export const fileName = (name: string) => name.replaceAll(/[^A-Za-z0-9._-]/g, '_');
