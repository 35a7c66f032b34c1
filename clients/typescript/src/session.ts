/**
 * One connection of a device, from HELLO to its end (wire-protocol.md §4 to §7).
 *
 * What arrives is worked off one after the other, each step durable before the next; what the
 * server must not wait for (clock probes) is answered at once.
 */

import { Server } from "./asking.ts";
import { same } from "./bytes.ts";
import { ReplicaError, wordsOf } from "./errors.ts";
import {
  decodeFrame,
  encodeFrame,
  PROTOCOL_VERSION,
  type Frame,
  type FrameName,
  type Goodbye,
  type Said,
} from "./frames.ts";
import type { Journal } from "./journal.ts";
import {
  ASK_RETRY_MS,
  CLOCK_NOISE_MS,
  CONFIRM_BYTES,
  CONFIRM_INTERVAL_MS,
  CONNECT_TIMEOUT_MS,
  FRAME_BYTES_MAX,
  PROOF_ASKS_MAX,
  PUSH_BYTES_TARGET,
  PUSH_EVENTS_MAX,
  PUSHES_IN_FLIGHT_MAX,
  RESULT_TIMEOUT_MS,
  SILENCE_TIMEOUT_MS,
  UNCONFIRMED_BYTES_MAX,
  WELCOME_TIMEOUT_MS,
  WINDOW_FRAME_BYTES_MIN,
} from "./limits.ts";
import type { Fetch, Socket } from "./ports.ts";
import { State, type Progress } from "./rows.ts";
import { pull, sameSections } from "./scope.ts";
import { Timers } from "./timers.ts";

export interface Surroundings {
  readonly journal: Journal;
  /** The clock that stamps events. */
  readonly now: () => number;
  readonly software: string;
  readonly fetch: Fetch;
  /** The server let us in; true when documents are to be fetched in bulk first. */
  readonly welcomed: (position: number) => boolean;
  /** How far a first sync of a scope is; nothing when it is over. */
  readonly fetching: (progress: readonly Progress[]) => void;
  /** Something a status shows has changed. */
  readonly changed: () => void;
}

/** What the two sides said of one position. */
export interface Proof {
  readonly position: number;
  readonly equal: boolean;
}

interface Sent {
  readonly number: number;
  readonly firstSeq: number;
  readonly count: number;
}

const SETTLED_CODE = "closed";
/** What this program can do beyond taking the log (wire-protocol.md §4.1). */
const KNOWS = ["scope"];
const GOODBYE_CHARS_MAX = 100;

export class Session {
  /** What ended it; null while it lives, and when the socket was simply gone. */
  goodbye: Goodbye | null = null;
  /** Why there was no connection, in words. */
  reason = "the connection ended";
  /** Before this nobody should connect again. */
  retryMs = 0;
  sent = 0;
  received = 0;
  quarantined = 0;
  refused = 0;

  readonly #around: Surroundings;
  readonly #journal: Journal;
  readonly #socket: Socket;
  readonly #timers = new Timers();
  readonly #startedWall: number;
  readonly #startedTicks: number;
  #work: (() => Promise<void>)[] = [];
  #working = false;
  #over = false;
  #end: () => void = () => undefined;
  #failed: (error: unknown) => void = () => undefined;

  #welcome: Said<"WELCOME"> | null = null;
  #pushedSeq = 0;
  #pushes = 0;
  #flying: Sent[] = [];
  #cutShort = false;
  #exhausted = false;
  #events: Said<"EVENTS">[] = [];
  #receivedThrough = 0;
  #receivedBytes = 0;
  /** Documents in scope are on their way, beside everything else. */
  #pulling = false;
  #beside: Promise<void> = Promise.resolve();
  readonly #ended = new AbortController();
  #confirmed = 0;
  #confirmedTicks = -CONFIRM_INTERVAL_MS;
  #unconfirmedBytes = 0;
  #digestAt: number | null = null;
  #digestAfterPushing = false;
  #prove: ((proof: Proof) => void) | null = null;
  #asked = false;
  #asks = 0;
  #told: Said<"DIGEST"> | null = null;

