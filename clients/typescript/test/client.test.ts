/** The client against a server that does as it is told, in memory and without waiting. */

import "fake-indexeddb/auto";
import assert from "node:assert/strict";
import { test } from "node:test";
import { indexedDbStorage } from "../src/adapters/indexeddb.ts";
import { memoryStorage } from "../src/adapters/memory.ts";
import { Client, type LogRecord, type Rejected } from "../src/client.ts";
import { decodeEvent, encodeEvent, NO_HASH, sha256 } from "../src/event.ts";
import { ReplicaError } from "../src/errors.ts";
import { Outcome, type Said } from "../src/frames.ts";
import { encodePayload } from "../src/kinds.ts";
import { makeStamp } from "../src/clock.ts";
import { hex } from "../src/bytes.ts";
import type { Storage } from "../src/ports.ts";
import { ACCOUNT, OTHER, ScriptedServer, until } from "./scripted.ts";

const NOW = 1_700_000_000_000;

async function opened(server: ScriptedServer, storage: Storage = memoryStorage()): Promise<Client> {
  const client = await Client.open({
    storage,
    now: () => NOW + performance.now(),
    random: () => 0,
    openSocket: server.open,
    fetch: server.fetch,
  });
  if (client.identity === null) await client.enrol("http://server.example", "CODE", "Till");
  return client;
}

async function all(client: Client, after = 0): Promise<LogRecord[]> {
  const found: LogRecord[] = [];
  for await (const record of client.records(after)) found.push(record);
  return found;
}

/** Events of another device: stock of a product was counted. */
function counted(...quantities: number[]): Uint8Array[] {
  let prev = NO_HASH;
  return quantities.map((qty_e3, at) => {
    const data = encodeEvent({
      account: ACCOUNT,
      device: OTHER,
      epoch: 1,
      seq: at + 1,
      prev,
      stamp: makeStamp(NOW + at, 0, OTHER.subarray(8)),
      kind: "stock.counted",
      version: 1,
      deps: [],
      payload: encodePayload("stock.counted", { product: "p-1", qty_e3 }),
    });
    prev = sha256(data);
    return data;
  });
}

const move = (client: Client, qty_e3: number): Promise<string> =>
  client.record("stock.moved", { product: "p-1", qty_e3 });
const isCode = (code: string) => (error: unknown) =>
  error instanceof ReplicaError && error.code === code;

test("work recorded offline is pushed in order, within the limits the server told", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  const ids: string[] = [];
  for (let number = 1; number <= 20; number++) ids.push(await move(client, number));
  assert.equal(client.status().pending, 20);
  client.connect();
  await until(client, ({ level }) => level);
  assert.deepEqual(
    server.pushed.map((data) => hex(sha256(data))),
    ids,
  );
  assert.ok(server.heard.filter((name) => name === "PUSH").length >= 7);
  assert.deepEqual(server.heard.slice(0, 2), ["HELLO", "PROBE_REPLY"]);
  const records = await all(client);
  assert.deepEqual(
    records.map(({ id }) => id),
    ids,
  );
  assert.deepEqual(
    (await all(client, records[11]!.at)).map(({ id }) => id),
    ids.slice(12),
  );
  await client.close();
});

