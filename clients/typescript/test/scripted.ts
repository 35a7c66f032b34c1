/** A server of one account in memory, for tests: it does as the script says. */

import { memoryStorage } from "../src/adapters/memory.ts";
import { concat, same } from "../src/bytes.ts";
import { Client, type Status } from "../src/client.ts";
import { makeStamp } from "../src/clock.ts";
import { documents, type DocumentState } from "../src/digest.ts";
import { chainAfter, decodeEvent, encodeEvent, NO_HASH, sha256 } from "../src/event.ts";
import { decodeFrame, encodeFrame, Outcome, type FrameName, type Said } from "../src/frames.ts";
import { encodePayload } from "../src/kinds.ts";
import { pack } from "../src/msgpack.ts";
import type { Fetch, OpenSocket, Socket } from "../src/ports.ts";

export const ACCOUNT = new Uint8Array(16).fill(0xaa);
export const DEVICE = new Uint8Array(16).fill(0x0d);
export const OTHER = new Uint8Array(16).fill(0x0e);
const LOG = new Uint8Array(16).fill(0x10);
const NOW = 1_700_000_000_000;

type Verdict = Said<"RESULT">["verdicts"][number];

/** What the server answers to one event; by default it accepts. */
export type Judge = (event: Uint8Array) => Pick<Verdict, "outcome" | "code" | "detail">;

export const accepts: Judge = () => ({ outcome: Outcome.accepted, code: "", detail: "" });

export class ScriptedServer {
  /** Bytes of everything in the log. */
  readonly log: Uint8Array[] = [];
  /** Bytes of the device's chain in its epoch, accepted or not. */
  pushed: Uint8Array[] = [];
  epoch = 1;
  judge: Judge = accepts;
  generation = 1;
  readonly heard: FrameName[] = [];
  /** Where the device said it stands, one after the other. */
  readonly confirmed: number[] = [];
  connections = 0;
  socket: FakeSocket | null = null;
  sections: Said<"DIGEST">["sections"] = [];
  /** Answer nothing to pushes. */
  silent = false;
  /** Version of the scope that bounds the device; 0 for none. */
  scope = 0;
  /** What is answered to questions over HTTP, by the path behind `/api/v1/`. */
  asked: (path: string) => Response = () => new Response(null, { status: 404 });

  readonly open: OpenSocket = () => {
    this.connections += 1;
    this.socket = new FakeSocket(this);
    return this.socket;
  };

  readonly fetch: Fetch = async (url) => {
    const path = url.slice(url.indexOf("/api/v1/") + "/api/v1/".length);
    if (path !== "enrol") return this.asked(path);
    const [account, device] = ["aa".repeat(16), "0d".repeat(16)];
    return Response.json({ account, device, name: "Till", token: "secret" });
  };

  send<N extends FrameName>(name: N, says: Said<N>): void {
    this.socket?.deliver(encodeFrame(name, says));
  }

  /** An event of another device is committed and sent to the device. */
  others(...events: Uint8Array[]): void {
    const first = this.log.length + 1;
    this.log.push(...events);
    this.send("EVENTS", {
      through: this.log.length,
      chain: this.chain(this.log.length),
      segments: [this.segment(first, events)],
    });
  }

  segment(first: number, events: readonly Uint8Array[]): Said<"EVENTS">["segments"][number] {
    const records = concat(...events.map((data) => pack([data, null, 0])));
    const chain = this.chain(first + events.length - 1);
    const { device, epoch } = decodeEvent(events[0]!);
    return {
      first,
      count: events.length,
      chain,
      device,
      epoch,
      origin: 1,
      received_ms: 1,
      records,
    };
  }

  chain(position: number): Uint8Array {
    return chainAfter(NO_HASH, this.log.slice(0, position).map(sha256));
  }

  receive(data: Uint8Array): void {
    const frame = decodeFrame(data);
    this.heard.push(frame.name);
    if (frame.name === "HELLO") this.#welcome(frame.says);
    else if (frame.name === "CURSOR") this.confirmed.push(frame.says.position);
    else if (frame.name === "PUSH" && !this.silent) this.#decide(frame.says);
    else if (frame.name === "DIGEST_REQUEST") {
      this.send("DIGEST", { position: this.log.length, sections: this.sections, pending: 0 });
    }
  }

