/** Bytes of console output that are kept for a domain, as `console/limit` in XenStore says (xl's default). */
export const CONSOLE_LIMIT = 1 << 20;