test("a chain recorded at once is gapless and its stamps grow, whatever the clock does", async () => {
  let now = NOW;
  const client = await Client.open({ storage: memoryStorage(), now: () => (now -= 1_000) });
  await assert.rejects(client.record("stock.moved", { product: "p", qty_e3: 1 }), isCode("misuse"));
  const server = new ScriptedServer();
  const enrolled = await Client.open({
    storage: memoryStorage(),
    now: () => (now -= 1_000),
    fetch: server.fetch,
    openSocket: server.open,
  });
  await enrolled.enrol("http://server.example", "CODE", "Till");
  await Promise.all(Array.from({ length: 10 }, (_, at) => move(enrolled, at)));
  enrolled.connect();
  await until(enrolled, ({ pending }) => pending === 0);
  const events = server.pushed.map(decodeEvent);
  assert.deepEqual(
    events.map(({ seq }) => seq),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  const stamps = events.map(({ stamp }) => hex(stamp));
  assert.deepEqual(stamps, [...stamps].sort());
  await enrolled.close();
  await client.close();
});

test("events of others arrive once, are confirmed, and the cursor moves", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  const [first, ...rest] = counted(1, 2, 3);
  server.log.push(first!);
  client.connect();
  await until(client, ({ cursor }) => cursor === 1);
  server.others(...rest);
  await until(client, ({ cursor }) => cursor === 3);
  await move(client, 9);
  await until(client, ({ level }) => level);
  const records = await all(client);
  assert.deepEqual(
    records.map(({ position }) => position),
    [1, 2, 3, 4],
  );
  const quantities = records.map(
    (one) => one.known && "qty_e3" in one.payload && one.payload.qty_e3,
  );
  assert.deepEqual(quantities, [1, 2, 3, 9]);
  server.socket!.drop();
  await until(client, ({ mode }) => mode === "online");
  assert.equal((await all(client)).length, 4);
  await client.close();
});

test("a connection lost before RESULT asks again and nothing stands twice", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  for (let number = 1; number <= 5; number++) await move(client, number);
  client.connect();
  server.silent = true;
  await until(client, () => server.heard.includes("PUSH"));
  server.silent = false;
  server.socket!.drop();
  await until(client, ({ level }) => level);
  assert.equal(server.pushed.length, 5);
  assert.equal((await all(client)).length, 5);
  assert.equal(client.status().acknowledged, 5);
  await client.close();
});

test("a quarantined event is said again corrected, with what waits on it", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  const cause = await client.record("customer.created", { customer: "c-1", fields: { name: "?" } });
  const waits = await client.record("customer.deleted", { customer: "c-1" }, [cause]);
  await move(client, 1);
  server.judge = (data) => {
    const id = hex(sha256(data));
    if (id === cause)
      return { outcome: Outcome.quarantined, code: "payload", detail: "a question" };
    if (id === waits) return { outcome: Outcome.quarantined, code: "waits_on", detail: "" };
    return { outcome: Outcome.accepted, code: "", detail: "" };
  };
  client.connect();
  await until(client, ({ level }) => level);
  const [later, first] = (await client.rejected()) as [Rejected, Rejected];
  assert.deepEqual([first.id, first.about, first.reason], [cause, "customer/c-1", "a question"]);
  assert.deepEqual([later.id, later.code], [waits, "waits_on"]);
  assert.match(first.fix, /^Correct it on the device/);
  const row = { ...first, kind: "customer.created" as const };
  await assert.rejects(client.resubmit(row, { customer: "c-2", fields: {} }), isCode("misuse"));
  const said = await client.resubmit(row, { customer: "c-1", fields: { name: "Ann" } });
  await until(client, ({ level }) => level);
  assert.equal(said.length, 2);
  assert.deepEqual(await client.rejected(), []);
  const records = await all(client);
  assert.deepEqual(
    records.map(({ kind }) => kind),
    ["stock.moved", "customer.created", "customer.deleted"],
  );
  assert.deepEqual(records[2]!.deps, [said[0]]);
  await client.close();
});

test("a refused event keeps its bytes and stops nothing", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  const refused = await move(client, 1);
  await move(client, 2);
  server.judge = (data) =>
    hex(sha256(data)) === refused
      ? { outcome: Outcome.refused, code: "forbidden", detail: "not yours to say" }
      : { outcome: Outcome.accepted, code: "", detail: "" };
  client.connect();
  await until(client, ({ level }) => level);
  const { refused: count, acknowledged } = client.status();
  assert.deepEqual([count, acknowledged], [1, 1]);
  assert.equal((await client.rejected())[0]!.reason, "not yours to say");
  await client.close();
});

test("a round says whether the digests are equal", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  await move(client, 1);
  server.sections = [{ section: "stock", count: 1, digest: new Uint8Array(32) }];
  assert.equal((await client.sync()).equal, false);
  server.sections = await client.digest();
  const result = await client.sync();
  assert.deepEqual([result.equal, result.position, client.status().mode], [true, 1, "offline"]);
  await client.close();
});

