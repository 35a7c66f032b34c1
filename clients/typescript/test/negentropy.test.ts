/** The asking side of a reconciliation: the exchanges of tests/vectors, and sets without end. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, unhex, utf8 } from "../src/bytes.ts";
import { ReplicaError } from "../src/errors.ts";
import { sha256 } from "../src/event.ts";
import { Initiator, type Item } from "../src/negentropy.ts";

interface Case {
  readonly name: string;
  readonly count: number;
  readonly first_time: string;
  readonly items_per_time: number;
  readonly only_asking: readonly number[];
  readonly only_answering: readonly number[];
  readonly messages: readonly string[];
}

function cases(): readonly Case[] {
  const url = new URL("../../../tests/vectors/negentropy.json", import.meta.url);
  // Times go to 64 bits, which a number of the language does not hold.
  const text = readFileSync(url, "utf8").replaceAll(/("first_time": )(\d+)/g, '$1"$2"');
  return (JSON.parse(text) as { cases: Case[] }).cases;
}

const ident = (k: number): Uint8Array => sha256(utf8(String(k)));
const sorted = (ids: readonly Uint8Array[]): string[] => ids.map(hex).sort();

for (const known of cases()) {
  test(`the asking side says what the reference says: ${known.name}`, () => {
    const items: Item[] = [];
    for (let k = 0; k < known.count; k++) {
      if (known.only_answering.includes(k)) continue;
      const time = BigInt(known.first_time) + BigInt(Math.floor(k / known.items_per_time));
      items.push({ time, id: ident(k) });
    }
    const split = { parts: 16, list: 32, partItems: 1 };
    const asking = new Initiator(items, split, split);
    const have: Uint8Array[] = [];
    const need: Uint8Array[] = [];
    let message: Uint8Array | null = asking.initiate();
    for (let at = 0; at < known.messages.length; at += 2) {
      assert.equal(hex(message!), known.messages[at]);
      const step = asking.reconcile(unhex(known.messages[at + 1]!));
      have.push(...step.have);
      need.push(...step.need);
      message = step.message;
    }
    assert.equal(message, null);
    assert.deepEqual(sorted(have), sorted(known.only_asking.map(ident)));
    assert.deepEqual(sorted(need), sorted(known.only_answering.map(ident)));
  });
}

test("bytes that are no message are told apart from another version", () => {
  const asking = new Initiator([{ time: 0n, id: ident(1) }]);
  asking.initiate();
  const isCode = (code: string) => (error: unknown) =>
    error instanceof ReplicaError && error.code === code;
  assert.throws(() => asking.reconcile(unhex("60")), isCode("upgrade_required"));
  for (const bytes of ["6100", "61000001", "61000003", "618000", "6100000201", "61ffffffffffff"]) {
    assert.throws(() => asking.reconcile(unhex(bytes)), isCode("malformed"), bytes);
  }
});
