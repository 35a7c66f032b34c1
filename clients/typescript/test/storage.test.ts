/** What every storage promises, asked of each in turn. */

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { indexedDbStorage } from "../src/adapters/indexeddb.ts";
import { memoryStorage } from "../src/adapters/memory.ts";
import { sqliteStorage } from "../src/adapters/sqlite.ts";
import { ReplicaError } from "../src/errors.ts";
import type { Change, Row, Storage } from "../src/ports.ts";

const folder = mkdtempSync(join(tmpdir(), "replica-client-"));
after(() => rmSync(folder, { recursive: true }));

let made = 0;
const KINDS: Readonly<Record<string, (name: string) => Promise<Storage>>> = {
  memory: async () => memoryStorage(),
  sqlite: async (name) => sqliteStorage(join(folder, name)),
  indexeddb: (name) => indexedDbStorage(name),
};

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const put = (key: number, value: Uint8Array): Change => ({ table: "outbox", key, value });
const plain = (rows: readonly Row[]): [number, number[]][] =>
  rows.map((row) => [row.key, [...row.value]]);
const isCode = (code: string) => (error: unknown) =>
  error instanceof ReplicaError && error.code === code;

for (const [kind, open] of Object.entries(KINDS)) {
  describe(kind, () => {
    test("rows come back in the order of their keys, from a key on and bounded", async () => {
      const storage = await open(`rows-${made++}`);
      await storage.commit([put(10, bytes(1)), put(2, bytes(2)), put(9, bytes())]);
      assert.deepEqual(plain(await storage.read("outbox", 0, 10)), [
        [2, [2]],
        [9, []],
        [10, [1]],
      ]);
      assert.deepEqual(plain(await storage.read("outbox", 3, 1)), [[9, []]]);
      assert.deepEqual(plain(await storage.read("answer", 0, 10)), []);
      await storage.close();
    });

    test("one commit puts, replaces and drops, in the order of its changes", async () => {
      const storage = await open(`changes-${made++}`);
      await storage.commit([1, 2, 3, 4].map((key) => put(key, bytes(key))));
      await storage.commit([
        { table: "outbox", from: 2, to: 3 },
        put(3, bytes(33)),
        put(4, bytes(44)),
      ]);
      assert.deepEqual(plain(await storage.read("outbox", 0, 10)), [
        [1, [1]],
        [3, [33]],
        [4, [44]],
      ]);
      await storage.commit([{ table: "outbox", from: 0, to: Number.MAX_SAFE_INTEGER }]);
      assert.deepEqual(await storage.read("outbox", 0, 10), []);
      await storage.close();
    });

    test("a failed commit leaves nothing behind", async () => {
      const storage = await open(`failed-${made++}`);
      const impossible = { table: "nowhere", key: 1, value: bytes(1) } as unknown as Change;
      await assert.rejects(storage.commit([put(1, bytes(1)), impossible]));
      assert.deepEqual(await storage.read("outbox", 0, 10), []);
      await storage.close();
    });
  });
}

for (const kind of ["sqlite", "indexeddb"] as const) {
  test(`${kind}: what was committed is there when it is opened again, by one at a time`, async () => {
    const name = `again-${kind}`;
    const first = await KINDS[kind]!(name);
    await first.commit([put(1, bytes(7))]);
    await assert.rejects(KINDS[kind]!(name), isCode("in_use"));
    await first.close();
    const second = await KINDS[kind]!(name);
    assert.deepEqual(plain(await second.read("outbox", 0, 1)), [[1, [7]]]);
    await second.close();
  });
}

test("sqlite: the file is its owner's alone, and another file is not taken for it", async () => {
  const path = join(folder, "own");
  await sqliteStorage(path).close();
  assert.equal(statSync(path).mode & 0o777, 0o600);
  writeFileSync(join(folder, "text"), "not a database at all, but long enough".repeat(100));
  assert.throws(() => sqliteStorage(join(folder, "text")), isCode("corruption"));
  assert.throws(() => sqliteStorage(join(folder, "no", "such", "folder")), isCode("storage"));
});
