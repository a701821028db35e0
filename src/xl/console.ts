/** The user's terminal on a domain's console: every key goes to the guest, Ctrl-] leaves. */
import type { Duplex } from 'node:stream';

/** Ctrl-], as xenconsole's. */
export const DEFAULT_ESCAPE = 0x1d;

/** Resolves when the user has left or the domain is gone, with the terminal as it was before. */
export function attachConsole(stream: Duplex, leave = DEFAULT_ESCAPE): Promise<void> {
  const { stdin, stdout } = process;
  const terminal = stdin.isTTY === true;
  if (terminal) stdin.setRawMode(true);
  return new Promise((resolve) => {
    const finish = () => {
      stdin.off('data', typed);
      stdin.off('end', ended);
      stdin.pause();
      if (terminal) stdin.setRawMode(false);
      stream.destroy();
      resolve();
    };
    const typed = (bytes: Buffer) => {
      const at = terminal ? bytes.indexOf(leave) : -1;
      const rest = at < 0 ? bytes : bytes.subarray(0, at);
      if (rest.length > 0 && !stream.write(rest)) {
        stdin.pause();
        stream.once('drain', () => stdin.resume());
      }
      if (at >= 0) finish();
    };
    // The end of a file or pipe ends what is typed, not what is shown.
    const ended = () => stdin.off('data', typed);
    stdin.on('data', typed);
    stdin.on('end', ended);
    stream.on('data', (bytes: Buffer) => {
      if (stdout.write(bytes)) return;
      stream.pause();
      stdout.once('drain', () => stream.resume());
    });
    stream.once('end', finish);
    stream.once('error', finish);
    stream.once('close', finish);
  });
}
