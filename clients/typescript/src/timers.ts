/** What a connection waits for, by name: at most one wait of each. */

type Timer = "opening" | "welcome" | "result" | "silence" | "confirm";

export class Timers {
  readonly #running = new Map<Timer, ReturnType<typeof setTimeout>>();

  /** Calls `due` in `ms`, unless it is watched anew or not any more before. */
  watch(timer: Timer, ms: number, due: () => void): void {
    this.unwatch(timer);
    this.#running.set(timer, setTimeout(due, ms));
  }

  unwatch(timer: Timer): void {
    clearTimeout(this.#running.get(timer));
    this.#running.delete(timer);
  }

  stop(): void {
    for (const timer of [...this.#running.keys()]) this.unwatch(timer);
  }
}
