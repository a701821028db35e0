/** The thread of boot-thread.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { bootFiles, FileError } from './boot-files.ts';
import { type BootMessage, type BootRequest, ERRORS } from './boot-thread.ts';
import { Cache } from './cache.ts';
import { CacheFile } from './cache-file.ts';

const port = parentPort!;
const { spec, cacheDir } = workerData as BootRequest;
const say = (message: BootMessage, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

/** In memory of its own, so that it can be handed over without a copy. */
function own(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = bytes.buffer instanceof ArrayBuffer && bytes.byteLength === bytes.buffer.byteLength;
  return whole ? new Uint8Array(bytes.buffer as ArrayBuffer) : Uint8Array.from(bytes);
}

try {
  const files = await bootFiles(spec, new Cache(cacheDir), (message) => say({ k: 'progress', message }));
  const ramdisk = files.ramdisk && own(files.ramdisk);
  const kernel = files.kernel instanceof CacheFile ? files.kernel.known : own(files.kernel);
  const memory = [kernel, ramdisk].flatMap((x) => (x instanceof Uint8Array ? x.buffer : []));
  say({ k: 'done', files: { ...files, kernel, ramdisk } }, [...new Set(memory)]);
} catch (error) {
  const { name, message, stack } = error as Error;
  const type = error instanceof FileError ? 'FileError' : name;
  // What is no error of the user's is told with where it happened.
  say({ k: 'error', type, message: Object.hasOwn(ERRORS, type) ? message : (stack ?? message) });
}
