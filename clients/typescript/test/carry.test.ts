/** Files carried by hand, against the vectors that the server reads too. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { hex, unhex } from "../src/bytes.ts";
import { decodeReceipt, encodeWork } from "../src/carry.ts";
import { ReplicaError } from "../src/errors.ts";
import { decodeEvent } from "../src/event.ts";
import { NOWHERE, type Identity } from "../src/rows.ts";

const known = JSON.parse(
  readFileSync(new URL("../../../tests/vectors/carry.json", import.meta.url), "utf8"),
) as {
  token: string;
  work: { file: string; parts: { epoch: number; first_seq: number; events: string[] }[] };
  receipt: { file: string; head: string; verdicts: unknown[][] };
};
const events = known.work.parts[0]!.events.map(unhex);
const { account, device } = decodeEvent(events[0]!);
const identity: Identity = { account, device, token: known.token, name: "", url: "" };
const receipt = unhex(known.receipt.file);
const isCode = (code: string) => (error: unknown) =>
  error instanceof ReplicaError && error.code === code;

test("the receipt of the vectors is read as it says", async () => {
  const { events: count, answers } = await decodeReceipt(receipt, identity, NOWHERE);
  const [answer] = answers;
  assert.deepEqual([count, answers.length, answer!.epoch, answer!.firstSeq], [2, 1, 1, 1]);
  assert.equal(hex(answer!.head), known.receipt.head);
  const verdicts = answer!.verdicts.map((one) => [one.outcome, one.count, one.first_position]);
  assert.deepEqual(
    verdicts,
    known.receipt.verdicts.map((one) => one.slice(0, 3)),
  );
});

test("a receipt of another device, server or history is refused", async () => {
  const other = { ...identity, device: new Uint8Array(16) };
  await assert.rejects(decodeReceipt(receipt, other, NOWHERE), isCode("forbidden"));
  const guessed = { ...identity, token: "guessed" };
  await assert.rejects(decodeReceipt(receipt, guessed, NOWHERE), isCode("forbidden"));
  const elsewhere = { ...NOWHERE, logId: new Uint8Array(16), generation: 1 };
  await assert.rejects(decodeReceipt(receipt, identity, elsewhere), isCode("misuse"));
  await assert.rejects(
    decodeReceipt(unhex(known.work.file), identity, NOWHERE),
    isCode("malformed"),
  );
});

test("any damage is malformed", async () => {
  for (let at = 0; at < receipt.length; at += 7) {
    const flipped = receipt.slice();
    flipped[at]! ^= 1;
    for (const damaged of [flipped, receipt.slice(0, at)]) {
      await assert.rejects(decodeReceipt(damaged, identity, NOWHERE), isCode("malformed"));
    }
  }
});

test("nothing to carry is said, and a file begins like one", async () => {
  const made = { madeMs: 1, software: "till/1" };
  await assert.rejects(encodeWork(identity, NOWHERE, [], made), isCode("misuse"));
  const file = await encodeWork(identity, NOWHERE, [{ epoch: 1, firstSeq: 1, events }], made);
  assert.equal(hex(file.subarray(0, 8)), known.work.file.slice(0, 16));
});
