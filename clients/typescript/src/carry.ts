/** Work carried by hand: the file a device writes, and the receipt it takes (docs/carry-file.md). */

import { hmac } from "@noble/hashes/hmac.js";
import { sha256 as hash } from "@noble/hashes/sha2.js";
import { compare, concat, same, utf8, type Bytes } from "./bytes.ts";
import { malformed, ReplicaError } from "./errors.ts";
import { bytesOf, countOf, HASH_BYTES, sha256 } from "./event.ts";
import { DECISIONS, encodeFrame, VERDICTS, type Decision, type Verdict } from "./frames.ts";
import type { Chain, Journal } from "./journal.ts";
import {
  CARRY_BODY_BYTES_MAX,
  CARRY_FILE_BYTES_MAX,
  PUSH_BYTES_TARGET,
  PUSH_EVENTS_MAX,
} from "./limits.ts";
import { pack, unpack, type Value } from "./msgpack.ts";
import type { Answer, Identity, Place } from "./rows.ts";
import { bound, deflate, inflate } from "./streams.ts";

const MAGIC = Uint8Array.of(0x89, 0x52, 0x50, 0x4c, 0x43, 0x0d, 0x0a, 0x1a);
const FORMAT = 1;
const Sort = { work: 1, receipt: 2 } as const;
const Frame = { chain: 50, answered: 51 } as const;

/** What became of own events from `firstSeq` on; `head` is the id of the last of them. */
export interface Answered {
  readonly epoch: number;
  readonly firstSeq: number;
  readonly head: Uint8Array;
  readonly verdicts: readonly Verdict[];
  readonly decisions: readonly Decision[];
}

interface Opened {
  readonly header: readonly Value[];
  readonly frames: readonly (readonly Value[])[];
}

/** A file of own events. Throws `misuse` when there are none, `too_large` above a bound. */
export async function encodeWork(
  identity: Identity,
  place: Place,
  chains: readonly Chain[],
  made: { readonly madeMs: number; readonly software: string },
): Promise<Bytes> {
  const count = chains.reduce((sum, { events }) => sum + events.length, 0);
  if (count === 0) {
    throw new ReplicaError("misuse", "everything is on the server; there is nothing to carry");
  }
  const { account, device } = identity;
  const { madeMs, software } = made;
  const header = pack([
    ...[FORMAT, Sort.work, account, device, madeMs, software, count],
    ...[place.logId, place.generation],
  ]);
  const frames: Uint8Array[] = [];
  let number = 0;
  for (const chain of chains) {
    frames.push(pack([Frame.chain, chain.epoch]));
    for (const { firstSeq, events } of pushes(chain)) {
      frames.push(encodeFrame("PUSH", { number: ++number, first_seq: firstSeq, events }));
    }
  }
  const body = concat(...frames.flatMap((frame) => [lengthOf(frame, 4), frame]));
  bound("the work in a file", body.length, CARRY_BODY_BYTES_MAX);
  const opened = concat(MAGIC, lengthOf(header, 2), header, await deflate(body));
  const sealed = concat(opened, seal(opened, identity.token));
  const file = concat(sealed, sha256(sealed));
  bound("a file", file.length, CARRY_FILE_BYTES_MAX);
  return file;
}

/** The answers in a receipt for `identity`. Throws `malformed`, `forbidden` or `misuse`. */
export async function decodeReceipt(
  file: Uint8Array,
  identity: Identity,
  place: Place,
): Promise<{ readonly events: number; readonly answers: readonly Answered[] }> {
  const { header, frames } = await open(file, identity);
  const [, sort, account, device, , , events, logId, generation] = header;
  if (sort !== Sort.receipt) throw malformed("the file is no receipt");
  if (!same(bytesOf(account), identity.account) || !same(bytesOf(device), identity.device)) {
    throw new ReplicaError("forbidden", "the receipt is another device's");
  }
  const known = same(bytesOf(logId), place.logId) && generation === place.generation;
  if (place.logId.length > 0 && !known) {
    throw new ReplicaError("misuse", "the receipt is about another history of the server's log", {
      hint: "sync, or export again and import that",
    });
  }
  return { events: countOf(events), answers: frames.map(answered) };
}

/**
 * Stores the answers of a receipt; gives those that were waited for. Throws `misuse`, with nothing
 * stored, when one is about an event that is not here.
 */