test("digests that stay unequal make the device begin anew, once", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  await move(client, 1);
  server.sections = [{ section: "stock", count: 9, digest: new Uint8Array(32) }];
  for (const epoch of [1, 1, 2, 2]) {
    assert.equal((await client.sync()).equal, false);
    assert.equal(server.epoch, epoch);
  }
  assert.deepEqual(
    (await all(client)).map(({ epoch, seq }) => [epoch, seq]),
    [[1, 1]],
    "what the first epoch said came again",
  );
  await client.close();
});

test("segments that are not the log's are not stored", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  client.connect();
  await until(client, ({ mode }) => mode === "online");
  const [first, second] = counted(1, 2);
  server.log.push(first!, second!);
  const segment = server.segment(1, [first!, second!]);
  const chain = server.chain(2);
  const lies = [
    { ...segment, chain: server.chain(1) },
    { ...segment, count: 3 },
    { ...segment, records: segment.records.subarray(1) },
  ];
  for (const [count, lie] of lies.entries()) {
    server.send("EVENTS", { through: 3, chain, segments: [lie] });
    await until(client, ({ mode }) => mode === "online" && server.connections === count + 2);
  }
  await until(client, ({ cursor }) => cursor === 2);
  assert.equal((await all(client)).length, 2);
  await client.close();
});

test("what is recorded while a connection lives is pushed at once, whenever it comes", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  client.connect();
  const recorded = Array.from({ length: 30 }, async (_, number) => {
    for (let turn = 0; turn < number; turn++) await Promise.resolve();
    return move(client, number);
  });
  await Promise.all(recorded);
  await until(client, ({ pending }) => pending === 0);
  assert.equal(server.pushed.length, 30);
  await client.close();
});

test("the server's questions for digests are answered when everything is sent", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  client.connect();
  await until(client, ({ mode }) => mode === "online");
  server.silent = true;
  await move(client, 1);
  await until(client, () => server.heard.includes("PUSH"));
  server.send("SYNC_REQUEST", { run: "r-1" });
  assert.ok(!server.heard.includes("DIGEST"));
  server.silent = false;
  server.socket!.drop();
  await until(client, ({ level }) => level);
  server.send("SYNC_REQUEST", { run: "r-2" });
  await until(client, () => server.heard.includes("DIGEST"));
  await client.close();
});

test("a server that breaks the protocol is left, with the reason, and tried again later", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  const breaks: (() => void)[] = [
    () => server.socket!.deliver(Uint8Array.of(0xc1)),
    () => server.send("HELLO", helloOf()),
    () => server.send("RESULT", { number: 9, verdicts: [], decisions: [] }),
    () => server.send("EVENTS", { through: 0, chain: NO_HASH, segments: [] }),
    () => server.send("DIGEST", { position: 1, sections: [], pending: 0 }),
  ];
  client.connect();
  for (const [count, breakIt] of breaks.entries()) {
    await until(client, ({ mode }) => mode === "online" && server.connections === count + 1);
    breakIt();
    await until(client, () => server.connections === count + 2);
  }
  assert.equal(server.heard.filter((name) => name === "GOODBYE").length, 0, "gone before it left");
  await client.close();
});

function helloOf(): Said<"HELLO"> {
  const numbers = {
    version_min: 1,
    version_max: 1,
    epoch: 1,
    head_seq: 0,
    generation: 0,
    cursor: 0,
  };
  const none = new Uint8Array(0);
  const who = { token: "", account: ACCOUNT, device: OTHER, software: "" };
  return { ...numbers, ...who, log_id: none, chain: none, sent_ms: 0, knows: [] };
}

test("a stream of small frames is confirmed with few cursors, and to its end", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  client.connect();
  await until(client, ({ mode }) => mode === "online");
  const events = counted(...Array.from({ length: 60 }, (_, at) => at));
  for (const event of events) {
    server.others(event);
    await until(client, ({ cursor }) => cursor === server.log.length);
  }
  server.sections = [...(await client.digest())];
  assert.ok((await client.sync()).equal);
  assert.equal(server.confirmed.at(-1), 60);
  assert.ok(server.confirmed.length < 60);
  assert.deepEqual(
    server.confirmed,
    [...new Set(server.confirmed)].sort((a, b) => a - b),
  );
  await client.close();
});

