/** Longest sequence of handlers that becomes a superinstruction. */
export const MAX_FUSED = 4;