  #welcome(hello: Said<"HELLO">): void {
    if (hello.epoch > this.epoch) {
      this.epoch = hello.epoch;
      this.pushed = [];
    }
    const known = hello.generation === this.generation || hello.log_id.length === 0;
    const resume_after = known && hello.cursor <= this.log.length ? hello.cursor : 0;
    const last = this.pushed.at(-1);
    this.send("WELCOME", {
      version: 1,
      session: new Uint8Array(8),
      log_id: LOG,
      generation: this.generation,
      position: this.log.length,
      resume_after,
      device_seq: this.pushed.length,
      device_hash: last ? sha256(last) : NO_HASH,
      next_epoch: hello.epoch + 1,
      probe_sent_ms: 1,
      scope: this.scope,
      limits: { pushes_in_flight: 2, push_events: 3, push_bytes: 10_000 },
    });
    const missing = this.log.slice(resume_after);
    if (missing.length > 0) {
      this.send("EVENTS", {
        through: this.log.length,
        chain: this.chain(this.log.length),
        segments: missing.flatMap((data, at) => {
          const { device, epoch } = decodeEvent(data);
          const own = same(device, DEVICE) && epoch === this.epoch;
          return own ? [] : [this.segment(resume_after + at + 1, [data])];
        }),
      });
    }
  }

  #decide(push: Said<"PUSH">): void {
    const here = this.pushed.slice(push.first_seq - 1);
    if (here.some((before, at) => !same(before, push.events[at] ?? before))) {
      const next_epoch = this.epoch + 1;
      const said = { message: "a fork", close_code: 1008, retry_after_ms: 0, next_epoch };
      return this.send("GOODBYE", { code: "forked", ...said });
    }
    const verdicts = push.events.map((data, at): Verdict => {
      this.pushed[push.first_seq - 1 + at] = data;
      const said = this.judge(data);
      let first_position = 0;
      if (said.outcome === Outcome.accepted) {
        const found = this.log.findIndex((one) => same(one, data));
        if (found < 0) this.log.push(data);
        first_position = found < 0 ? this.log.length : found + 1;
      }
      return { ...said, count: 1, first_position, received_ms: 5 };
    });
    this.send("RESULT", { number: push.number, verdicts, decisions: [] });
    this.send("EVENTS", {
      through: this.log.length,
      chain: this.chain(this.log.length),
      segments: [],
    });
  }
}

export class FakeSocket implements Socket {
  binaryType = "blob";
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  readonly #server: ScriptedServer;
  closed = false;

  constructor(server: ScriptedServer) {
    this.#server = server;
    queueMicrotask(() => this.onopen?.({}));
  }

  send(data: Uint8Array<ArrayBuffer>): void {
    const copy = data.slice();
    queueMicrotask(() => {
      if (!this.closed) this.#server.receive(copy);
    });
  }

  deliver(data: Uint8Array<ArrayBuffer>): void {
    queueMicrotask(() => this.onmessage?.({ data: data.slice().buffer }));
  }

  /** The connection is lost, without a word. */
  drop(): void {
    this.closed = true;
    this.onclose?.({ code: 1006, reason: "" });
  }

  close(): void {
    this.closed = true;
  }
}

/** Waits for a status: looked at now, and whenever it changes. */
export async function until(client: Client, reached: (status: Status) => boolean): Promise<Status> {
  return new Promise((resolve) => {
    const look = (): void => {
      const status = client.status();
      if (!reached(status)) return;
      forget();
      resolve(status);
    };
    const forget = client.onChange(look);
    look();
  });
}

/** A client of `server`, enrolled. */
export async function opened(server: ScriptedServer, bulk = false): Promise<Client> {
  const client = await Client.open({
    bulk,
    storage: memoryStorage(),
    now: () => NOW + performance.now(),
    random: () => 0,
    openSocket: server.open,
    fetch: server.fetch,
  });
  await client.enrol("http://server.example", "CODE", "Till");
  return client;
}

/** A product as another device made it. */
export function product(id: string, name: string, seq: number): DocumentState {
  const data = encodeEvent({
    account: ACCOUNT,
    device: OTHER,
    epoch: 1,
    seq,
    prev: NO_HASH,
    stamp: makeStamp(NOW + seq, 0, OTHER.subarray(8)),
    kind: "product.created",
    version: 1,
    deps: [],
    payload: encodePayload("product.created", { product: id, fields: { name } }),
  });
  const made = {
    id: sha256(data),
    data,
    mergeStamp: makeStamp(NOW + seq, 0, NO_HASH.subarray(8, 16)),
  };
  return documents([{ ...made, origin: 1 }])[0]!;
}
