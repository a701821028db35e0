/**
 * The decoder's tables as they lie in machine memory, in each engine area (AreaHeader.decoder): made by the build (decode/tables.ts), read
 * by the decoder in the runtime (runtime/decode.ts). Addresses in them count from the tables' start.
 */
import { struct } from '../abi/layout.ts';

/** Bytes for all of it. */
export const DECODER_BYTES = 256 << 10;
/** Guest bytes that are decoded at once: more than a run of RUN_LENGTH of the longest. */
export const CODE_BYTES = 1024;
/** Instructions are at most this long; longer ones raise #GP. */
export const MAX_LENGTH = 15;
/** Longest run of instructions decoded at once. */
export const RUN_LENGTH = 64;

/** What the decoder has found last, on its way into a record. */
export const Found = struct('Found', [
  /** Immediate. */
  ['imm', 'u64'],
  /** Number of the encoding * FORM_KEYS + key of the form. */
  ['key', 'u32'],
  /** Memory operand: numbers of general registers (FOUND_NONE: none, FOUND_RIP), scale, displacement, and number of the segment whose base counts. */
  ['base', 'i32'],
  ['index', 'i32'],
  ['disp', 'i32'],
  ['segment', 'i32'],
  /** Relative branch target; second immediate. */
  ['rel', 'i32'],
  ['imm2', 'i32'],
  /** Slots of registers. */
  ['slots', 'u16', 3],
  /** As in Record32. */
  ['scale', 'u8'],
  ['memory', 'u8'],
  ['addr32', 'u8'],
]);
/** What decoding gives in the place of a length: no such instruction, one that is too long, or more bytes are wanted. */
export const DECODED_UD = 0;
export const DECODED_LONG = -1;
export const DECODED_SHORT = -2;
export const FOUND_NONE = -1;
export const FOUND_RIP = 16;

export const DecoderTables = struct('DecoderTables', [
  /** OpcodeEntry[4 * 256] by map and opcode; the numbers (u16) of the encodings that they list; EncodingEntry[]. */
  ['opcodes', 'u32'],
  ['lists', 'u32'],
  ['encodings', 'u32'],
  /** FormEntry[], and a hash table of their numbers plus 1 (u16, 0: none). */
  ['forms', 'u32'],
  ['form_hash', 'u32'],
  ['form_shift', 'u32'],
  /** Hash table of FusionEntry. */
  ['fusions', 'u32'],
  ['fusion_shift', 'u32'],
  /** The function table's first superinstruction, and how many records (u8) each of them covers. */
  ['first_fused', 'u32'],
  ['fused_lengths', 'u32'],
  ['fused_count', 'u32'],
  ['found', Found],
  /** The bytes that are being decoded. */
  ['code', 'u8', CODE_BYTES],
]);

export const OpcodeEntry = struct('OpcodeEntry', [
  /** Where its encodings are listed, in the order in which they are tried, and how many. */
  ['first', 'u16'],
  ['count', 'u8'],
  /** OPCODE_*. */
  ['flags', 'u8'],
]);
/** Some of its encodings, or all, have a modrm byte. */
export const OPCODE_ANY_MODRM = 1;
export const OPCODE_ALL_MODRM = 2;

export const EncodingEntry = struct('EncodingEntry', [
  /** ENCODING_*. */
  ['flags', 'u32'],
  /** Exact modrm bytes: how many from which on; 0: any. */
  ['modrm', 'u8'],
  ['modrm_span', 'u8'],
  /** Digit in modrm.reg, or NO_DIGIT. */
  ['digit', 'u8'],
  ['operands', 'u8'],
  /** By mode: operand sizes as a set of bits (1 << log2 of the bytes), and log2 of the smallest, and of the largest. */
  ['sizes', 'u8', 2],
  ['smallest', 'u8', 2],
  ['largest', 'u8', 2],
  ['pad', 'u16'],
  /** OperandEntry of up to three. */
  ['operand', 'u32', 3],
]);
export const NO_DIGIT = 0xff;

