// Drives the built TypeScript client: one JSON command per line in, one JSON answer per line out.
import { createInterface } from "node:readline";
import { readFileSync, writeFileSync } from "node:fs";
import { Client, totalMinor } from "../../clients/typescript/dist/index.js";
import { sqliteStorage } from "../../clients/typescript/dist/adapters/sqlite.js";
import { FINGERPRINT } from "../../clients/typescript/dist/digest.js";

let client;
let aheadMs = 0;
let asksLeft = Infinity;
// What was shown while documents came in bulk, one after the other.
const progress = [];

// Ends this process before a question too many, as a dead battery does.
const fetchUntilCut = (url, request) => {
  asksLeft -= 1;
  if (asksLeft < 0) process.kill(process.pid, "SIGKILL");
  return fetch(url, request);
};

const seen = (wanted) =>
  new Promise((resolve) => {
    const look = () => {
      const status = client.status();
      const now = { ...status, stored: status.storedMs !== null };
      if (
        !Object.entries(wanted).every(([name, one]) => now[name] === one)
      )
        return;
      forget();
      resolve(now);
    };
    const forget = client.onChange(look);
    look();
  });

const hexed = (_, value) => {
  if (value instanceof Uint8Array) return Buffer.from(value).toString("hex");
  // A view of bytes arrives here as what JSON made of it.
  return value;
};

const bytesIn = (value) => {
  if (Array.isArray(value)) return value.map(bytesIn);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$hex === "string")
    return new Uint8Array(Buffer.from(value.$hex, "hex"));
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, bytesIn(one)]),
  );
};

const commands = {
  async open({ path, ahead_ms = 0, asks = Infinity, bulk = false }) {
    aheadMs = ahead_ms;
    asksLeft = asks;
    const now = () => Date.now() + aheadMs;
    client = await Client.open({
      storage: sqliteStorage(path),
      now,
      software: "driver/1",
      fetch: fetchUntilCut,
      bulk,
    });
    client.onChange(() => {
      const { fetching } = client.status();
      if (fetching.length > 0) progress.push(fetching);
    });
    return client.identity;
  },
  close: () => client.close(),
  async enrol({ url, code, name }) {
    await client.enrol(url, code, name);
    return client.identity;
  },
  record: ({ kind, payload, deps = [] }) =>
    client.record(kind, bytesIn(payload), deps),
  recordAll: ({ facts }) => client.recordAll(bytesIn(facts)),
  sync: ({ timeout_ms = 30_000 }) => client.sync(timeout_ms),
  connect: () => client.connect(),
  disconnect: () => client.disconnect(),
  status: () => client.status(),
  until: ({ status }) => seen(status),
  rejected: () => client.rejected(),
  async resubmit({ id, payload }) {
    const row = (await client.rejected()).find((one) => one.id === id);
    return client.resubmit(row, bytesIn(payload));
  },
  async records({ after = 0 }) {
    const found = [];
    for await (const { payload, ...rest } of client.records(after))
      found.push({ ...rest, payload });
    return found;
  },
  documents: ({ type = null }) => client.documents(type),
  onHandE3: ({ product }) => client.onHandE3(product),
  digest: () => client.digest(),
  fingerprint: () => FINGERPRINT,
  progress: () => progress,
  async export({ path, scope }) {
    writeFileSync(path, await client.export(scope));
  },
  async takeReceipt({ path }) {
    return client.takeReceipt(new Uint8Array(readFileSync(path)));
  },
  total: ({ content }) => totalMinor(content),
  // Says the number of every event once it is durable, until it is killed.
  async recordWithoutEnd() {
    for (let number = 1; ; number++) {
      await client.record("stock.moved", { product: "p-1", qty_e3: number });
      process.stdout.write(`${JSON.stringify({ ok: number })}\n`);
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: (await commands[name](given)) ?? null };
  } catch (error) {
    answer = {
      error: error.code ?? "defect",
      message: error.message,
      hint: error.hint ?? "",
    };
    if (!error.code) answer.stack = error.stack;
  }
  process.stdout.write(`${JSON.stringify(answer, hexed)}\n`);
}
