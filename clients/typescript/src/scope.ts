/**
 * Holding a part of the account: documents in the place of the log (wire-protocol.md §14.2, §14.3).
 *
 * Pages of documents that changed, each stored together with how far it leads, so that a device that
 * is cut off goes on where it was. When the digests differ after the last one, documents have
 * entered or left: what differs is found by comparing hashes, and taken or dropped.
 */

import type { Answer, Server } from "./asking.ts";
import { concat, hex, same, type Bytes } from "./bytes.ts";
import { FINGERPRINT, hashOf, type Stated } from "./digest.ts";
import { stated } from "./documents.ts";
import { malformed, ReplicaError } from "./errors.ts";
import { countOf, wordOf } from "./event.ts";
import { SECTIONS, type SectionDigest } from "./frames.ts";
import type { Journal } from "./journal.ts";
import {
  ANSWER_BYTES_MAX,
  RAW_BYTES_MAX,
  RECONCILE_DOCUMENTS_MAX,
  SCOPE_MOVES_MAX,
  SCOPE_PAGES_MAX,
  SCOPE_TRIES_MAX,
} from "./limits.ts";
import { unpack, type Value } from "./msgpack.ts";
import { Initiator } from "./negentropy.ts";
import type { Progress } from "./rows.ts";
import { inflate } from "./streams.ts";

const FORMAT = 1;
const OK = 200;

interface Page {
  readonly version: number;
  /** The scope has no bounds: the log can serve this device again. */
  readonly everything: boolean;
  readonly position: number;
  readonly through: number;
  readonly documents: readonly Stated[];
  readonly sections: readonly SectionDigest[];
  /** With what to ask for what is of use next, in a first sync; empty when that is over. */
  readonly ahead: string;
}

/** What is told on the way: the time, and how far a first sync is. */
interface Told {
  readonly now: () => number;
  readonly fetching: (progress: readonly Progress[]) => void;
}

interface Differences {
  /** The server's documents include at least this. */
  readonly position: number;
  /** Names of what only this device has, or has otherwise. */
  readonly ours: readonly string[];
  /** Hashes of what only the server has, or has otherwise. */
  readonly theirs: readonly Uint8Array[];
}

/**
 * Brings the documents in scope to position `through` or later; gives how many came or left.
 *
 * `version` is the scope's as WELCOME told. Documents enter and leave when nothing is unsent. Throws
 * `peer_gone` when the connection is lost or the server cannot answer now, `upgrade_required` when it
 * folds by other rules, `malformed` for nonsense; called again it goes on where it was.
 */
export async function pull(
  journal: Journal,
  server: Server,
  through: number,
  version: number,
  { now, fetching }: Told,
): Promise<number> {
  await journal.held.begin(Math.max(version, 1));
  let moved = 0;
  for (let tries = 0; tries < SCOPE_TRIES_MAX; tries++) {
    const [page, came] = await pages(journal, server, through, fetching).finally(() =>
      fetching([]),
    );
    moved += came;
    const { reach, documentsAt } = journal.place;
    // What is unsent, or was answered while the pages came, is settled by the next pull.
    if (page === null || journal.pending > 0 || reach > documentsAt) return moved;
    if (sameSections(journal.held.documents.sections(), page.sections)) {
      await journal.held.take({ scope: page.everything ? 0 : page.version, storedMs: now() });
      return moved;
    }
    const evened = await evenOut(journal, server);
    if (evened === null) return moved;
    moved += evened;
  }
  return moved;
}

/** Takes pages up to the last one there is now, and gives it; null when it is time to stop. */
async function pages(
  journal: Journal,
  server: Server,
  through: number,
  fetching: Told["fetching"],
): Promise<readonly [Page | null, number]> {
  let came = 0;
  for (let taken = 0; taken < SCOPE_PAGES_MAX && !server.stopping; taken++) {
    const { documentsAt, reach, scope, ahead } = journal.place;
    const query = new URLSearchParams({
      after: String(documentsAt),
      position: String(Math.max(through, reach)),
      version: String(scope),
      pending: String(journal.pending),
    });
    // Who has nothing yet gets what is of use first.
    if (documentsAt === 0) query.set("ahead", ahead || "0");
    const answer = await server.ask(`scope/changes?${query}`, ANSWER_BYTES_MAX);
    if (answer.status !== OK) {
      const words = `the server does not give the documents in scope (${answer.status})`;
      throw new ReplicaError("peer_gone", words);
    }
    checkFold(answer);
    const page = readPage(unpack(await inflate(answer.data, "a page", RAW_BYTES_MAX)));
    if (page.through < documentsAt) throw malformed("a page that leads back");
    const moved = { documentsAt: page.through, ahead: page.ahead };
    came += await journal.held.take(moved, page.documents);
    if (page.ahead !== "") fetching(progressOf(journal.held.documents.sections(), page.sections));
    else if (page.through === page.position) return [page, came];
  }
  return [null, came];
}

