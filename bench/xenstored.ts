/**
 * Reads a second from xenstored over its socket: by one program that waits for each answer, as Xen's own tools do (xenstored.c,
 * for which gcc is needed), by eight of them at once, and by a client on a thread of its own with several requests under way.
 * Beside the figure it is designed for, and beside what two plain programs get that do nothing but answer each other
 * (echo-pair.c): with one client that waits, each read is two wake-ups of a process, which the machine sets the price of.
 *
 * Usage: node bench/xenstored.ts   (npm run bench -- --xenstored)
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { XS, XsdSockmsg } from '../src/abi/xs_wire.ts';
import { XenStoreSocket } from '../src/dom0/xenstored/socket.ts';
import { XenStore } from '../src/dom0/xenstored/xenstored.ts';

const BUDGET = 50_000;
const READS = 200_000;
const PATH = '/local/domain/1/device/vbd/51712/state';
const VALUE = '4';
const RUNS = 3;
/** Programs that read at once, and requests that the thread has under way. */
const PROGRAMS = 8;
const DEPTH = 32;

export interface StoreFigure {
  readonly what: string;
  /** Round trips, of whoever waits for them. */
  readonly perSecond: number;
  /** Beside that of the plain pair: for what does the same. */
  readonly ofPair?: number;
  /** The pair is nobody's to judge. */
  readonly judged: boolean;
}

function request(): Buffer {
  const path = Buffer.from(`${PATH}\0`);
  const head = Buffer.alloc(XsdSockmsg.size);
  head.writeUInt32LE(XS.READ, XsdSockmsg.off.type);
  head.writeUInt32LE(path.length, XsdSockmsg.off.len);
  return Buffer.concat([head, path]);
}

/** On the client's thread: seconds for READS reads. */
function client(socketPath: string, depth: number): Promise<number> {
  const answer = XsdSockmsg.size + VALUE.length;
  const one = request();
  return new Promise((resolve, reject) => {
    const socket = connect(socketPath);
    let sent = 0;
    let bytes = 0;
    const send = (count: number) => {
      const now = Math.min(count, READS - sent);
      sent += now;
      if (now > 0) socket.write(Buffer.concat(Array<Buffer>(now).fill(one)));
    };
    const start = performance.now();
    socket.on('connect', () => send(depth));
    socket.on('error', reject);
    socket.on('data', (d) => {
      const before = Math.floor(bytes / answer);
      bytes += d.length;
      const done = Math.floor(bytes / answer);
      if (done < READS) return send(done - before);
      socket.destroy();
      resolve((performance.now() - start) / 1000);
    });
  });
}

/** Seconds for so many reads, each after the answer to the last. */
async function runProgram(program: string, socketPath: string, reads = READS): Promise<number> {
  const { stdout } = await promisify(execFile)(program, [socketPath, PATH, `${reads}`]);
  return Number(stdout);
}

/** The same with several programs, which share the reads: from the start of the first to the end of the last. */
async function runPrograms(program: string, socketPath: string): Promise<number> {
  const start = performance.now();
  await Promise.all(Array.from({ length: PROGRAMS }, () => runProgram(program, socketPath, READS / PROGRAMS)));
  return (performance.now() - start) / 1000;
}

/** Seconds for as many round trips of as many bytes between two plain programs. */
async function runPair(program: string): Promise<number> {
  const sizes = [request().length, XsdSockmsg.size + VALUE.length];
  const { stdout } = await promisify(execFile)(program, [...sizes, READS].map(String));
  return Number(stdout);
}

function runThread(socketPath: string, depth: number): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { socket: socketPath, depth } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

function compile(dir: string, name: string): string {
  const program = join(dir, name);
  execFileSync('gcc', ['-O2', '-o', program, fileURLToPath(new URL(`${name}.c`, import.meta.url))]);
  return program;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

export async function measureStore(): Promise<StoreFigure[]> {
  const dir = mkdtempSync(join(tmpdir(), 'xenstored-'));
  const store = new XenStore();
  store.write(PATH, VALUE);
  const server = await XenStoreSocket.listen(store, join(dir, 'socket'));
  try {
    const pair = compile(dir, 'echo-pair');
    const program = compile(dir, 'xenstored');
    const seconds: Record<'pair' | 'one' | 'several' | 'deep', number[]> = { pair: [], one: [], several: [], deep: [] };
    // One after the other, so that what else the machine does meets them all.
    for (let run = 0; run < RUNS; run++) {
      seconds.pair.push(await runPair(pair));
      seconds.one.push(await runProgram(program, server.path));
      seconds.several.push(await runPrograms(program, server.path));
      seconds.deep.push(await runThread(server.path, DEPTH));
    }
    const rate = (of: keyof typeof seconds) => READS / median(seconds[of]);
    return [
      { what: 'two plain programs', perSecond: rate('pair'), judged: false },
      { what: 'xenstored, 1 client', perSecond: rate('one'), ofPair: rate('one') / rate('pair'), judged: true },
      { what: `xenstored, ${PROGRAMS} clients`, perSecond: rate('several'), judged: true },
      { what: `xenstored, ${DEPTH} under way`, perSecond: rate('deep'), judged: true },
    ];
  } finally {
    await server.close();
    rmSync(dir, { recursive: true });
  }
}

export function storeTable(figures: readonly StoreFigure[]): string[] {
  return figures.map(({ what, perSecond, ofPair, judged }) => {
    const verdict = judged ? `   ${perSecond >= BUDGET ? 'at least' : 'UNDER'} ${BUDGET}` : '';
    const ratio = ofPair === undefined ? '' : `, ${ofPair.toFixed(2)} of the plain programs`;
    return `${what.padEnd(24)}${perSecond.toFixed(0).padStart(10)} a second${verdict}${ratio}`;
  });
}

if (!isMainThread && workerData?.socket) parentPort!.postMessage(await client(workerData.socket, workerData.depth));
else if (import.meta.main) for (const line of storeTable(await measureStore())) console.log(line);
