/* List, matrix and state machine in turns: small working sets, branches that depend on data. */
#include "bench.h"

struct node {
  struct node *next;
  int16_t key, data;
};

enum { NODES = 500, ORDER = 24, TEXT = 2000 };

static struct node pool[NODES];
static int32_t a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];
static char text[TEXT];

static struct node *make_list(uint64_t *state) {
  struct node *head = NULL;
  for (int i = 0; i < NODES; i++) {
    pool[i].key = (int16_t)random_next(state);
    pool[i].data = (int16_t)i;
    pool[i].next = head;
    head = &pool[i];
  }
  return head;
}

static struct node *merge(struct node *x, struct node *y) {
  struct node head, *tail = &head;
  while (x && y) {
    struct node **from = y->key < x->key ? &y : &x;
    tail = tail->next = *from;
    *from = (*from)->next;
  }
  tail->next = x ? x : y;
  return head.next;
}

static struct node *sort_list(struct node *list) {
  if (!list || !list->next) return list;
  struct node *slow = list, *fast = list->next;
  while (fast && fast->next) {
    slow = slow->next;
    fast = fast->next->next;
  }
  struct node *second = slow->next;
  slow->next = NULL;
  return merge(sort_list(list), sort_list(second));
}

static struct node *reverse(struct node *list) {
  struct node *done = NULL;
  while (list) {
    struct node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static uint64_t lists(uint64_t *state) {
  uint64_t sum = MIX_SEED;
  struct node *list = reverse(sort_list(make_list(state)));
  for (struct node *p = list; p; p = p->next) {
    if (p->next && p->next->key > p->key) bench_fail("the list is not sorted");
    sum = sum * 31 + (uint16_t)(p->key ^ p->data);
  }
  return sum;
}

static uint64_t matrices(uint64_t *state) {
  uint64_t sum = 0;
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      a[i][j] = (int16_t)random_next(state);
      b[i][j] = (int16_t)(*state >> 16);
    }
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      int32_t s = 0;
      for (int k = 0; k < ORDER; k++) s += (a[i][k] * b[k][j]) >> 4;
      c[i][j] = s;
    }
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) sum = sum * 33 + (uint32_t)(c[i][j] ^ c[j][i] >> 3);
  return sum;
}

enum state { START, SIGN, INTEGER, POINT, FRACTION, EXPONENT, WORD, INVALID, STATES };

/* Classifies the words of a text as numbers and others, a character at a time. */
static uint64_t scan(uint64_t *state) {
  uint32_t seen[STATES] = {0};
  enum state s = START;
  bench_text(text, TEXT);
  for (int i = 0; i < 40; i++) text[random_next(state) % TEXT] = "+-.e 0123456789"[*state >> 20 & 15 ? *state >> 24 & 7 : 4];
  for (int i = 0; i < TEXT; i++) {
    char ch = text[i];
    if (ch == ' ' || ch == '\n' || ch == ',') {
      seen[s]++;
      s = START;
      continue;
    }
    switch (s) {
      case START:
        s = ch >= '0' && ch <= '9' ? INTEGER : ch == '+' || ch == '-' ? SIGN : ch == '.' ? POINT : WORD;
        break;
      case SIGN:
        s = ch >= '0' && ch <= '9' ? INTEGER : ch == '.' ? POINT : INVALID;
        break;
      case INTEGER:
        s = ch >= '0' && ch <= '9' ? INTEGER : ch == '.' ? FRACTION : ch == 'e' ? EXPONENT : INVALID;
        break;
      case POINT:
      case FRACTION:
        s = ch >= '0' && ch <= '9' ? FRACTION : ch == 'e' && s == FRACTION ? EXPONENT : INVALID;
        break;
      case EXPONENT:
        s = ch >= '0' && ch <= '9' ? EXPONENT : INVALID;
        break;
      case WORD:
        if (ch >= '0' && ch <= '9') s = INVALID;
        break;
      default:
        break;
    }
  }
  uint64_t sum = 0;
  for (int i = 0; i < STATES; i++) sum = sum * 1009 + seen[i];
  return sum;
}

BENCH(mixed) {
  uint64_t state = 99, sum = MIX_SEED;
  bench_start();
  while (n--) {
    sum = mix(sum, lists(&state));
    sum = mix(sum, matrices(&state));
    sum = mix(sum, scan(&state));
  }
  bench_stop();
  return sum;
}