  constructor(socket: Socket, around: Surroundings) {
    this.#socket = socket;
    this.#around = around;
    this.#journal = around.journal;
    this.#startedWall = around.now();
    this.#startedTicks = performance.now();
  }

  /** Resolves when the connection is over; rejects with what the storage threw. */
  async run(): Promise<void> {
    try {
      await this.#run();
    } finally {
      await this.#beside;
    }
  }

  #run(): Promise<void> {
    const socket = this.#socket;
    socket.binaryType = "arraybuffer";
    this.#timers.watch("opening", CONNECT_TIMEOUT_MS, () =>
      this.#gone("no answer to the connection"),
    );
    return new Promise((resolve, reject) => {
      this.#end = resolve;
      this.#failed = reject;
      socket.onopen = () => this.#do(() => this.#hello());
      socket.onmessage = (event) => this.#message(event.data);
      socket.onclose = (event) => this.#gone(event.reason || this.reason);
      socket.onerror = () => {
        if (!this.#welcome) this.reason = "no connection";
      };
    });
  }

  get live(): boolean {
    return this.#welcome !== null && !this.#over;
  }

  /** The outbox has grown. */
  offer(): void {
    this.#exhausted = false;
    this.#do(() => this.#proceed());
  }

  /** Compare digests as soon as everything is exchanged; `proved` is called once. */
  prove(proved: (proof: Proof) => void): void {
    this.#prove = proved;
    this.#do(() => this.#proceed());
  }

  /** Says goodbye and closes. */
  close(code: "going_away" | "closed", message: string): void {
    this.#leave(code, code === "going_away" ? 1001 : 1000, message);
  }

  // The connection -------------------------------------------------------------------------------

  #send<N extends FrameName>(name: N, says: Said<N>): void {
    if (!this.#over) this.#socket.send(encodeFrame(name, says));
  }

  #message(data: unknown): void {
    if (this.#over || this.goodbye) return;
    if (!(data instanceof ArrayBuffer)) return this.#violated("malformed", 1007, "a text message");
    if (data.byteLength > FRAME_BYTES_MAX) return this.#violated("too_large", 1009, "a frame");
    let frame: Frame;
    try {
      frame = decodeFrame(new Uint8Array(data));
    } catch (error) {
      return this.#violated("malformed", 1007, wordsOf(error));
    }
    this.#timers.watch("silence", SILENCE_TIMEOUT_MS, () => this.#gone("the server fell silent"));
    this.#frame(frame, data.byteLength);
  }

  #frame(frame: Frame, size: number): void {
    const known = this.#welcome !== null;
    if (frame.name === "GOODBYE") return this.#goodbye(frame.says);
    if (frame.name === "WELCOME" && !known) return this.#meet(frame.says);
    if (!known) return this.#violated("protocol_violation", 1002, `${frame.name} before WELCOME`);
    switch (frame.name) {
      case "PROBE":
        return this.#probe(frame.says);
      case "RESULT":
        return this.#do(() => this.#result(frame.says));
      case "EVENTS":
        return this.#arrived(frame.says, size);
      case "DIGEST":
        return this.#do(() => this.#answered(frame.says));
      case "DIGEST_REQUEST":
        return this.#owe(frame.says.position, false);
      case "SYNC_REQUEST":
        return this.#owe(0, true);
      default:
        return this.#violated("protocol_violation", 1002, `${frame.name} from a server`);
    }
  }

  /** One step of work after the other; an error of the storage ends the connection. */
  #do(step: () => Promise<void>): void {
    if (this.#over) return;
    this.#work.push(step);
    if (!this.#working) void this.#workOff();
  }

  async #workOff(): Promise<void> {
    this.#working = true;
    try {
      for (let step = this.#work.shift(); step && !this.#over; step = this.#work.shift()) {
        await step();
      }
    } catch (error) {
      this.#broke(error);
    }
    this.#working = false;
    if (this.#over) this.#end();
    this.#around.changed();
  }

  /** A step could not be done. What was not confirmed comes again on the next connection. */
  #broke(error: unknown): void {
    const code = error instanceof ReplicaError ? error.code : "";
    const message = wordsOf(error);
    if (code === "malformed") this.#violated(code, 1007, message);
    else if (code === "too_large") this.#violated(code, 1009, message);
    else if (code === "peer_gone") {
      this.retryMs = ASK_RETRY_MS;
      this.#leave(SETTLED_CODE, 1000, message);
    } else if (code === "upgrade_required") {
      this.#leave(code, 4001, message);
      this.goodbye = { code, message, close_code: 4001, retry_after_ms: 0, next_epoch: 0 };
    } else if (code !== "storage_full") this.#failed(error);
    this.#gone(message);
  }

  #goodbye(goodbye: Goodbye): void {
    this.goodbye = goodbye;
    this.retryMs = goodbye.retry_after_ms;
    this.#socket.onclose = null; // what is left to do is done first
    this.#do(async () => {
      if (goodbye.code === "forked") await this.#journal.fork(goodbye.next_epoch);
      this.#gone(goodbye.message);
    });
  }

  #violated(code: string, closeCode: number, message: string): void {
    this.reason = `the server broke the protocol: ${message}`;
    this.#leave(code, closeCode, message);
  }

  #leave(code: string, close_code: number, message: string): void {
    if (this.#over) return;
    if (this.#welcome) {
      const words = message.slice(0, GOODBYE_CHARS_MAX);
      this.#send("GOODBYE", { code, message: words, close_code, retry_after_ms: 0, next_epoch: 0 });
    }
    this.#gone(message);
  }

  /** Over: whatever was not answered is asked again on the next connection. */
  #gone(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#ended.abort();
    this.reason = reason;
    this.#timers.stop();
    this.#socket.onclose = null;
    this.#socket.onmessage = null;
    // A page may only say 1000; the code was in GOODBYE.
    this.#socket.close(1000);
    if (!this.#working) this.#end(); // else when the step under way is done
  }

  // Meeting --------------------------------------------------------------------------------------

  async #hello(): Promise<void> {
    const { identity, place, head } = this.#journal;
    if (identity === null) throw new ReplicaError("misuse", "enrol this device first");
    this.#timers.unwatch("opening");
    this.#timers.watch("welcome", WELCOME_TIMEOUT_MS, () =>
      this.#gone("the server did not answer"),
    );
    this.#send("HELLO", {
      version_min: PROTOCOL_VERSION,
      version_max: PROTOCOL_VERSION,
      token: identity.token,
      account: identity.account,
      device: identity.device,
      epoch: head.epoch,
      head_seq: head.seq,
      log_id: place.logId,
      generation: place.generation,
      cursor: place.cursor,
      chain: place.cursor > 0 ? place.chain : new Uint8Array(0),
      sent_ms: this.#around.now(),
      software: this.#around.software,
      knows: KNOWS,
    });
  }

  #meet(welcome: Said<"WELCOME">): void {
    this.#timers.unwatch("welcome");
    const { cursor } = this.#journal.place;
    this.#welcome = welcome;
    this.#replyToProbe(welcome.probe_sent_ms);
    if (welcome.version !== PROTOCOL_VERSION) {
      return this.#violated("upgrade_required", 4001, `version ${welcome.version}`);
    }
    if (welcome.resume_after !== 0 && welcome.resume_after !== cursor) {
      return this.#violated("protocol_violation", 1002, "another cursor than ours");
    }
    this.#receivedThrough = this.#confirmed = welcome.resume_after;
    this.#do(() => this.#begin(welcome));
  }

  /** Where both ends go on (wire-protocol.md §4.1, §6). */
  async #begin(welcome: Said<"WELCOME">): Promise<void> {
    const journal = this.#journal;
    const { logId, generation, cursor } = journal.place;
    const met = logId.length > 0;
    const known = same(logId, welcome.log_id) && generation === welcome.generation;
    if (met && !(known && welcome.resume_after === cursor)) {
      await journal.startOver(welcome.log_id, welcome.generation, welcome.device_seq);
    } else if (met && welcome.device_seq < journal.answeredSeq) {
      await journal.startOver(welcome.log_id, welcome.generation, welcome.device_seq);
      return this.#leave(SETTLED_CODE, 1000, "the log went back; fetching it from the beginning");
    }
    await journal.met(welcome.log_id, welcome.generation);
    this.#pushedSeq = Math.min(welcome.device_seq, journal.answeredSeq);
    const here = await journal.idAt(this.#pushedSeq);
    const joins = here !== null && same(here, welcome.device_hash);
    if (this.#pushedSeq === welcome.device_seq && !joins) return this.#fork();
    if (this.#around.welcomed(welcome.position)) {
      return this.#leave(SETTLED_CODE, 1000, "fetching documents in bulk");
    }
    const { scope, storedMs } = journal.place;
    if (welcome.scope !== scope || (scope > 0 && storedMs === 0)) this.#pull([]);
    return this.#proceed();
  }

  #probe(probe: Said<"PROBE">): void {
    this.#replyToProbe(probe.probe_sent_ms);
    this.#journal.measured(probe.offset_ms);
    const drift = this.#around.now() - this.#startedWall;
    if (Math.abs(drift - (performance.now() - this.#startedTicks)) > CLOCK_NOISE_MS) {
      this.#leave(SETTLED_CODE, 1000, "the device's clock was set");
    }
    this.#around.changed();
  }

  #replyToProbe(probe_sent_ms: number): void {
    const now = this.#around.now();
    this.#send("PROBE_REPLY", { probe_sent_ms, received_ms: now, sent_ms: now });
  }

  async #fork(): Promise<void> {
    const { next_epoch } = this.#server;
    await this.#journal.fork(next_epoch);
    this.#leave("forked", 1008, "the chain here is not the server's");
  }

  // Up -------------------------------------------------------------------------------------------

  /** Whatever can be done now: push, notice what was lost, tell and compare digests. */
  async #proceed(): Promise<void> {
    if (!this.live) return;
    while (await this.#push());
    if (this.#idle && this.#server.device_seq > this.#journal.head.seq) return this.#fork();
    if (this.#journal.level(this.#server.position)) {
      this.#journal.synced(this.#around.now());
      const { position, next_epoch } = this.#server;
      if (await this.#journal.sayForgotten(position, next_epoch)) {
        return this.#leave(SETTLED_CODE, 1000, "going on in a new epoch");
      }
    }
    await this.#tellDigest();
    await this.#compare();
    this.#around.changed();
  }

  async #push(): Promise<boolean> {
    const { limits } = this.#server;
    const inFlight = Math.min(limits["pushes_in_flight"] ?? 1, PUSHES_IN_FLIGHT_MAX);
    if (this.#exhausted || this.#cutShort || this.#flying.length >= inFlight) return false;
    this.#exhausted = true; // unless something is offered while the page is read
    const events = await this.#journal.after(
      this.#pushedSeq,
      Math.min(limits["push_bytes"] ?? PUSH_BYTES_TARGET, PUSH_BYTES_TARGET),
      Math.min(limits["push_events"] ?? PUSH_EVENTS_MAX, PUSH_EVENTS_MAX),
    );
    if (events.length === 0 || this.#over) return false;
    this.#exhausted = false;
    const sent = { number: ++this.#pushes, firstSeq: this.#pushedSeq + 1, count: events.length };
    this.#send("PUSH", { number: sent.number, first_seq: sent.firstSeq, events });
    this.#flying.push(sent);
    this.#pushedSeq += sent.count;
    if (this.#flying.length === 1) this.#watchResult();
    return true;
  }

  async #result(result: Said<"RESULT">): Promise<void> {
    const sent = this.#flying.shift();
    const answered = result.verdicts.reduce((sum, verdict) => sum + verdict.count, 0);
    if (sent === undefined || sent.number !== result.number || answered > sent.count) {
      return this.#violated("protocol_violation", 1002, "RESULT answers no push");
    }
    this.#cutShort = answered < sent.count; // GOODBYE follows
    this.#timers.unwatch("result");
    if (this.#flying.length > 0) this.#watchResult();
    const answers = await this.#journal.settle(sent.firstSeq, result.verdicts, result.decisions);
    this.sent += answers.length;
    this.quarantined += answers.filter(({ state }) => state === State.quarantined).length;
    this.refused += answers.filter(({ state }) => state === State.refused).length;
    await this.#proceed();
  }

  #watchResult(): void {
    this.#timers.watch("result", RESULT_TIMEOUT_MS, () =>
      this.#gone("the server did not answer a push"),
    );
  }

  get #idle(): boolean {
    return this.#exhausted && this.#flying.length === 0;
  }

  get #server(): Said<"WELCOME"> {
    if (this.#welcome === null) throw new ReplicaError("misuse", "not connected");
    return this.#welcome;
  }

  // Down -----------------------------------------------------------------------------------------

  #arrived(events: Said<"EVENTS">, size: number): void {
    let at = this.#receivedThrough;
    for (const segment of events.segments) {
      if (segment.first <= at || segment.count < 1) {
        return this.#violated("protocol_violation", 1002, "segments out of order");
      }
      at = segment.first + segment.count - 1;
    }
    if (events.through < at || events.through <= this.#receivedThrough) {
      return this.#violated("protocol_violation", 1002, "EVENTS end before they begin");
    }
    this.#receivedBytes += Math.max(size, WINDOW_FRAME_BYTES_MIN);
    if (this.#receivedBytes > UNCONFIRMED_BYTES_MAX + FRAME_BYTES_MAX) {
      return this.#violated("protocol_violation", 1002, "EVENTS beyond the window");
    }
    this.#receivedThrough = events.through;
    this.#events.push(events);
    this.#do(() => this.#receive());
  }

  /** Frames that wait are stored together and confirmed once they are durable. */
  async #receive(): Promise<void> {
    if (this.#pulling || this.#events.length === 0) return;
    const waiting = this.#events;
    this.#events = [];
    this.#unconfirmedBytes += this.#receivedBytes;
    this.#receivedBytes = 0;
    if (this.#scoped) return this.#pull(waiting);
    await this.#store(waiting);
    await this.#proceed();
  }

  async #store(waiting: readonly Said<"EVENTS">[]): Promise<void> {
    const last = waiting.at(-1);
    if (last === undefined) return;
    const segments = waiting.flatMap((events) => events.segments);
    await this.#journal.receive(segments, last.through, last.chain);
    this.received += segments.reduce((sum, segment) => sum + segment.count, 0);
    const sinceMs = performance.now() - this.#confirmedTicks;
    if (sinceMs >= CONFIRM_INTERVAL_MS || this.#unconfirmedBytes >= CONFIRM_BYTES) this.#confirm();
    else this.#timers.watch("confirm", CONFIRM_INTERVAL_MS - sinceMs, () => this.#confirm());
  }

  /** Tells the server what is durable, if that is news. */
  #confirm(): void {
    this.#timers.unwatch("confirm");
    const { cursor } = this.#journal.place;
    if (this.#confirmed >= cursor) return;
    this.#send("CURSOR", { position: cursor });
    this.#confirmed = cursor;
    this.#confirmedTicks = performance.now();
    this.#unconfirmedBytes = 0;
  }

  // A part of the account (§14) ------------------------------------------------------------------

  /** Whether documents of a scope come instead of the log, or are on their way back to it. */
  get #scoped(): boolean {
    return this.#server.scope > 0 || this.#journal.place.scope > 0;
  }

  /** Documents in scope, up to where the cursor is to be; then the cursor itself. */
  #pull(waiting: readonly Said<"EVENTS">[]): void {
    const journal = this.#journal;
    if (journal.identity === null) return;
    this.#pulling = true;
    const server = new Server(this.#around.fetch, journal.identity, this.#ended.signal);
    const through = waiting.at(-1)?.through ?? journal.place.cursor;
    this.#beside = pull(journal, server, through, this.#server.scope, this.#around).then(
      (moved) => this.#do(() => this.#pulled(waiting, moved)),
      (error) => this.#do(() => Promise.reject(error)),
    );
  }

  async #pulled(waiting: readonly Said<"EVENTS">[], moved: number): Promise<void> {
    this.#pulling = false;
    this.received += moved;
    await this.#store(waiting);
    await this.#receive();
    await this.#proceed();
  }

  // Digests --------------------------------------------------------------------------------------

  #owe(position: number, afterPushing: boolean): void {
    if (this.#digestAt !== null) {
      return this.#violated("protocol_violation", 1002, "a question before the answer to the last");
    }
    this.#digestAt = position;
    this.#digestAfterPushing = afterPushing;
    this.offer();
  }

  /** Documents are the fold of exactly the log up to some position: nothing own beyond it. */
  get #whole(): boolean {
    if (this.#pulling || this.#events.length > 0) return false;
    return this.#journal.held.through >= this.#journal.place.reach;
  }

  async #tellDigest(): Promise<void> {
    if (this.#digestAt === null || !this.#whole) return;
    if (this.#digestAfterPushing && !this.#idle) return;
    const position = this.#journal.held.through;
    const sections = await this.#journal.held.sections();
    this.#digestAt = null;
    this.#confirm(); // so that both speak of the same moment
    this.#send("DIGEST", { position, sections, pending: this.#journal.pending });
  }

  /**
   * Digests can be compared only when both hold for one position, while the log may be moving: the
   * server is asked where it is, the device catches up, and the server is asked for exactly that.
   */
  async #compare(): Promise<void> {
    const journal = this.#journal;
    if (this.#prove === null || this.#asked || journal.pending > 0 || !this.#whole) return;
    const position = journal.held.through;
    if (this.#told === null) this.#ask(0);
    else if (this.#told.position === position) {
      const equal = sameSections(await journal.held.sections(), this.#told.sections);
      await this.#proved(position, equal);
    } else if (this.#told.position < position) {
      if (this.#asks < PROOF_ASKS_MAX) this.#ask(position);
      else await this.#proved(0, false);
    } // else wait until everything up to there has come
  }

  #ask(position: number): void {
    this.#asked = true;
    this.#asks += 1;
    this.#confirm();
    this.#send("DIGEST_REQUEST", { position });
  }

  async #proved(position: number, equal: boolean): Promise<void> {
    const journal = this.#journal;
    journal.differed = equal ? 0 : journal.differed + 1;
    this.#prove?.({ position, equal });
    this.#prove = null;
    this.#told = null;
    this.#asks = 0;
    if (equal) return;
    // Meeting anew shows what is wrong; if nothing is, everything is fetched again (§7).
    if (journal.differed === 2) await journal.fork(this.#server.next_epoch);
    else if (journal.place.scope > 0) await journal.held.take({ storedMs: 0 });
    this.#leave(SETTLED_CODE, 1000, "the digests differ; meeting anew");
  }

  async #answered(told: Said<"DIGEST">): Promise<void> {
    if (!this.#asked) return this.#violated("protocol_violation", 1002, "DIGEST was not asked for");
    this.#asked = false;
    this.#told = told;
    await this.#proceed();
  }
}
