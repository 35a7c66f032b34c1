/** The vectors of tests/vectors, which every client of the protocol has to agree with. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openChunk } from "../src/bulk.ts";
import { hex, unhex } from "../src/bytes.ts";
import { makeStamp, nextStamp } from "../src/clock.ts";
import { Unpacker } from "../src/columns.ts";
import { documents, FOLDED, sections } from "../src/digest.ts";
import { chainAfter, decodeEvent, encodeEvent, NO_HASH, sha256 } from "../src/event.ts";
import { decodeFrame, encodeFrame, FRAME_NAMES } from "../src/frames.ts";
import { CATALOGUE, decodePayload, STRUCTS } from "../src/kinds.ts";
import { lineTotalMinor, totalMinor } from "../src/money.ts";
import { pack, packAll, unpack, unpackAll, type Value } from "../src/msgpack.ts";
import type { Content } from "../src/kinds.ts";

const ROOT = new URL("../../../", import.meta.url);

function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`tests/vectors/${name}.json`, ROOT), "utf8")) as T;
}

interface Named {
  readonly type: string;
  readonly id: string;
}
type Events = readonly (Readonly<Record<string, unknown>> & { event: string; id: string })[];
type Payloads = readonly { kind: string; version: number; payload: string }[];

/** `value` with bytes as hex, as the vectors have them. */
function hexed(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(hexed);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, hexed(one)]));
}

test("every frame decodes to its fields and encodes to the same bytes", () => {
  const { frames, shorter, chain } = vectors<{
    frames: { name: string; hex: string; frame: unknown }[];
    shorter: { name: string; hex: string; frame: unknown }[];
    chain: { before: string; ids: string[]; after: string };
  }>("frames");
  for (const one of frames) {
    const frame = decodeFrame(unhex(one.hex));
    assert.equal(frame.name, one.name);
    assert.deepEqual(hexed(frame.says), one.frame);
    const encoded = encodeFrame(frame.name, frame.says);
    assert.deepEqual(decodeFrame(encoded), frame);
    // The limits a server tells are in no order; no other frame has a map.
    if (frame.name !== "WELCOME") assert.equal(hex(encoded), one.hex);
  }
  assert.deepEqual(new Set(frames.map(({ name }) => name)), new Set<string>(FRAME_NAMES));
  for (const one of shorter) {
    const frame = decodeFrame(unhex(one.hex));
    assert.deepEqual([frame.name, hexed(frame.says)], [one.name, one.frame]);
  }
  assert.equal(hex(chainAfter(unhex(chain.before), chain.ids.map(unhex))), chain.after);
});

test("events have their bytes, ids and chain", () => {
  for (const { event: bytes, id, ...fields } of vectors<Events>("event")) {
    const data = unhex(bytes);
    const event = decodeEvent(data);
    assert.deepEqual(hexed(event), fields);
    assert.deepEqual(encodeEvent(event), data);
    assert.equal(hex(sha256(data)), id);
  }
});

test("payloads are canonical and keep their rules", () => {
  for (const { kind, version, payload } of vectors<Payloads>("payload")) {
    const said = decodePayload({ kind, version, payload: unhex(payload) });
    assert.notEqual(said, null, kind);
    assert.equal(hex(pack(said)), payload);
  }
});

test("records carry event, merge stamp and flags", () => {
  const known = vectors<
    Record<"raw_stamp_stands" | "corrected" | "disputed", string> & {
      chains: string[];
    }
  >("record");
  for (const name of ["raw_stamp_stands", "corrected", "disputed"] as const) {
    const data = unhex(known[name]);
    const [record] = [...unpackAll(data)] as [readonly Value[]];
    assert.deepEqual(packAll([record]), data);
    assert.equal(record[1] === null, name === "raw_stamp_stands");
    assert.equal(record[2], name === "disputed" ? 1 : 0);
  }
  const ids = vectors<Events>("event")
    .slice(0, 2)
    .map(({ id }) => unhex(id));
  const chains = [0, 1, 2].map((count) => hex(chainAfter(NO_HASH, ids.slice(0, count))));
  assert.deepEqual(chains, known.chains);
});

test("stamps follow each other as the page says", () => {
  const { stamps, ticks } = vectors<{
    stamps: { ms: number; counter: number; node: string; stamp: string }[];
    ticks: { last: string; now_ms: number; stamp: string }[];
  }>("stamp");
  for (const { ms, counter, node, stamp } of stamps) {
    assert.equal(hex(makeStamp(ms, counter, unhex(node))), stamp);
  }
  for (const { last, now_ms, stamp } of ticks) {
    assert.equal(hex(nextStamp(unhex(last), now_ms, unhex(stamp).subarray(8))), stamp);
  }
});

test("money is rounded once per line, halves away from zero", () => {
  const { lines, content_total_minor } = vectors<{
    lines: { qty_e3: number; price_e4: number; currency: string; total_minor: number }[];
    content_total_minor: number;
  }>("money");
  for (const { qty_e3, price_e4, currency, total_minor } of lines) {
    assert.equal(lineTotalMinor(qty_e3, price_e4, currency), total_minor);
  }
  const sealed = vectors<Payloads>("payload").find(({ kind }) => kind === "order.committed")!;
  const { content } = unpack(unhex(sealed.payload)) as unknown as { content: Content };
  assert.equal(totalMinor(content), content_total_minor);
});