function progressOf(held: readonly SectionDigest[], all: readonly SectionDigest[]): Progress[] {
  return all.map(({ section, count: total }) => {
    const found = held.find((one) => one.section === section);
    return { section, done: Math.min(found?.count ?? 0, total), total };
  });
}

/** Throws `upgrade_required` when the server folds by rules that this program does not have. */
function checkFold(answer: Answer): void {
  if (answer.header("replica-fold") === FINGERPRINT) return;
  throw new ReplicaError("upgrade_required", "the server folds by other rules than this program", {
    hint: "update this program; what is unsent stays here",
  });
}

function readPage(value: Value): Page {
  const [format, version, everything, position, through, documents, sections, ahead = ""] =
    value as readonly Value[];
  if (format !== FORMAT || !Array.isArray(documents)) throw malformed("no page of documents");
  const page = {
    version: countOf(version),
    everything: everything === true,
    position: countOf(position),
    through: countOf(through),
    documents: documents.map(stated),
    sections: SECTIONS.read(sections),
    ahead: wordOf(ahead),
  };
  if (page.through > page.position) throw malformed("a page beyond its position");
  return page;
}

/**
 * Takes what the server has otherwise, and lets go what only this device has; gives how many that
 * were, null when the server does not say or too much differs.
 */
async function evenOut(journal: Journal, server: Server): Promise<number | null> {
  let moved = 0;
  for (let tries = 0; tries < SCOPE_TRIES_MAX; tries++) {
    const found = await differences(journal, server);
    if (found === null) return null;
    if (found.ours.length + found.theirs.length === 0) return moved;
    const [taken, complete] = await take(journal, server, found.theirs);
    moved += taken.size;
    if (!complete) continue; // some changed meanwhile: compare again
    const alone = found.ours.filter((name) => !taken.has(name));
    if (alone.length > 0) moved += await journal.held.drop(alone, found.position);
  }
  return null;
}

async function differences(journal: Journal, server: Server): Promise<Differences | null> {
  const position = Math.max(journal.held.through, journal.place.reach);
  const names = new Map<string, string>();
  const items: { time: bigint; id: Uint8Array }[] = [];
  for (const [name, hash] of journal.held.documents.hashes()) {
    names.set(hex(hash), name);
    items.push({ time: 0n, id: hash });
  }
  const asking = new Initiator(items);
  const ours: string[] = [];
  const theirs: Uint8Array[] = [];
  for (let message: Bytes | null = asking.initiate(); message !== null;) {
    const path = `reconcile/documents?position=${position}`;
    const answer = await server.ask(path, ANSWER_BYTES_MAX, message);
    if (answer.status !== OK) return null;
    checkFold(answer);
    const step = asking.reconcile(answer.data);
    for (const hash of step.have) ours.push(names.get(hex(hash))!);
    theirs.push(...step.need);
    if (ours.length + theirs.length > SCOPE_MOVES_MAX) return null;
    message = step.message;
  }
  return { position, ours, theirs };
}

/** Stores the documents with these hashes; gives their names, and whether none is missing. */
async function take(
  journal: Journal,
  server: Server,
  hashes: readonly Uint8Array[],
): Promise<readonly [ReadonlySet<string>, boolean]> {
  const left = new Map(hashes.map((hash) => [hex(hash), hash]));
  const taken = new Set<string>();
  while (left.size > 0) {
    const wanted = [...left.values()].slice(0, RECONCILE_DOCUMENTS_MAX);
    const answer = await server.ask("documents", ANSWER_BYTES_MAX, concat(...wanted));
    const given = answer.status === OK ? unpack(answer.data) : [];
    if (!Array.isArray(given)) throw malformed("no documents");
    if (given.length === 0) break;
    const fresh = given.map(stated);
    for (const one of fresh) {
      if (!left.delete(hex(hashOf(one)))) throw malformed("a document that nobody asked for");
      taken.add(`${one.type}/${one.id}`);
    }
    await journal.held.take({}, fresh);
  }
  return [taken, left.size === 0];
}

export function sameSections(
  ours: readonly SectionDigest[],
  theirs: readonly SectionDigest[],
): boolean {
  return (
    ours.length === theirs.length &&
    ours.every(({ section, count, digest }, at) => {
      const other = theirs[at]!;
      return section === other.section && count === other.count && same(digest, other.digest);
    })
  );
}
