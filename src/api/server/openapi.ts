/** The OpenAPI description of the control API, made from the table of calls. */
import { z } from 'zod';
import {
  type ApiErrorBody,
  CALLS,
  type CallName,
  CONSOLE_PATH,
  CONSOLE_PROTOCOL,
  callPath,
  EVENTS_PATH,
} from '../schema/index.ts';
import { VERSION } from '../version.ts';

const KINDS: readonly ApiErrorBody['kind'][] = ['usage', 'not-found', 'refused', 'hypervisor', 'internal'];

const ERROR = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['kind', 'message'],
      properties: {
        kind: { enum: KINDS },
        message: { type: 'string' },
        errno: { type: 'string', description: 'name of the error number, where the hypervisor gave one' },
        problems: {
          type: 'array',
          items: { type: 'object', properties: { key: { type: 'string' }, message: { type: 'string' } } },
        },
      },
    },
  },
};

const json = (schema: unknown) => ({ 'application/json': { schema } });
const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' });
  return rest;
};

function operation(name: CallName): unknown {
  const { summary, params, result, progress } = CALLS[name];
  const answer = schemaOf(result, 'output');
  const lines = {
    'application/x-ndjson': {
      schema: { description: 'one of {"progress"}, {"result"}, {"error"} a line; the last is no progress' },
    },
  };
  return {
    post: {
      operationId: name,
      summary,
      tags: [name.split('.')[0]],
      requestBody: { required: true, content: json(schemaOf(params, 'input')) },
      responses: {
        200: { description: 'done', content: { ...json(answer), ...(progress ? lines : {}) } },
        default: { description: 'refused, or failed', content: json({ $ref: '#/components/schemas/Error' }) },
      },
    },
  };
}

export function openApi(): unknown {
  const calls = Object.fromEntries((Object.keys(CALLS) as CallName[]).map((name) => [callPath(name), operation(name)]));
  return {
    openapi: '3.1.0',
    info: { title: 'Xenolith control API', version: VERSION },
    paths: {
      ...calls,
      [EVENTS_PATH]: {
        get: {
          summary: 'what happens, as server-sent events; Last-Event-ID brings what was missed',
          responses: {
            200: { description: 'events', content: { 'text/event-stream': { schema: { type: 'string' } } } },
          },
        },
      },
      [CONSOLE_PATH]: {
        get: {
          summary: `a console, as a connection upgraded to ${CONSOLE_PROTOCOL}: bytes both ways`,
          parameters: [
            { name: 'domain', in: 'query', required: true, schema: { type: 'string' } },
            { name: 'number', in: 'query', schema: { type: 'integer' } },
          ],
          responses: { 101: { description: 'the console' } },
        },
      },
    },
    components: {
      schemas: { Error: ERROR },
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'over TCP only' } },
    },
  };
}
