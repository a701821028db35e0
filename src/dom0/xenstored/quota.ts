/** Limits on what an unprivileged domain may hold. The figures are C xenstored's defaults (4.17, `xenstored --help`). */
export interface Quota {
  /** Nodes owned. */
  nodes: number;
  /** Bytes of one node: header, permissions, value and child names. */
  nodeSize: number;
  /** Entries in one node's permissions. */
  perms: number;
  watches: number;
  transactions: number;
  /** Nodes touched in one transaction. */
  transactionNodes: number;
  /** Requests answered whose answer the client has not read. */
  outstanding: number;
  /** Bytes of nodes, watches, transactions and unread answers together. */
  memory: number;
}

export const DEFAULT_QUOTA: Readonly<Quota> = {
  nodes: 1000,
  nodeSize: 2048,
  perms: 5,
  watches: 128,
  transactions: 10,
  transactionNodes: 1024,
  outstanding: 20,
  memory: 2.5 * 1024 * 1024,
};
