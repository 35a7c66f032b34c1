/** What the client asks of its surroundings. Nothing in the core names a platform. */

/**
 * Durable storage: some tables of bytes under whole numbers.
 *
 * `commit` is all or nothing and resolves only when the work would survive the loss of power. It
 * rejects with `storage_full` when nothing was written, with `storage` when that is not known. One
 * client has a storage open at a time; opening it twice gives `in_use`. Calls may overlap; commits
 * are carried out in the order of their calls.
 */
export interface Storage {
  /** Rows in the order of their keys, from `first` on, at most `limit` of them. */
  read(table: Table, first: number, limit: number): Promise<readonly Row[]>;
  commit(changes: readonly Change[]): Promise<void>;
  close(): Promise<void>;
}

export const TABLES = ["state", "outbox", "answer", "aside", "arrival", "document"] as const;
export type Table = (typeof TABLES)[number];

export interface Row {
  readonly key: number;
  readonly value: Uint8Array;
}

/** Put a row, or drop all rows of a table with keys from `from` to `to`. */
export type Change =
  | { readonly table: Table; readonly key: number; readonly value: Uint8Array }
  | { readonly table: Table; readonly from: number; readonly to: number };

/** A handler that may be given more than it looks at, as implementations of sockets differ. */
type Handler<E> = { handle(event: E): void }["handle"] | null;

/** As much of a browser's `WebSocket` as is needed, so that any implementation will do. */
export interface Socket {
  binaryType: string;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
  onopen: Handler<unknown>;
  onmessage: Handler<{ readonly data: unknown }>;
  onclose: Handler<{ readonly code: number; readonly reason: string }>;
  onerror: Handler<unknown>;
}

export type OpenSocket = (url: string, subprotocol: string) => Socket;

/** As much of `fetch` as is needed. */
export type Fetch = (url: string, request: Asked) => Promise<Answered>;

export interface Asked {
  method: string;
  headers: Record<string, string>;
  body?: string | Uint8Array<ArrayBuffer>;
  signal: AbortSignal;
}

export interface Answered {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>> | null;
  json(): Promise<unknown>;
}
