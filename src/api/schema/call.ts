/** A call of the control API: its name is its key in a table (schema/index.ts), and everything else about it is here. */
import type { z } from 'zod';

export interface Call<P extends z.ZodObject = z.ZodObject, R extends z.ZodType = z.ZodType> {
  readonly summary: string;
  readonly params: P;
  readonly result: R;
  /** It may take long and says how far it is, to clients that accept application/x-ndjson. */
  readonly progress?: boolean;
}

/** Keeps the types of both schemas. */
export const call = <P extends z.ZodObject, R extends z.ZodType>(c: Call<P, R>): Call<P, R> => c;
