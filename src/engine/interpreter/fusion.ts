/**
 * Which pairs of handlers become superinstructions: the pairs that a boot of Debian's kernel runs most often
 * (names as `handlerName` gives them). One dispatch saved per pair.
 */
import type { FusionPlan } from './generate.ts';

export const FUSION_PLAN: FusionPlan = { pairs: [] };
