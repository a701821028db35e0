/* An interpreter of a small stack machine, threaded with computed jumps: what scripting languages' inner loops look like. */
#include "bench.h"

enum { PUSH, LOAD, STORE, ADD, SUB, MUL, XOR, SHR, LESS, JUMP, BRANCH, CALL, RETURN, HALT };

enum { TOP, BODY, COLLATZ, STEP, MORE, ODD, NEXT_I, LABELS };
enum { I, X, STEPS, SUM, LIMIT };

static int32_t program[256];

/* Sums the lengths of Collatz's sequences from 0 to LIMIT - 1. Assembled twice: the first pass finds the labels. */
static void assemble(void) {
  int32_t at[LABELS] = {0};
  for (int pass = 0; pass < 2; pass++) {
    int32_t *p = program;
#define EMIT(...)                                \
  do {                                           \
    const int32_t words[] = {__VA_ARGS__};       \
    memcpy(p, words, sizeof words);              \
    p += sizeof words / sizeof words[0];         \
  } while (0)
#define LABEL(l) at[l] = (int32_t)(p - program)
    EMIT(PUSH, 0, STORE, I, PUSH, 0, STORE, SUM);
    LABEL(TOP);
    EMIT(LOAD, I, LOAD, LIMIT, LESS, BRANCH, at[BODY], LOAD, SUM, HALT);
    LABEL(BODY);
    EMIT(CALL, at[COLLATZ], LOAD, SUM, LOAD, STEPS, ADD, STORE, SUM, CALL, at[NEXT_I], JUMP, at[TOP]);
    LABEL(COLLATZ);
    EMIT(LOAD, I, STORE, X, PUSH, 0, STORE, STEPS);
    LABEL(STEP);
    EMIT(PUSH, 1, LOAD, X, LESS, BRANCH, at[MORE], RETURN);
    LABEL(MORE);
    EMIT(LOAD, STEPS, PUSH, 1, ADD, STORE, STEPS);
    EMIT(LOAD, X, PUSH, 1, XOR, LOAD, X, LESS, BRANCH, at[ODD]);
    EMIT(LOAD, X, PUSH, 1, SHR, STORE, X, JUMP, at[STEP]);
    LABEL(ODD);
    EMIT(LOAD, X, PUSH, 3, MUL, PUSH, 1, ADD, STORE, X, JUMP, at[STEP]);
    LABEL(NEXT_I);
    EMIT(LOAD, I, PUSH, 1, ADD, STORE, I, RETURN);
  }
}

static int64_t interpret(const int32_t *code, int64_t limit) {
  static void *const labels[] = {&&push, &&load,   &&store,  &&add,  &&sub,    &&mul, &&xor, &&shr,
                                 &&less, &&jump, &&branch, &&call, &&return_, &&halt};
  int64_t stack[64], locals[8] = {0};
  int32_t returns[16];
  int64_t *sp = stack;
  int32_t *rp = returns;
  const int32_t *pc = code;
  locals[LIMIT] = limit;
#define NEXT goto *labels[*pc++]
#define BINARY(expression)   \
  do {                       \
    int64_t b = *--sp;       \
    int64_t a = sp[-1];      \
    sp[-1] = (expression);   \
    NEXT;                    \
  } while (0)
  NEXT;
push:
  *sp++ = *pc++;
  NEXT;
load:
  *sp++ = locals[*pc++];
  NEXT;
store:
  locals[*pc++] = *--sp;
  NEXT;
add:
  BINARY(a + b);
sub:
  BINARY(a - b);
mul:
  BINARY(a * b);
xor:
  BINARY(a ^ b);
shr:
  BINARY((int64_t)((uint64_t)a >> (b & 63)));
less:
  BINARY(a < b);
jump:
  pc = code + *pc;
  NEXT;
branch:
  if (*--sp) pc = code + *pc;
  else pc++;
  NEXT;
call:
  *rp++ = (int32_t)(pc + 1 - code);
  pc = code + *pc;
  NEXT;
return_:
  pc = code + *--rp;
  NEXT;
halt:
  return *--sp;
}

BENCH(interpret) {
  uint64_t sum = MIX_SEED;
  assemble();
  /* The sequence of 27 has 111 steps, that of 1 none; 0 is never above 1. */
  if (interpret(program, 28) - interpret(program, 27) != 111) bench_fail("the program is wrong");
  bench_start();
  while (n--) sum = mix(sum, (uint64_t)interpret(program, 3000));
  bench_stop();
  return sum;
}
