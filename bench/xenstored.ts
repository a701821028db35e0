/**
 * Reads a second from xenstored over its socket: by a program that waits for each answer, as Xen's own tools do (xenstored.c,
 * for which gcc is needed), and by a client on a thread of its own with several requests under way. Beside the figure it is
 * designed for.
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
/** Requests under way at a time; 1 is the program. */
const DEPTHS = [1, 32];
const RUNS = 3;

export interface StoreFigure {
  readonly depth: number;
  readonly readsPerSecond: number;
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

/** Seconds for READS reads, each after the answer to the last. */
async function runProgram(program: string, socketPath: string): Promise<number> {
  const { stdout } = await promisify(execFile)(program, [socketPath, PATH, `${READS}`]);
  return Number(stdout);
}

function runThread(socketPath: string, depth: number): Promise<number> {
  const worker = new Worker(new URL(import.meta.url), { workerData: { socket: socketPath, depth } });
  return new Promise((resolve, reject) => {
    worker.once('message', resolve);
    worker.once('error', reject);
  });
}

export async function measureStore(): Promise<StoreFigure[]> {
  const dir = mkdtempSync(join(tmpdir(), 'xenstored-'));
  const store = new XenStore();
  store.write(PATH, VALUE);
  const server = await XenStoreSocket.listen(store, join(dir, 'socket'));
  try {
    const program = join(dir, 'client');
    execFileSync('gcc', ['-O2', '-o', program, fileURLToPath(new URL('xenstored.c', import.meta.url))]);
    const figures: StoreFigure[] = [];
    for (const depth of DEPTHS) {
      const seconds: number[] = [];
      for (let run = 0; run < RUNS; run++) {
        seconds.push(await (depth === 1 ? runProgram(program, server.path) : runThread(server.path, depth)));
      }
      seconds.sort((a, b) => a - b);
      figures.push({ depth, readsPerSecond: READS / seconds[RUNS >> 1] });
    }
    return figures;
  } finally {
    await server.close();
    rmSync(dir, { recursive: true });
  }
}

export function storeTable(figures: readonly StoreFigure[]): string[] {
  return figures.map(({ depth, readsPerSecond }) => {
    const judged = readsPerSecond >= BUDGET ? 'at least' : 'UNDER';
    return `xenstored reads, ${String(depth).padStart(2)} at a time${readsPerSecond.toFixed(0).padStart(12)} a second   ${judged} ${BUDGET}`;
  });
}

if (!isMainThread && workerData?.socket) parentPort!.postMessage(await client(workerData.socket, workerData.depth));
else if (import.meta.main) for (const line of storeTable(await measureStore())) console.log(line);
