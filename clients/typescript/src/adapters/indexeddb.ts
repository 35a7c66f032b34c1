/** A durable storage for browsers: one IndexedDB database, strict durability, one tab at a time. */

import { ReplicaError, wordsOf } from "../errors.ts";
import { TABLES, type Change, type Row, type Storage, type Table } from "../ports.ts";

const VERSION = 2;

/**
 * Opens or creates the database `name`. Ask `navigator.storage.persist()` too, and tell the user
 * when the browser may evict what is stored.
 *
 * Throws `in_use` when another tab has it open (where the browser has Web Locks), `storage` when
 * the browser gives none.
 */
export async function indexedDbStorage(name: string): Promise<Storage> {
  const release = await lock(`replica:${name}`);
  let database: IDBDatabase;
  try {
    database = await opened(name);
  } catch (cause) {
    release();
    throw translated(cause);
  }
  return {
    async read(table: Table, first: number, limit: number): Promise<readonly Row[]> {
      try {
        const store = database.transaction(table).objectStore(table);
        const range = IDBKeyRange.lowerBound(first);
        const [keys, values] = await Promise.all([
          result(store.getAllKeys(range, limit)),
          result(store.getAll(range, limit)),
        ]);
        return keys.map((key, at) => ({ key: key as number, value: values[at] as Uint8Array }));
      } catch (cause) {
        throw translated(cause);
      }
    },
    async commit(changes: readonly Change[]): Promise<void> {
      try {
        await write(database, changes);
      } catch (cause) {
        throw translated(cause);
      }
    },
    async close(): Promise<void> {
      database.close();
      release();
    },
  };
}

function write(database: IDBDatabase, changes: readonly Change[]): Promise<void> {
  const transaction = database.transaction(TABLES, "readwrite", { durability: "strict" });
  const done = completed(transaction);
  try {
    for (const change of changes) {
      const store = transaction.objectStore(change.table);
      if ("value" in change) store.put(change.value.slice(), change.key);
      else store.delete(IDBKeyRange.bound(change.from, change.to));
    }
  } catch (cause) {
    transaction.abort();
    return done.catch(() => Promise.reject(cause));
  }
  return done;
}

/** Holds the name until the returned function is called. */
async function lock(name: string): Promise<() => void> {
  const locks = globalThis.navigator?.locks;
  if (locks === undefined) return () => undefined;
  return new Promise((resolve, reject) => {
    void locks.request(name, { ifAvailable: true }, (held) => {
      if (held === null) {
        reject(new ReplicaError("in_use", "it is open in another tab"));
        return undefined;
      }
      return new Promise<void>((release) => resolve(release));
    });
  });
}

function opened(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(name, VERSION);
  request.onupgradeneeded = () => {
    const { result } = request;
    for (const table of TABLES)
      if (!result.objectStoreNames.contains(table)) result.createObjectStore(table);
  };
  return result(request);
}

function result<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("no reason given"));
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error ?? new Error("the write was given up"));
  });
}

function translated(cause: unknown): ReplicaError {
  if (cause instanceof ReplicaError) return cause;
  if (cause instanceof DOMException && cause.name === "QuotaExceededError") {
    return new ReplicaError("storage_full", "no room left on this device; nothing was saved", {
      hint: "free some space and record again; everything saved before is safe",
      cause,
    });
  }
  return new ReplicaError("storage", `the storage cannot be used: ${wordsOf(cause)}`, { cause });
}