test("records fold to the states and digests of the page, in any order", () => {
  const known = vectors<{
    records: { event: string; stamp: string; origin: number }[];
    documents: (Named & { state: string; hash: string; view: unknown })[];
    sections: unknown[];
  }>("document");
  const records = known.records.map(({ event, stamp, origin }) => {
    const data = unhex(event);
    return { id: sha256(data), data, mergeStamp: unhex(stamp), origin };
  });
  const states = documents(records).sort(byName);
  const expected = known.documents.map(({ view: _, ...document }) => document).sort(byName);
  assert.deepEqual(hexed(states), expected);
  assert.deepEqual(hexed(sections(states)), known.sections);
  assert.deepEqual(documents([...records].reverse()).sort(byName), states);
});

function byName(one: Named, other: Named): number {
  return `${one.type}/${one.id}` < `${other.type}/${other.id}` ? -1 : 1;
}

test("the catalogue is the table of docs/wire-protocol.md", () => {
  const page = readFileSync(new URL("docs/wire-protocol.md", ROOT), "utf8");
  const kinds = between(page, "<!-- kinds -->", "<!-- end of kinds -->").split("\n").slice(2);
  const ours = Object.entries(CATALOGUE).map(([kind, { version, from, payload }]) => {
    const fields = Object.entries(payload.shape).map(([field, schema]) => {
      return `\`${field}\`${schema.optional ? "?" : ""} ${schema.words}`;
    });
    return `| \`${kind}\` | ${version} | ${from} | ${fields.join("; ")} |`;
  });
  assert.deepEqual(ours, kinds);
  assert.deepEqual(FOLDED, new Set(Object.keys(CATALOGUE)), "a kind that no document keeps");
  const structs = between(page, "<!-- structs -->", "<!-- end of structs -->");
  for (const [name, { shape }] of Object.entries(STRUCTS)) {
    const listed = between(`${structs}\n**`, `**${name}** (map)\n`, "\n**").trim().split("\n");
    const fields = Object.entries(shape).map(([field, schema]) => {
      return `- \`${field}\`${schema.optional ? "?" : ""} ${schema.words}`;
    });
    assert.deepEqual(fields, listed, name);
  }
});

function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start) + start.length;
  return text.slice(from, text.indexOf(end, from)).trim();
}

test("columns and chunks are put together to the values and documents that they hold", async () => {
  const { columns, chunk } = vectors<{
    columns: { node: string; values: string[] }[];
    chunk: {
      sha256: string;
      section: string;
      count: number;
      data: string;
      documents: { id: string; state: string }[];
    };
  }>("chunk");
  const unpacker = new Unpacker();
  for (const { node, values } of columns) {
    const column = unpacker.unpack(unpack(unhex(node)), values.length);
    assert.deepEqual(column.map(hex), values);
  }
  const data = unhex(chunk.data);
  const found = await openChunk({ ...chunk, bytes: data.length }, data);
  assert.deepEqual(
    found.map(({ id, state }) => ({ id, state: hex(state) })),
    chunk.documents,
  );
  assert.ok(found.every(({ type }) => type === chunk.section));
  for (let at = 0; at < data.length; at += 7) {
    const bad = data.slice();
    bad[at]! ^= 1;
    await assert.rejects(openChunk({ ...chunk, bytes: data.length }, bad), { code: "malformed" });
  }
});

test("columns that are none are malformed, whatever they are", () => {
  const flood = 2 ** 40;
  const nothing = new Uint8Array(0);
  const one = new Uint8Array([0xc0]);
  const deep = (levels: number): Value => {
    return levels === 0 ? [0, one] : [7, [0, pack(1)], deep(levels - 1)];
  };
  const bad: readonly (readonly [Value, number])[] = [
    [null, 1],
    [[], 1],
    [[9, one], 1],
    [[0, one], flood],
    [[0, new Uint8Array(100)], 1_000_000],
    [[1, one], 2],
    [[1, pack([1, 2]).subarray(0, 2)], 1],
    [[2, 0, nothing], 0],
    [[2, 2, one], 1],
    [[3, 0, 7, new Uint8Array(7)], 1],
    [[3, Number.MAX_SAFE_INTEGER, 1, new Uint8Array([1])], 1],
    [[4, 1, one, new Uint8Array([1])], 1],
    [[5, 0], 1],
    [[6, [null], [0, pack(1)], [[0, one]]], 1],
    [[6, [flood], [0, pack(0)], []], 1],
    [
      [
        6,
        [["a", 1]],
        [0, pack(0)],
        [
          [0, one],
          [0, one],
        ],
      ],
      1,
    ],
    [[6, [["a"]], [0, pack(0)], []], 1],
    [[7, [0, pack(flood)], [0, one]], 1],
    [[7, [0, pack(-1)], [0, one]], 1],
    [[7, [0, pack("a")], [0, one]], 1],
    [deep(9), 1],
  ];
  for (const [node, count] of bad) {
    assert.throws(() => new Unpacker().unpack(node, count), { code: "malformed" }, String(node));
  }
});
