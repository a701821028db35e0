/*
 * What every measured program shares. A program is BENCH(name) { ... }: it does its work `n` times and returns a checksum
 * of what it computed. bench_start() and bench_stop() stand around the part that is measured, so that preparing does not count.
 */
#pragma once
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench {
  const char *name;
  uint64_t (*run)(unsigned n);
};

/* Defines a program and enters it in the table that main.c searches (a section of pointers). */
#define BENCH(id)                                                                           \
  static uint64_t run_##id(unsigned n);                                                     \
  static const struct bench bench_##id = {#id, run_##id};                                   \
  static const struct bench *const entry_##id __attribute__((used, section("benches"))) = &bench_##id; \
  static uint64_t run_##id(unsigned n)

void bench_start(void);
void bench_stop(void);

/* Ends the program with a message: its result would be worth nothing. */
void bench_fail(const char *what) __attribute__((noreturn));

/* The path of this executable, and what it is called with to do nothing (for exec). */
#define BENCH_SELF "/proc/self/exe"
#define BENCH_NOTHING "nothing"

/* A step of a checksum (FNV-1a over the bytes of a word). */
static inline uint64_t mix(uint64_t sum, uint64_t word) {
  for (int i = 0; i < 8; i++) {
    sum ^= word & 0xff;
    sum *= 0x100000001b3;
    word >>= 8;
  }
  return sum;
}

static inline uint64_t mix_double(uint64_t sum, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return mix(sum, bits);
}

#define MIX_SEED 0xcbf29ce484222325

/* The same pseudo-random numbers everywhere (xorshift64). */
static inline uint64_t random_next(uint64_t *state) {
  uint64_t x = *state;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return *state = x;
}

/* Text that compresses about as well as prose. */
void bench_text(char *to, size_t length);
