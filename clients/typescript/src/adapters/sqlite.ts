/** A durable storage for node: one SQLite file, one connection, every commit flushed. */

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { closeSync, openSync } from "node:fs";
import { ReplicaError, wordsOf } from "../errors.ts";
import { TABLES, type Change, type Row, type Storage, type Table } from "../ports.ts";

const APPLICATION_ID = 0x5250_4c54; // "RPLT": a storage of this client, not any other database

const SQLITE_BUSY = 5;
const SQLITE_FULL = 13;
const SQLITE_NOTADB = 26;

interface Statements {
  readonly read: StatementSync;
  readonly put: StatementSync;
  readonly drop: StatementSync;
}

/**
 * Opens or creates the file at `path`, readable by its owner only: the token lies in it.
 *
 * Throws `in_use` when another program has it open, `corruption` when it is something else.
 */
export function sqliteStorage(path: string): Storage {
  let database: DatabaseSync;
  let tables: ReadonlyMap<Table, Statements>;
  try {
    if (path !== ":memory:") closeSync(openSync(path, "a", 0o600));
    database = new DatabaseSync(path, { timeout: 0 });
    tables = prepare(database);
  } catch (cause) {
    throw translated(cause);
  }
  const of = (table: Table): Statements => tables.get(table)!;
  return {
    async read(table: Table, first: number, limit: number): Promise<readonly Row[]> {
      try {
        return of(table).read.all(first, limit) as unknown as Row[];
      } catch (cause) {
        throw translated(cause);
      }
    },
    async commit(changes: readonly Change[]): Promise<void> {
      try {
        database.exec("BEGIN IMMEDIATE");
        for (const change of changes) {
          if ("value" in change) of(change.table).put.run(change.key, change.value);
          else of(change.table).drop.run(change.from, change.to);
        }
        database.exec("COMMIT");
      } catch (cause) {
        if (database.isTransaction) database.exec("ROLLBACK");
        throw translated(cause);
      }
    },
    async close(): Promise<void> {
      if (database.isOpen) database.close();
    },
  };
}

function prepare(database: DatabaseSync): ReadonlyMap<Table, Statements> {
  database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;");
  // What left a device's scope is not to be read in its file either.
  database.exec("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; BEGIN IMMEDIATE;");
  const found = database.prepare("PRAGMA application_id").get()?.["application_id"];
  const some = database.prepare("SELECT count(*) AS count FROM sqlite_schema").get()?.["count"];
  if (found !== APPLICATION_ID && some !== 0) {
    database.close();
    throw new ReplicaError("corruption", "the file is no storage of this client");
  }
  database.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  const statements = TABLES.map((table) => {
    database.exec(
      `CREATE TABLE IF NOT EXISTS ${table} (key INTEGER PRIMARY KEY, value BLOB NOT NULL)`,
    );
    return [
      table,
      {
        read: database.prepare(
          `SELECT key, value FROM ${table} WHERE key >= ? ORDER BY key LIMIT ?`,
        ),
        put: database.prepare(`INSERT OR REPLACE INTO ${table} VALUES (?, ?)`),
        drop: database.prepare(`DELETE FROM ${table} WHERE key BETWEEN ? AND ?`),
      },
    ] as const;
  });
  database.exec("COMMIT");
  return new Map(statements);
}

function translated(cause: unknown): ReplicaError {
  if (cause instanceof ReplicaError) return cause;
  const { errcode } = Object(cause) as { errcode?: number };
  const primary = (errcode ?? 0) & 0xff;
  if (primary === SQLITE_FULL) {
    return new ReplicaError("storage_full", "no room left on this device; nothing was saved", {
      hint: "free some space and record again; everything saved before is safe",
      cause,
    });
  }
  if (primary === SQLITE_BUSY)
    return new ReplicaError("in_use", "it is open in another program", { cause });
  if (primary === SQLITE_NOTADB) {
    return new ReplicaError("corruption", "the file is no storage of this client", { cause });
  }
  return new ReplicaError("storage", `the storage cannot be used: ${wordsOf(cause)}`, { cause });
}
