/**
 * `GET /v1/events`: what happens, as server-sent events whose data is one JSON value (dom0/toolstack/events.ts). A client
 * that comes back with `Last-Event-ID` gets what it missed, as far as that is kept. One that does not read is cut off.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Host } from '../../dom0/host.ts';
import type { NumberedEvent } from '../../dom0/toolstack/events.ts';
import { RequestError } from './errors.ts';

/** Bytes that may wait for a slow client. */
const MAX_BEHIND = 1 << 20;
const KEEP_ALIVE_MS = 15_000;

export function serveEvents(host: Host, request: IncomingMessage, response: ServerResponse): void {
  const last = request.headers['last-event-id'];
  const after = last === undefined ? undefined : Number(last);
  if (after !== undefined && !Number.isInteger(after))
    throw new RequestError(400, `Last-Event-ID ${last} is no number`);
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  // A first line tells the client that it is listening: it may now do what it wants to see the events of.
  response.write(': listening\n\n');
  const write = (text: string) => {
    response.write(text);
    if (response.writableLength > MAX_BEHIND) response.destroy();
  };
  const stop = host.toolstack.bus.listen((event) => write(format(event)), after);
  const timer = setInterval(() => write(': still here\n\n'), KEEP_ALIVE_MS);
  timer.unref();
  response.once('close', () => {
    stop();
    clearInterval(timer);
  });
}

const format = ({ id, type, ...rest }: NumberedEvent) =>
  `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify({ id, type, ...rest })}\n\n`;