test("a restored server is offered again what it forgot, and history is raised", async () => {
  const server = new ScriptedServer();
  const client = await opened(server);
  for (let number = 1; number <= 4; number++) await move(client, number);
  client.connect();
  await until(client, ({ level }) => level);
  const { history } = client.status();
  server.log.length = 2;
  server.pushed.length = 2;
  server.generation = 2;
  server.socket!.drop();
  await until(client, (status) => status.level && status.history > history);
  assert.equal(server.pushed.length, 4);
  const records = await all(client);
  assert.deepEqual(
    records.map(({ seq }) => seq),
    [1, 2, 3, 4],
  );
  await client.close();
});

test("a fork is gone on from in the next epoch, with what was undecided", async () => {
  const server = new ScriptedServer();
  const storage = memoryStorage();
  const client = await opened(server, storage);
  await move(client, 1);
  client.connect();
  await until(client, ({ level }) => level);
  await client.disconnect();
  const put = await client.record("order.line_put", {
    order: "o-1",
    line: "1",
    fields: { qty_e3: 1 },
  });
  const seen = [Uint8Array.from(put.match(/../g)!, (pair) => parseInt(pair, 16))];
  await client.record("order.line_removed", { order: "o-1", line: "1", seen }, [put]);
  // Another copy of this device has written: the server's chain is another one behind seq 1.
  server.pushed.push(...counted(7));
  client.connect();
  await until(client, ({ level, history }) => level && history > 1);
  const again = server.pushed.map(decodeEvent);
  assert.deepEqual(
    again.map(({ epoch, seq }) => [epoch, seq]),
    [
      [2, 1],
      [2, 2],
    ],
  );
  const renamed = hex(sha256(server.pushed[0]!));
  assert.deepEqual(again[1]!.deps.map(hex), [renamed]);
  assert.ok(hex(again[1]!.payload).includes(renamed));
  await client.close();
  const anew = await opened(server, storage);
  assert.deepEqual([anew.status().pending, anew.status().acknowledged], [0, 3]);
  assert.deepEqual(
    (await all(anew)).map(({ epoch, seq }) => [epoch, seq]),
    [
      [1, 1],
      [2, 1],
      [2, 2],
    ],
  );
  await anew.close();
});

test("all of it works on IndexedDB, and again after it was opened anew", async () => {
  const server = new ScriptedServer();
  const client = await opened(server, await indexedDbStorage("till"));
  const first = await move(client, 1);
  server.log.push(...counted(5));
  client.connect();
  await until(client, ({ level }) => level);
  const waiting = move(client, 2);
  await client.close();
  await waiting;
  const again = await opened(server, await indexedDbStorage("till"));
  assert.equal(again.identity!.name, "Till");
  again.connect();
  await until(again, ({ level }) => level);
  const records = await all(again);
  assert.equal(records.length, 3);
  assert.ok(records.some(({ id }) => id === first));
  await again.close();
});

test("enrolling says what went wrong", async () => {
  const server = new ScriptedServer();
  const open = (status: number, body: unknown): Promise<Client> =>
    Client.open({
      storage: memoryStorage(),
      openSocket: server.open,
      fetch: async () => Response.json(body, { status }),
    });
  const refusals = [
    [403, { message: "wrong code", hint: "ask again" }, "forbidden"],
    [503, {}, "peer_gone"],
    [200, { account: "zz" }, "malformed"],
    [200, null, "malformed"],
  ] as const;
  for (const [status, body, code] of refusals) {
    const client = await open(status, body);
    await assert.rejects(client.enrol("https://x.example", "C", "T"), isCode(code));
    assert.equal(client.identity, null);
  }
  const client = await open(200, {});
  await assert.rejects(client.enrol("ftp://x.example", "C", "T"), isCode("misuse"));
  assert.throws(() => client.connect(), isCode("misuse"));
});
