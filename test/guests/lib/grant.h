/* What the guests about grant tables share: structures of the public header (grant_table.h), calls, statuses. */
#pragma once
#include "lib.h"

struct entry {
  u16 flags;
  domid_t domid;
  u32 frame;
};
struct map {
  u64 host_addr;
  u32 flags, ref;
  domid_t dom;
  int16_t status;
  u32 handle;
  u64 dev_bus_addr;
};
struct unmap {
  u64 host_addr, dev_bus_addr;
  u32 handle;
  int16_t status;
};
struct copy_end {
  u64 ref_or_gmfn;
  domid_t domid;
  u16 offset;
};
struct copy {
  struct copy_end source, dest;
  u16 len, flags;
  int16_t status;
};
enum { host = 2, ro = 4, application = 8, contains_pte = 16 };
enum { op_map, op_unmap, op_setup, op_dump, op_transfer, op_copy, op_query, op_replace, op_set_version, op_status_frames, op_get_version, op_swap, op_cache };

enum { permit_access = 1, accept_transfer = 2, transitive = 3, readonly = 4, reading = 8, writing = 16, sub_page = 256 };
enum { transfer_committed = 4, transfer_completed = 8 };
/* Version 2; of a transitive grant trans_domid lies at page_off and the reference at frame. */
struct entry2 {
  u16 flags;
  domid_t domid;
  u16 page_off, length;
  u64 frame;
};

static inline s64 op(u32 cmd, void *arg, u32 n) { return HC3(grant_table_op, cmd, P(arg), n); }
static inline void status(const char *what, int16_t got, int16_t want) {
  printf("%s: status %d\n", what, (s64)got);
  if (got != want) {
    printf("  (not %d)\n", (s64)want);
    fail(what);
  }
}
static inline struct map map(u64 addr, u32 flags, u32 ref, domid_t dom) {
  struct map m = {addr, flags, ref, dom, 99, 0, 0};
  s64 rc = op(op_map, &m, 1);
  if (rc) check("map_grant_ref itself", rc, 0);
  return m;
}
static inline struct unmap unmap(u64 addr, u32 handle) {
  struct unmap u = {addr, 0, handle, 99};
  s64 rc = op(op_unmap, &u, 1);
  if (rc) check("unmap_grant_ref itself", rc, 0);
  return u;
}
static inline int16_t copy(u64 src, domid_t sd, u16 so, u64 dst, domid_t dd, u16 dof, u16 len, u16 flags) {
  struct copy c = {{src, sd, so}, {dst, dd, dof}, len, flags, 99};
  s64 rc = op(op_copy, &c, 1);
  if (rc) check("copy itself", rc, 0);
  return c.status;
}

/* Our own id: the remote end of an unbound channel that we open towards ourselves. */
static inline domid_t own_domid(void) {
  struct {
    domid_t dom, remote;
    u32 port;
  } a = {DOMID_SELF, DOMID_SELF, 0};
  HC2(event_channel_op, EVTCHN_alloc_unbound, P(&a));
  struct {
    domid_t dom;
    u32 port, status, vcpu;
    domid_t unbound;
  } st = {DOMID_SELF, a.port, 0, 0, 0};
  HC2(event_channel_op, EVTCHN_status, P(&st));
  return st.unbound;
}

/* Frames of the table (at least `n`) into `frames`; the status of setup_table. */
static inline int16_t setup_table(u64 *frames, u32 n) {
  struct {
    domid_t dom;
    u32 nr;
    int16_t status;
    u64 frames;
  } s = {DOMID_SELF, n, 99, P(frames)};
  s64 rc = op(op_setup, &s, 1);
  return rc ? (int16_t)rc : s.status;
}

/* 0 or -errno; *version becomes the one in force. */
static inline s64 set_version(u32 *version) { return op(op_set_version, version, 1); }
