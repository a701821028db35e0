/** Those who look at a console's output: a terminal, a socket, a test. */
import type { Writable } from 'node:stream';

export interface Viewer {
  /** True: the guest waits for this viewer, and nothing is lost. False: what the viewer is too slow for is skipped. */
  readonly paces: boolean;
  /** Takes the bytes in any case; false asks for a pause until the `resume` given to `onDrain` is called. */
  write(bytes: Uint8Array): boolean;
  onDrain(resume: () => void): void;
}

/** A stream as a viewer. The stream is not ended, and its errors are its owner's to handle. */
export function streamViewer(stream: Writable, paces: boolean): Viewer {
  return {
    paces,
    // After an error or its end a stream never drains: what comes then is dropped, and the guest goes on.
    write: (bytes) => !stream.writable || stream.write(bytes),
    onDrain: (resume) => {
      const events = ['drain', 'close', 'error'] as const;
      const once = () => {
        for (const event of events) stream.off(event, once);
        resume();
      };
      for (const event of events) stream.on(event, once);
    },
  };
}