/** Mandatory prefix: any, none of 66 F2 F3, or that one. */
export const PREFIX_MASK = 7;
export const PREFIX_ANY = 0;
export const PREFIX_NONE = 1;
export const PREFIX_66 = 2;
export const PREFIX_F3 = 3;
export const PREFIX_F2 = 4;
/** Its r/m must be memory, or a register. */
export const ENCODING_MEMORY = 0x8;
export const ENCODING_REGISTER = 0x10;
/** Demands on REX bits. */
export const ENCODING_REX = 0x3e0;
export const ENCODING_W1 = 0x20;
export const ENCODING_W0 = 0x40;
export const ENCODING_B0 = 0x80;
export const ENCODING_R0 = 0x100;
export const ENCODING_R1 = 0x200;
export const ENCODING_HAS_MODRM = 0x400;
/** A memory form is told by modrm's mod. */
export const ENCODING_MAY_ADDRESS = 0x800;
/** It has forms with a memory and with a register operand: part of the form's key. */
export const ENCODING_MEMORY_FORMS = 0x1000;
export const ENCODING_HAS_X = 0x2000;
export const ENCODING_POP = 0x4000;
/** It may have a lock prefix: if its r/m is no memory operand, and if it is. */
export const ENCODING_LOCK = 0x8000;
export const ENCODING_LOCK_RM = 0x1_0000;
export const ENCODING_REP = 0x2_0000;
export const ENCODING_SHORT_ADDRESS = 0x4_0000;
export const ENCODING_D64 = 0x8_0000;
export const ENCODING_CC = 0x10_0000;

/** Of an operand's u32: its code, its size, and a fixed register. */
export const OPERAND_SIZE_SHIFT = 8;
export const OPERAND_FIXED_SHIFT = 16;

/** Operand codes (semantics/table.ts). */
export const OPERAND = {
  E: 0,
  R: 1,
  W: 2,
  U: 3,
  Q: 4,
  N: 5,
  G: 6,
  V: 7,
  P: 8,
  S: 9,
  C: 10,
  D: 11,
  Z: 12,
  fix: 13,
  one: 14,
  sti: 15,
  I: 16,
  J: 17,
  O: 18,
  X: 19,
  Y: 20,
  M: 21,
} as const;

/** Size codes of operands, `none` for the empty one. */
export const OPERAND_SIZE = {
  none: 0,
  b: 1,
  w: 2,
  d: 3,
  ss: 4,
  q: 5,
  sd: 6,
  x: 7,
  u: 8,
  v: 9,
  z: 10,
  bs: 11,
  y: 12,
} as const;

/** How a form is executed. */
export const FormEntry = struct('FormEntry', [
  /** Number of the encoding * FORM_KEYS + key of the form. */
  ['key', 'u32'],
  /** Handlers: plain, with index or segment base, with 32-bit addresses. */
  ['handlers', 'u16', 3],
  /** FORM_*. */
  ['flags', 'u16'],
]);
export const FORM_KEYS = 4096;
/** A run ends with it. */
export const FORM_ENDS = 1;
/** What stands in Record32.imm: a relative branch target, or two immediates. */
export const FORM_BRANCHES = 2;
export const FORM_TWO_IMMEDIATES = 4;

/** One step through the sequences of handlers that have a superinstruction: they are a tree, whose root is 0. */
export const FusionEntry = struct('FusionEntry', [
  /** From which node, with which handler; where that leads to (0: an empty entry). */
  ['node', 'u16'],
  ['handler', 'u16'],
  ['next', 'u16'],
  /** The superinstruction of the sequence up to here, or 0. */
  ['fused', 'u16'],
]);

/** What both hash tables are keyed with, and linear search from there: the highest bits of the product. */
export const HASH_FACTOR = 0x9e37_79b1;
