/** Documents in bulk, against a server that answers what a test wants. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryStorage } from "../src/adapters/memory.ts";
import type { Server } from "../src/asking.ts";
import { fetchBulk } from "../src/bulk.ts";
import { hex, type Bytes } from "../src/bytes.ts";
import { FINGERPRINT, sections, type DocumentState } from "../src/digest.ts";
import { ReplicaError } from "../src/errors.ts";
import { NO_HASH, sha256 } from "../src/event.ts";
import { Journal } from "../src/journal.ts";
import { pack } from "../src/msgpack.ts";
import { deflate } from "../src/streams.ts";
import { ACCOUNT, DEVICE, opened, product, ScriptedServer, until } from "./scripted.ts";

/** A chunk of one document, left whole. */
function chunkOf({ type, id, state }: DocumentState): Promise<Bytes> {
  const [zero, none] = [pack(0), new Uint8Array(0)];
  return deflate(pack([2, type, [1, none, [], [0, pack(id)], [[]], [0, zero], [state], []]]));
}

/** A manifest of layers, given by where each ends and its chunks of one product each. */
function manifestOf(
  all: readonly DocumentState[],
  layers: readonly (readonly [number, Bytes[]])[],
) {
  const [line] = sections(all);
  return {
    format: 2,
    log_id: "10".repeat(16),
    generation: 1,
    position: layers.at(-1)![0],
    chain: "00".repeat(32),
    fingerprint: FINGERPRINT,
    sections: [{ section: "product", count: all.length, digest: hex(line!.digest) }],
    layers: layers.map(([through, chunks], at) => ({
      after: layers[at - 1]?.[0] ?? 0,
      through,
      chunks: chunks.map((data) => ({
        sha256: hex(sha256(data)),
        bytes: data.length,
        section: "product",
        count: 1,
      })),
    })),
  };
}

test("a chunk that is not the promised one is not taken, and the log brings everything", async () => {
  const server = new ScriptedServer();
  const tea = product("tea", "Tea", 1);
  const chunk = await chunkOf(tea);
  const manifest = manifestOf([tea], [[5_000, [chunk]]]);
  const bad: readonly (readonly [object, Bytes])[] = [
    [manifest, chunk.map((byte) => byte ^ 1)],
    [{ ...manifest, layers: [] }, chunk],
    [{ ...manifest, sections: [] }, chunk],
    [{ ...manifest, format: 1 }, chunk],
    [{ ...manifest, fingerprint: "00".repeat(32) }, chunk],
  ];
  for (const [promised, given] of bad) {
    server.asked = (path) =>
      path.startsWith("snapshot") ? Response.json(promised) : new Response(given.slice());
    const client = await opened(server, true);
    client.connect();
    const { cursor, documentsAt, fetching } = await until(client, ({ mode }) => mode === "online");
    assert.deepEqual([cursor, documentsAt, fetching], [0, 0, []]);
    await client.close();
  }
});

/** A journal in the middle of an import of two layers, the first of two chunks, and its server. */
async function midway() {
  const all = [product("tea", "Tea", 1), product("mate", "Mate", 2), product("rum", "Rum", 3)];
  const chunks = await Promise.all(all.map(chunkOf));
  const manifest = manifestOf(all, [
    [3_000, chunks.slice(0, 2)],
    [6_000, chunks.slice(2)],
  ]);
  const files = new Map(chunks.map((data) => [`chunks/${hex(sha256(data))}`, data]));
  const asked: string[] = [];
  let left = 2;
  const server = {
    stopping: false,
    async ask(path: string) {
      if (left-- === 0) throw new ReplicaError("peer_gone", "cut");
      asked.push(path);
      const data = files.get(path) ?? new TextEncoder().encode(JSON.stringify(manifest));
      return { status: 200, data };
    },
  } as unknown as Server;
  const journal = await Journal.open(memoryStorage());
  const names = { token: "secret", name: "Till", url: "http://server.example" };
  await journal.enrol({ account: ACCOUNT, device: DEVICE, ...names });
  await assert.rejects(
    fetchBulk(journal, server, () => undefined),
    { code: "peer_gone" },
  );
  assert.equal(asked.splice(0).length, 2);
  return {
    journal,
    asked,
    second: [...files.keys()][1],
    fetch: () => fetchBulk(journal, server, () => undefined),
  };
}

test("an import goes on with the next chunk while its layer is ahead of the log", async () => {
  const { journal, asked, second, fetch } = await midway();
  await journal.held.take({ cursor: 2_999, chain: NO_HASH });
  assert.equal(await fetch(), 2);
  assert.equal(asked[0], second);
  assert.equal(journal.place.cursor, 6_000);
});

test("an import whose layer the log has passed begins anew", async () => {
  const { journal, asked, fetch } = await midway();
  await journal.held.take({ cursor: 3_000, chain: NO_HASH });
  await fetch();
  assert.match(asked[0]!, /^snapshot/);
});

test("whoever begins to hold a scope has no import under way", async () => {
  const { journal } = await midway();
  assert.notEqual(journal.held.importing, null);
  await journal.held.begin(1);
  assert.equal(journal.held.importing, null);
});

test("whoever starts over has no import under way, and takes the log", async () => {
  const { journal } = await midway();
  await journal.startOver(new Uint8Array(16), 2, 0);
  assert.equal(journal.held.importing, null);
  assert.equal(journal.held.documents.size, 0);
  assert.equal(journal.takesBulk, false);
});
