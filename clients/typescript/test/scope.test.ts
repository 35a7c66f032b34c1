/** A part of the account, against a server that answers what a test wants. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { utf8 } from "../src/bytes.ts";
import { FINGERPRINT, sections, type DocumentState } from "../src/digest.ts";
import { pack, type Value } from "../src/msgpack.ts";
import { deflate } from "../src/streams.ts";
import { opened, product, ScriptedServer, until } from "./scripted.ts";

interface Given {
  readonly ahead?: string;
  readonly through?: number;
  readonly position?: number;
  readonly everything?: boolean;
  readonly documents?: readonly DocumentState[];
  readonly all?: readonly DocumentState[];
}

async function page(given: Given, fold = FINGERPRINT): Promise<Response> {
  const { through = 0, position = through, everything = false, documents: some = [] } = given;
  const digests = sections(given.all ?? some).map(({ section, count, digest }) => [
    section,
    count,
    digest,
  ]);
  const body = await deflate(
    pack([
      ...[1, 3, everything, position, through],
      some.map(({ type, id, state }): Value => [type, id, state]),
      through === position || given.ahead ? digests : [],
      ...(given.ahead === undefined ? [] : [given.ahead]),
    ]),
  );
  return new Response(body, { headers: { "replica-fold": fold } });
}

test("pages are taken one after the other, each from where the last one led", async () => {
  const server = new ScriptedServer();
  server.scope = 3;
  const [tea, mate] = [product("tea", "Tea", 1), product("mate", "Mate", 2)];
  const answers = [
    await page({ through: 4, position: 9, documents: [tea] }),
    await page({ through: 9, documents: [mate], all: [tea, mate] }),
  ];
  const asked: string[] = [];
  server.asked = (path) => {
    asked.push(path);
    return answers.shift() ?? new Response(null, { status: 404 });
  };
  const client = await opened(server);
  client.connect();
  const status = await until(client, ({ storedMs }) => storedMs !== null);
  assert.deepEqual([status.scope, status.documentsAt], [3, 9]);
  assert.deepEqual(asked, [
    "scope/changes?after=0&position=0&version=3&pending=0&ahead=0",
    "scope/changes?after=4&position=4&version=3&pending=0",
  ]);
  const found = (await client.documents("product")).map(({ id, facts }) => [id, facts.length]);
  assert.deepEqual(found.sort(), [
    ["mate", 1],
    ["tea", 1],
  ]);
  assert.deepEqual(await client.digest(), sections([tea, mate]));
  await client.close();
});

test("a first sync goes on with what is of use next, and says how far it is", async () => {
  const server = new ScriptedServer();
  server.scope = 3;
  const [tea, mate] = [product("tea", "Tea", 1), product("mate", "Mate", 2)];
  const all = [tea, mate];
  const answers = [
    await page({ position: 9, documents: [mate], all, ahead: "9.1.0" }),
    new Response(null, { status: 503 }),
    await page({ through: 7, position: 9, documents: [tea], all, ahead: "" }),
    await page({ through: 9, all }),
  ];
  const asked: (string | null)[] = [];
  server.asked = (path) => {
    asked.push(new URLSearchParams(path.slice(path.indexOf("?"))).get("ahead"));
    return answers.shift() ?? new Response(null, { status: 404 });
  };
  const client = await opened(server);
  const shown: string[] = [];
  client.onChange(() => {
    for (const { section, done, total } of client.status().fetching) {
      shown.push(`${section} ${done}/${total}`);
    }
  });
  client.connect();
  await until(client, ({ storedMs }) => storedMs !== null);
  assert.deepEqual(asked, ["0", "9.1.0", "9.1.0", null]);
  assert.deepEqual(new Set(shown), new Set(["product 1/2"]));
  assert.deepEqual(client.status().fetching, []);
  assert.deepEqual(await client.digest(), sections(all));
  await client.close();
});

test("own work lies on top of the documents, waiting or not", async () => {
  const server = new ScriptedServer();
  server.scope = 3;
  const tea = product("tea", "Tea", 1);
  const first = await page({ through: 4, documents: [tea] });
  let asks = 0;
  server.asked = () => (asks++ === 0 ? first : new Response(null, { status: 404 }));
  const client = await opened(server);
  await client.record("product.changed", { product: "tea", fields: { price_e4: 5 } });
  const kinds = async (): Promise<string[]> =>
    (await client.documents())[0]!.facts.map(({ kind }) => kind);
  server.silent = true;
  client.connect();
  await until(client, ({ documentsAt }) => documentsAt === 4);
  assert.equal(client.status().pending, 1);
  assert.equal(client.status().storedMs, null, "what is unsent is not compared");
  assert.deepEqual(await kinds(), ["product.created", "product.changed"]);
  assert.deepEqual(await client.digest(), sections([tea]), "a digest is of what stands");
  await client.close();
});

test("a server of other rules is told in words, and nothing is lost", async () => {
  const server = new ScriptedServer();
  server.scope = 3;
  const other = await page({ through: 4 }, "00".repeat(32));
  server.asked = () => other;
  server.silent = true;
  const client = await opened(server);
  await client.record("stock.moved", { product: "p", qty_e3: 1 });
  await assert.rejects(client.sync(), { code: "upgrade_required", message: /other rules/ });
  const { mode, pending, documentsAt } = client.status();
  assert.deepEqual([mode, pending, documentsAt], ["upgrade_required", 1, 0]);
  await client.close();
});

test("no answer and nonsense end the connection, and the next one goes on", async () => {
  const server = new ScriptedServer();
  server.scope = 3;
  const tea = product("tea", "Tea", 1);
  const flood = await deflate(new Uint8Array(40_000_000));
  const fold = { "replica-fold": FINGERPRINT };
  const answers = [
    new Response("later", { status: 503 }),
    new Response(utf8("not deflated"), { headers: fold }),
    new Response(flood, { headers: fold }),
    new Response(await deflate(pack([2, "?"])), { headers: fold }),
    await page({ through: 7, position: 3 }),
    await page({ through: 4, documents: [tea] }),
  ];
  const wanted = answers.length;
  server.asked = () => answers.shift() ?? new Response(null, { status: 404 });
  const client = await opened(server);
  client.connect();
  await until(client, ({ storedMs }) => storedMs !== null);
  assert.equal(server.connections, wanted);
  assert.deepEqual(await client.digest(), sections([tea]));
  await client.close();
});
