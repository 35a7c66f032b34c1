/** A storage that forgets with the process: for tests and for trying things out. */

import { ReplicaError } from "../errors.ts";
import { TABLES, type Change, type Row, type Storage, type Table } from "../ports.ts";

export function memoryStorage(): Storage {
  const tables = new Map<Table, Map<number, Uint8Array>>(TABLES.map((table) => [table, new Map()]));
  const rowsOf = (table: Table): Map<number, Uint8Array> => {
    const rows = tables.get(table);
    if (rows === undefined) throw new ReplicaError("misuse", `there is no table ${table}`);
    return rows;
  };
  return {
    async read(table: Table, first: number, limit: number): Promise<readonly Row[]> {
      const keys = [...rowsOf(table).keys()].filter((key) => key >= first).sort((a, b) => a - b);
      return keys.slice(0, limit).map((key) => ({ key, value: rowsOf(table).get(key)!.slice() }));
    },
    async commit(changes: readonly Change[]): Promise<void> {
      const found = changes.map((change) => [change, rowsOf(change.table)] as const);
      for (const [change, rows] of found) {
        if ("value" in change) rows.set(change.key, change.value.slice());
        else
          for (const key of [...rows.keys()])
            if (key >= change.from && key <= change.to) rows.delete(key);
      }
    },
    async close(): Promise<void> {},
  };
}
