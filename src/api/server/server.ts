/**
 * The control API over HTTP: `POST /v1/<group>/<call>` with JSON for synchronous control (schema/index.ts), `GET /v1/events`
 * for what happens (events.ts), and consoles as upgraded byte streams (console.ts). Where it listens is the caller's choice.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Host } from '../../dom0/host.ts';
import {
  API_PREFIX,
  CALLS,
  type CallName,
  CONSOLE_PATH,
  callPath,
  EVENTS_PATH,
  HEALTH_PATH,
  METRICS_PATH,
  OPENAPI_PATH,
} from '../schema/index.ts';
import { serveConsole } from './console.ts';
import { describeError, RequestError } from './errors.ts';
import { serveEvents } from './events.ts';
import type { CallContext, HostProcess } from './handlers/handler.ts';
import { HANDLERS } from './handlers/index.ts';
import { metrics } from './metrics.ts';
import { openApi } from './openapi.ts';

/** Largest body of a request. */
const MAX_BODY = 1 << 20;
const JSON_TYPE = 'application/json';
/** One JSON value a line: `{"progress": …}` any number of times, then `{"result": …}` or `{"error": …}`. */
const LINES_TYPE = 'application/x-ndjson';

const BY_PATH = new Map((Object.keys(CALLS) as CallName[]).map((name) => [callPath(name), name]));

export interface ApiOptions {
  /** The host, once it is there: requests that come earlier wait. */
  readonly host: Promise<Host>;
  readonly process: HostProcess;
  readonly warn: (message: string) => void;
  /** Clients must show it (Authorization: Bearer …): for a server that others than this user can reach. */
  readonly token?: string;
}

export function createApiServer(options: ApiOptions): Server {
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error) => fail(options, response, error));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => {}); // a client that went away
    options.host
      .then((host) => {
        checkToken(options, request);
        serveConsole(host, new URL(request.url ?? '/', 'http://host'), request, socket, head);
      })
      .catch((error) => {
        const { status, body } = describeError(error);
        const text = JSON.stringify({ error: body });
        socket.end(
          `HTTP/1.1 ${status} Refused\r\nContent-Type: ${JSON_TYPE}\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
        );
      });
  });
  return server;
}

/** Compares in a time that does not tell how much of the token was right. */
function checkToken({ token }: ApiOptions, request: IncomingMessage): void {
  if (token === undefined) return;
  const hash = (text: string) => createHash('sha256').update(text).digest();
  const given = request.headers.authorization ?? '';
  if (!timingSafeEqual(hash(given), hash(`Bearer ${token}`))) {
    throw new RequestError(401, 'this needs the host’s token: Authorization: Bearer …');
  }
}

/** What is read without parameters, and how it is made. */
const PLAIN: Readonly<Record<string, { type: string; text: (host: Host) => string }>> = {
  [HEALTH_PATH]: { type: JSON_TYPE, text: () => JSON.stringify({ status: 'ok' }) },
  [METRICS_PATH]: { type: 'text/plain; version=0.0.4; charset=utf-8', text: metrics },
  [OPENAPI_PATH]: { type: JSON_TYPE, text: () => JSON.stringify(openApi()) },
};

async function answer(options: ApiOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  checkToken(options, request);
  const url = new URL(request.url ?? '/', 'http://host');
  const host = await options.host;
  if (Object.hasOwn(PLAIN, url.pathname)) {
    if (request.method !== 'GET') throw new RequestError(405, `${url.pathname} takes GET`);
    const { type, text } = PLAIN[url.pathname];
    response.writeHead(200, { 'Content-Type': type });
    response.end(text(host));
    return;
  }
  if (url.pathname === EVENTS_PATH) {
    if (request.method !== 'GET') throw new RequestError(405, `${EVENTS_PATH} takes GET`);
    return serveEvents(host, request, response);
  }
  if (url.pathname === CONSOLE_PATH) throw new RequestError(426, `${CONSOLE_PATH} takes an upgraded connection`);
  const name = BY_PATH.get(url.pathname);
  if (!name) throw new RequestError(404, `there is no ${url.pathname}; calls begin with ${API_PREFIX}`);
  if (request.method !== 'POST') throw new RequestError(405, `${url.pathname} takes POST`);
  await runCall(options, host, name, request, response);
}

async function runCall(
  options: ApiOptions,
  host: Host,
  name: CallName,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const params = CALLS[name].params.parse(await readJson(request));
  const lines = CALLS[name].progress === true && (request.headers.accept ?? '').includes(LINES_TYPE);
  const line = (value: unknown) => {
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': LINES_TYPE });
    response.write(`${JSON.stringify(value)}\n`);
  };
  const context: CallContext = {
    host,
    process: options.process,
    progress: (message) => lines && line({ progress: { message } }),
  };
  // The table pairs each name with the handler of its parameters; TypeScript cannot follow that through a variable.
  const handler = HANDLERS[name] as (c: CallContext, p: unknown) => unknown;
  if (!lines) {
    send(response, 200, (await handler(context, params)) ?? null);
    return;
  }
  try {
    line({ result: await handler(context, params) });
  } catch (error) {
    line({ error: logged(options, error).body });
  }
  response.end();
}

function send(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value);
  response.writeHead(status, { 'Content-Type': JSON_TYPE, 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

function logged(options: ApiOptions, error: unknown): ReturnType<typeof describeError> {
  const described = describeError(error);
  if (described.unexpected) options.warn(`control API: ${(error as Error).stack ?? error}`);
  return described;
}

function fail(options: ApiOptions, response: ServerResponse, error: unknown): void {
  const { status, body } = logged(options, error);
  if (response.headersSent) response.destroy();
  else send(response, status, { error: body });
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new RequestError(413, `a request has at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RequestError(400, `the body is no JSON: ${(error as Error).message}`);
  }
}
