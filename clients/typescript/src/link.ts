/**
 * Keeps a device connected for as long as it is wanted: one session after the other, with a random
 * part of a growing delay between them, so that a thousand devices do not come back at once.
 */

import { Server } from "./asking.ts";
import { fetchBulk, wantsBulk } from "./bulk.ts";
import { ReplicaError, wordsOf } from "./errors.ts";
import { SUBPROTOCOL } from "./frames.ts";
import {
  ASK_RETRY_MS,
  RECONNECT_DELAY_MS_MAX,
  RECONNECT_DELAY_MS_MIN,
  RECONNECT_DOUBLINGS_MAX,
} from "./limits.ts";
import type { OpenSocket } from "./ports.ts";
import type { Progress } from "./rows.ts";
import { Session, type Proof, type Surroundings } from "./session.ts";

/** How the device stands to its server. Recording and reading work in every mode. */
export type Mode =
  "offline" | "connecting" | "online" | "revoked" | "forbidden" | "upgrade_required" | "failed";

/** Modes in which trying again by itself would change nothing. */
export const RESTING: readonly Mode[] = ["revoked", "forbidden", "upgrade_required", "failed"];

export interface Counts {
  readonly sent: number;
  readonly received: number;
  readonly quarantined: number;
  readonly refused: number;
}

export class Link {
  mode: Mode = "offline";
  text = "sync is not started";
  /** Connections lost since one was last let in. */
  failures = 0;
  serverPosition = 0;
  /** What went wrong with the storage, in mode `failed`. */
  failure: unknown = null;
  /** Many documents on their way, by type. */
  fetching: readonly Progress[] = [];

  readonly #openSocket: OpenSocket;
  readonly #random: () => number;
  readonly #around: Surroundings;
  #counts: Counts = { sent: 0, received: 0, quarantined: 0, refused: 0 };
  #session: Session | null = null;
  readonly #bulk: boolean;
  /** The server has nothing in bulk for this device. */
  #logServes = false;
  #fetch: AbortController | null = null;
  #running: Promise<void> | null = null;
  #stopping = false;
  #wake: () => void = () => undefined;
  #prove: ((proof: Proof) => void) | null = null;

  constructor(around: Surroundings, openSocket: OpenSocket, random: () => number, bulk: boolean) {
    this.#bulk = bulk;
    this.#openSocket = openSocket;
    this.#random = random;
    this.#around = {
      ...around,
      welcomed: (position) => {
        this.serverPosition = position;
        this.failures = 0;
        this.#show("online", "connected");
        return this.#wantsBulk;
      },
      fetching: (progress) => this.#fetching(progress),
    };
  }

  get running(): boolean {
    return this.#running !== null;
  }

  get counts(): Counts {
    const { sent, received, quarantined, refused } = this.#session ?? none;
    return {
      sent: this.#counts.sent + sent,
      received: this.#counts.received + received,
      quarantined: this.#counts.quarantined + quarantined,
      refused: this.#counts.refused + refused,
    };
  }

  /** Connects to `url` and stays connected; if it is waiting to try again, it tries now. */
  start(url: string): void {
    this.#stopping = false;
    this.#logServes = false;
    this.#wake();
    this.#running ??= this.#run(url).finally(() => {
      this.#running = null;
      this.#around.changed();
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#session?.close("going_away", "the device goes offline");
    this.#fetch?.abort();
    this.#wake();
    await this.#running;
  }

  /** The outbox has grown. */
  offer(): void {
    this.#session?.offer();
  }

  /** Compare digests once everything is exchanged, on this connection or a later one. */
  prove(proved: (proof: Proof) => void): void {
    this.failures = 0;
    this.#prove = proved;
    this.#wake();
    if (this.#session) this.#arm(this.#session);
  }

  /** Nobody waits for the proof any more. */
  forgetProof(): void {
    this.#prove = null;
  }

  async #run(url: string): Promise<void> {
    while (!this.#stopping) {
      this.#show("connecting", "connecting");
      const hintMs = await this.#connect(url);
      if (this.#stopping || RESTING.includes(this.mode)) break;
      await this.#pause(hintMs);
    }
    if (!RESTING.includes(this.mode)) this.#show("offline", "sync is stopped");
  }

  /** One connection, to its end; gives the delay the server asked for. */
  async #connect(url: string): Promise<number> {
    try {
      if (this.#wantsBulk && !(await this.#fetchBulk())) return ASK_RETRY_MS;
      if (this.#stopping) return 0;
      const session = new Session(this.#openSocket(url, SUBPROTOCOL), this.#around);
      this.#session = session;
      this.#arm(session);
      await session.run();
      this.#counts = this.counts;
      this.#session = null;
      this.#lost(session);
      return session.retryMs;
    } catch (error) {
      this.#session = null;
      this.failure = error;
      const words = error instanceof ReplicaError ? error.message : `a defect: ${wordsOf(error)}`;
      this.#show("failed", words);
      return 0;
    }
  }

  get #wantsBulk(): boolean {
    return this.#bulk && !this.#logServes && wantsBulk(this.#around.journal, this.serverPosition);
  }

  /** Documents in bulk before the next connection; false when there was no way to the server. */
  async #fetchBulk(): Promise<boolean> {
    const { journal, fetch } = this.#around;
    if (journal.identity === null) return true;
    this.#fetch = new AbortController();
    const server = new Server(fetch, journal.identity, this.#fetch.signal);
    try {
      const came = await fetchBulk(journal, server, (progress) => this.#fetching(progress));
      this.#logServes = came === null;
      this.#counts = { ...this.#counts, received: this.#counts.received + (came ?? 0) };
      return true;
    } catch (error) {
      if (!(error instanceof ReplicaError) || error.code !== "peer_gone") throw error;
      this.failures += 1;
      this.#show("offline", error.message);
      return false;
    } finally {
      this.#fetch = null;
    }
  }

  #fetching(progress: readonly Progress[]): void {
    this.fetching = progress;
    this.#around.changed();
  }

  #arm(session: Session): void {
    if (this.#prove === null) return;
    session.prove((proof) => {
      const proved = this.#prove;
      this.#prove = null;
      proved?.(proof);
    });
  }

  #lost(session: Session): void {
    const { goodbye, reason } = session;
    this.failures += 1;
    const code = goodbye?.code ?? "";
    if (code === "revoked" || code === "forbidden" || code === "upgrade_required") {
      this.#show(code, `${code}: ${goodbye?.message ?? ""}`);
    } else this.#show("offline", goodbye ? `${code}: ${goodbye.message}` : reason);
  }

  /** Waits before the next connection; a new wish ends the wait. */
  #pause(hintMs: number): Promise<void> {
    const doublings = Math.min(Math.max(this.failures - 1, 0), RECONNECT_DOUBLINGS_MAX);
    const grownMs = Math.min(RECONNECT_DELAY_MS_MIN * 2 ** doublings, RECONNECT_DELAY_MS_MAX);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#random() * Math.max(grownMs, hintMs));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #show(mode: Mode, text: string): void {
    this.mode = mode;
    this.text = text;
    this.#around.changed();
  }
}

const none: Counts = { sent: 0, received: 0, quarantined: 0, refused: 0 };
