// Real Yjs as an editor of notes: one JSON command per line in, one JSON answer per line out.
// Positions are code points, as whoever drives this counts them.
import { createInterface } from "node:readline";
import * as Y from "../../clients/typescript/node_modules/yjs/dist/yjs.mjs";

const docs = new Map();
const bytes = (hex) => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (data) => Buffer.from(data).toString("hex");
const units = (text, points) => [...text].slice(0, points).join("").length;

const commands = {
  // A document of `name` written under `client`, from updates.
  open({ name, client, updates = [] }) {
    const doc = new Y.Doc();
    doc.clientID = client;
    docs.set(name, doc);
    for (const update of updates) Y.applyUpdate(doc, bytes(update));
  },
  // Replaces `cut` code points at `at`; gives the updates that an editor would send.
  edit({ name, at, cut, put }) {
    const doc = docs.get(name);
    const sent = [];
    const listen = (update) => sent.push(hex(update));
    doc.on("update", listen);
    const text = doc.getText("text");
    doc.transact(() => {
      const whole = text.toString();
      const from = units(whole, at);
      if (cut) text.delete(from, units(whole, at + cut) - from);
      if (put) text.insert(from, put);
    });
    doc.off("update", listen);
    return sent;
  },
  apply({ name, updates }) {
    for (const update of updates) Y.applyUpdate(docs.get(name), bytes(update));
  },
  // One update in place of all: the state, or those of its parts merged without a document.
  merged: ({ updates }) => hex(Y.mergeUpdates(updates.map(bytes))),
  // What an update says character by character: libraries cut runs of them, and order deletions,
  // each in its own way.
  decoded({ update }) {
    const { structs, ds } = Y.decodeUpdate(bytes(update));
    const characters = structs.flatMap(
      ({ id, length, origin, rightOrigin, content }) =>
        Array.from({ length }, (_, at) => {
          const clock = id.clock + at;
          const left = at ? { client: id.client, clock: clock - 1 } : origin;
          return [
            id.client,
            clock,
            left,
            rightOrigin,
            content?.str?.[at] ?? null,
          ];
        }),
    );
    const deleted = [...ds.clients].sort(([a], [b]) => a - b);
    return { characters, deleted };
  },
  // What the document says, and whether anything waits for a cause.
  read({ name }) {
    const doc = docs.get(name);
    return {
      text: doc.getText("text").toString(),
      state: hex(Y.encodeStateAsUpdate(doc)),
      vector: [...Y.decodeStateVector(Y.encodeStateVector(doc))].sort(
        ([a], [b]) => a - b,
      ),
      whole: doc.store.pendingStructs === null && doc.store.pendingDs === null,
    };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line);
  process.stdout.write(`${JSON.stringify(commands[name](given) ?? null)}\n`);
}
