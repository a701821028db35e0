/** A client of the control API: typed calls, the stream of events, consoles. `connect.ts` finds or starts the host. */
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import type { NumberedEvent } from '../dom0/toolstack/events.ts';
import {
  type ApiErrorBody,
  type CallName,
  CONSOLE_PATH,
  CONSOLE_PROTOCOL,
  callPath,
  EVENTS_PATH,
  type ParamsIn,
  type Result,
} from './schema/index.ts';

/** The host refused, with its own words. */
export class ApiError extends Error {
  readonly body: ApiErrorBody;

  constructor(body: ApiErrorBody) {
    super(body.message);
    this.body = body;
  }
}

/** Nobody listens at the socket. */
export class NoHostError extends Error {
  constructor(socket: string) {
    super(`no host is running (${socket})`);
  }
}

export class Client {
  readonly socket: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });

  constructor(socket: string) {
    this.socket = socket;
  }

  /** `progress`: told what long work is doing. Throws ApiError for what the host refuses, NoHostError without one. */
  async call<N extends CallName>(
    name: N,
    params: ParamsIn<N>,
    progress: (message: string) => void = () => {},
  ): Promise<Result<N>> {
    const body = JSON.stringify(params);
    const response = await this.#open({
      method: 'POST',
      path: callPath(name),
      headers: {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
        Accept: 'application/x-ndjson, application/json',
      },
      body,
    });
    if (!response.headers['content-type']?.startsWith('application/x-ndjson')) {
      const value = JSON.parse(await text(response));
      if (response.statusCode !== 200) throw new ApiError(value.error);
      return value;
    }
    for await (const line of lines(response)) {
      const value = JSON.parse(line);
      if (value.error) throw new ApiError(value.error);
      if (value.progress) progress(value.progress.message);
      else return value.result;
    }
    throw new Error(`the host ended before it answered ${name}`);
  }

  /**
   * Events from now on, or after the one of id `after`. Listening has begun when `listening` is called. Ends when the host
   * does or `signal` aborts.
   */
  async *events(
    options: { after?: number; signal?: AbortSignal; listening?: () => void } = {},
  ): AsyncGenerator<NumberedEvent> {
    const { after, signal, listening } = options;
    const headers: Record<string, string> = after === undefined ? {} : { 'Last-Event-ID': `${after}` };
    const response = await this.#open({ method: 'GET', path: EVENTS_PATH, headers, ownConnection: true });
    if (response.statusCode !== 200) throw new ApiError(JSON.parse(await text(response)).error);
    const abort = () => response.destroy();
    signal?.addEventListener('abort', abort);
    try {
      for await (const line of lines(response)) {
        if (line.startsWith(': listening')) listening?.();
        if (line.startsWith('data: ')) yield JSON.parse(line.slice(6)) as NumberedEvent;
      }
    } catch (error) {
      if (!signal?.aborted && (error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    } finally {
      signal?.removeEventListener('abort', abort);
      response.destroy();
    }
  }

  /** A console of the domain (0: its first) as a stream of bytes both ways; it ends with the domain. */
  console(domain: number | string, number = 0): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const query = new URLSearchParams({ domain: `${domain}`, number: `${number}` });
      const r = request({
        socketPath: this.socket,
        path: `${CONSOLE_PATH}?${query}`,
        headers: { Connection: 'Upgrade', Upgrade: CONSOLE_PROTOCOL },
      });
      r.once('upgrade', (_, socket: Duplex, head: Buffer) => {
        if (head.length > 0) socket.unshift(head);
        resolve(socket);
      });
      r.once('response', (response) => {
        text(response).then((body) => reject(new ApiError(JSON.parse(body).error)), reject);
      });
      r.once('error', (error) => reject(this.#translate(error)));
      r.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }

  #open(options: {
    method: string;
    path: string;
    headers: Record<string, string | number>;
    body?: string;
    ownConnection?: boolean;
  }): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const { method, path, headers, body, ownConnection } = options;
      const agent = ownConnection ? false : this.#agent;
      const r = request({ socketPath: this.socket, method, path, headers, agent });
      r.once('response', resolve);
      r.once('error', (error) => reject(this.#translate(error)));
      r.end(body);
    });
  }

  #translate(error: NodeJS.ErrnoException): Error {
    return error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? new NoHostError(this.socket) : error;
  }
}

async function text(stream: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

async function* lines(stream: IncomingMessage): AsyncGenerator<string> {
  stream.setEncoding('utf8');
  let rest = '';
  for await (const chunk of stream) {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop()!;
    yield* parts;
  }
}