export async function takeAnswers(
  journal: Journal,
  answers: readonly Answered[],
): Promise<readonly Answer[]> {
  const mine = answers.filter(({ epoch, verdicts }) => {
    return epoch === journal.head.epoch && verdicts.length > 0;
  });
  const before = journal.answeredSeq;
  let reached = before;
  for (const { firstSeq, head, verdicts } of mine) {
    const last = firstSeq + verdicts.reduce((sum, { count }) => sum + count, 0) - 1;
    const here = await journal.idAt(last);
    if (firstSeq > reached + 1 || here === null || !same(here, head)) {
      throw new ReplicaError("misuse", "the receipt answers work that this device does not have", {
        hint: "it is for a copy of this device, or one restored since: sync to repair that",
      });
    }
    reached = Math.max(reached, last);
  }
  const settled: Answer[] = [];
  for (const { firstSeq, verdicts, decisions } of mine) {
    const stored = await journal.settle(firstSeq, verdicts, decisions);
    settled.push(...stored.slice(Math.max(before + 1 - firstSeq, 0)));
  }
  return settled;
}

function answered(frame: readonly Value[]): Answered {
  const [number, epoch, firstSeq, head, verdicts, decisions] = frame;
  if (number !== Frame.answered) throw malformed("a receipt holds answers only");
  return {
    epoch: countOf(epoch),
    firstSeq: countOf(firstSeq),
    head: bytesOf(head, HASH_BYTES),
    verdicts: VERDICTS.read(verdicts),
    decisions: decisions === undefined ? [] : DECISIONS.read(decisions),
  };
}

/** A chain in pieces that a push may hold. */
function* pushes(chain: Chain): Generator<Pick<Chain, "firstSeq" | "events">> {
  let { firstSeq } = chain;
  let events: Uint8Array[] = [];
  let size = 0;
  for (const data of chain.events) {
    const full = events.length === PUSH_EVENTS_MAX || size + data.length > PUSH_BYTES_TARGET;
    if (events.length > 0 && full) {
      yield { firstSeq, events };
      firstSeq += events.length;
      events = [];
      size = 0;
    }
    events.push(data);
    size += data.length;
  }
  if (events.length > 0) yield { firstSeq, events };
}

/** Sum, header and seal are looked at before anything inside is. */
async function open(file: Uint8Array, identity: Identity): Promise<Opened> {
  const start = MAGIC.length + 2;
  bound("a file", file.length, CARRY_FILE_BYTES_MAX);
  if (
    compare(file.subarray(0, MAGIC.length), MAGIC) !== 0 ||
    file.length < start + 2 * HASH_BYTES
  ) {
    throw malformed("this is no carry file, or only the beginning of one");
  }
  const sealed = file.subarray(0, -HASH_BYTES);
  if (!same(sha256(sealed), file.subarray(-HASH_BYTES))) {
    throw malformed("the file is damaged or was cut short; nothing of it was taken");
  }
  const opened = sealed.subarray(0, -HASH_BYTES);
  const end = start + ((file[start - 2]! << 8) | file[start - 1]!);
  const header = unpack(opened.subarray(start, end)) as readonly Value[];
  if (!Array.isArray(header) || header[0] !== FORMAT) throw malformed("a file of another format");
  if (!same(seal(opened, identity.token), sealed.subarray(-HASH_BYTES))) {
    throw new ReplicaError("forbidden", "the file was not made by this device's server");
  }
  const body = await inflate(opened.slice(end), "what a file holds", CARRY_BODY_BYTES_MAX);
  return { header, frames: [...framesOf(body)] };
}

function* framesOf(body: Uint8Array): Generator<readonly Value[]> {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  for (let at = 0; at < body.length;) {
    if (at + 4 > body.length) throw malformed("a frame is cut short");
    const end = at + 4 + view.getUint32(at);
    if (end > body.length) throw malformed("a frame is cut short");
    const frame = unpack(body.subarray(at + 4, end));
    if (!Array.isArray(frame)) throw malformed("not a frame");
    yield frame as readonly Value[];
    at = end;
  }
}

function seal(opened: Uint8Array, token: string): Uint8Array {
  return hmac(hash, sha256(utf8(token)), opened);
}

function lengthOf(bytes: Uint8Array, width: 2 | 4): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return length.subarray(4 - width);
}
