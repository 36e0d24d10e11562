/**
 * Ways to break the core on purpose, by which the simulation shows that it can fail. A text must be found
 * exactly once, whatever its spaces and line breaks: where the core changes, its mutants must follow.
 */
import type { Setting } from "./Plan.js"

export interface Edit {
  /** In `packages/core/src`. */
  readonly file: string
  readonly find: string
  readonly put: string
}

export interface Mutant {
  readonly name: string
  /** Where it shows soonest. */
  readonly weather: Setting["weather"]
  /** The invariant that it must break. */
  readonly by: string
  readonly edits: ReadonlyArray<Edit>
}

const transaction = "internal/RefreshTransaction.ts"
const stored = "internal/StoredGrant.ts"
const state = "internal/GrantState.ts"
const held = "internal/HeldLease.ts"
const flight = "internal/SingleFlight.ts"

const one = (file: string, find: string, put: string): ReadonlyArray<Edit> => [{ file, find, put }]

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "storage is not read again under the lease",
    weather: "calm",
    by: "calm-failure",
    edits: one(
      transaction,
      "yield* reload(parts) const decision = judgeAgain(parts, trigger, clock())",
      "const decision = judgeAgain(parts, trigger, clock())"
    )
  },
  {
    name: "a rotation is written without its fence",
    weather: "calm",
    by: "no-fence",
    edits: one(
      stored,
      "const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence })",
      "const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence: 0 })"
    )
  },
  {
    name: "no intent is noted before the request",
    weather: "calm",
    by: "no-intent",
    edits: one(
      stored,
      "if (Option.isNone(base) || !parts.refresher.needsRefreshToken) return Effect.succeedSome(base)",
      "return Effect.succeedSome(base)"
    )
  },
  {
    name: "the answer is committed unmerged",
    weather: "calm",
    by: "blanked",
    edits: one(
      "Credentials.ts",
      "const refreshToken = Option.orElse(Option.map(newRefreshToken, redact), () => Option.flatMap(previous, (p) => p.refreshToken) )",
      "const refreshToken = Option.map(newRefreshToken, redact)"
    )
  },
  {
    name: "the lease is released before the commit",
    weather: "calm",
    by: "spent-unsaved",
    edits: [
      ...one(transaction, "return Effect.zipRight(refreshed, save(parts, lease))", "return refreshed"),
      ...one(
        held,
        "if (lease === undefined || isSettled(parts)) return release",
        "if (lease !== null) return release"
      )
    ]
  },
  {
    name: "the lease is released though the commit failed",
    weather: "storage",
    by: "spent-unsaved",
    edits: one(
      held,
      "if (lease === undefined || isSettled(parts)) return release",
      "if (lease !== null) return release"
    )
  },
  {
    name: "invalid_grant deletes the grant",
    weather: "network",
    by: "deleted",
    edits: one(
      transaction,
      "state.noteDead(dead)",
      "state.noteDead(dead); yield* Effect.ignore(parts.storage.remove)"
    )
  },
  {
    name: "invalid_grant is believed without reading storage again",
    weather: "rivals",
    by: "false-alarm",
    edits: [
      ...one(transaction, "yield* reload(parts) const moved =", "const moved ="),
      ...one(transaction, "if (!isMarked && conflicts < maxConflicts)", "if (!isMarked && conflicts < 0)")
    ]
  },
  {
    name: "the interruption of a caller reaches the request",
    weather: "network",
    by: "interrupted",
    edits: [
      {
        file: flight,
        find: "this.flights.fork(this.run(why)",
        put: "run.fiber = this.flights.fork(this.run(why)"
      },
      {
        file: flight,
        find: "running.delete(fiber) onEnd(exit) })",
        put: "running.delete(fiber); onEnd(exit) }); return fiber"
      },
      {
        file: flight,
        find: "run.waited = true return run.outcome",
        put: "run.waited = true; return Effect.onInterrupt(run.outcome, () => Fiber.interruptFork(run.fiber))"
      }
    ]
  },
  {
    name: "a rotation that could not be saved is dropped",
    weather: "storage",
    by: "false-alarm",
    edits: one(
      stored,
      "emit(TokenEvent.SaveFailed(",
      "((state.unsaved = Option.none()), emit)(TokenEvent.SaveFailed("
    )
  },
  {
    name: "a rotation is dropped where memory was forgotten meanwhile",
    weather: "users",
    by: "dropped",
    edits: one(
      state,
      "this.forgotten || this.lags(Option.fromNullable(this.stored))",
      "this.lags(Option.fromNullable(this.stored))"
    )
  },
  {
    name: "a rotation is written over whatever storage holds by then",
    weather: "rivals",
    by: "overwritten",
    edits: one(
      state,
      "private lags(loaded: Option.Option<Versioned>): boolean {",
      "private lags(loaded: Option.Option<Versioned>): boolean { if (Option.isSome(this.unsaved)) return true;"
    )
  },
  {
    name: "the cool-down is ignored",
    weather: "busy",
    by: "cool-down",
    edits: one(
      "Decision.ts",
      "if (now < c.since) return Option.none()",
      "if (now < Infinity) return Option.none()"
    )
  },
  {
    name: "force passes the wait that the server asked for",
    weather: "busy",
    by: "cool-down",
    edits: one(
      "Decision.ts",
      ".filter(({ until }) => now < until)",
      ".filter(({ until }) => !force && now < until)"
    )
  },
  {
    name: "the wait that the server asked another process for is not kept to",
    weather: "busy",
    by: "asked-to-wait",
    edits: one("Decision.ts", "(wait) => askedOfAll(wait, now)", "() => Option.none<CoolingDown>()")
  },
  {
    name: "the wait that the server asked for is not written down",
    weather: "busy",
    by: "unwritten-wait",
    edits: one(stored, "Decision.serverWait(held.serverWait, retryAfter, now)", "held.serverWait")
  },
  {
    name: "each caller has a refresh of its own",
    weather: "calm",
    by: "single-flight",
    edits: one(flight, "if (this.current !== undefined) return this.current", "")
  },
  {
    name: "a busy lease is ignored",
    weather: "calm",
    by: "stale-commit",
    edits: one(
      transaction,
      "onSuccess: Effect.succeedSome, onFailure: (error) => {",
      'onSuccess: Effect.succeedSome, onFailure: (error) => { if (error.reason === "Busy") return Effect.succeedSome({ fence: 1e15, isHeld: Effect.succeed(true) })'
    )
  },
  {
    name: "the lease is not asked for again before the request",
    weather: "rivals",
    by: "two-at-once",
    edits: one(
      transaction,
      "const stillHeld = yield* Effect.orElseSucceed(lease.isHeld, () => false)",
      "const stillHeld = true"
    )
  },
  {
    name: "a refresh token in a spoiled answer is dropped",
    weather: "network",
    by: "dropped",
    edits: one(transaction, "if (error.salvaged !== undefined) {", "if (error.salvaged === null) {")
  },
  {
    name: "a lost rotation is called a dead grant",
    weather: "lost",
    by: "untyped",
    edits: one(transaction, "rotationLost: Option.isSome(lost)", "rotationLost: false")
  },
  {
    name: "a dead grant is posted again and again",
    weather: "network",
    by: "posted-dead",
    edits: one(
      "Decision.ts",
      "const canRefresh = held.refreshable && Option.isNone(held.dead)",
      "const canRefresh = held.refreshable"
    )
  },
  {
    name: "a rejected token is served",
    weather: "calm",
    by: "unwanted",
    edits: one(state, "rejection.value.token === Redacted.value(credentials.value.accessToken)", "false")
  },
  {
    name: "closing the scope does not wait for the request",
    weather: "users",
    by: "interrupted",
    edits: one(flight, "Effect.timeoutOption(patience)", "Effect.timeoutOption(0)")
  },
  {
    name: "the generation does not rise",
    weather: "calm",
    by: "generation",
    edits: one(
      "Entry.ts",
      "generation: previous.generation + 1, intent: Option.none(), dead",
      "generation: previous.generation, intent: Option.none(), dead"
    )
  },
  {
    name: "an event shows a token",
    weather: "calm",
    by: "secret",
    edits: one("Fingerprint.ts", 'bits.toString(16).padStart(12, "0")', "Redacted.value(secret)")
  },
  {
    name: "a refresh without an answer is never sent again within the window",
    weather: "lost",
    by: "not-repeated",
    edits: one("RotationPolicy.ts", "open: at <= now && now < until", "open: false")
  },
  {
    name: "a spent token is sent again outside the window while its access token lives",
    weather: "lost",
    by: "last-resort",
    edits: one("RotationPolicy.ts", "open: at <= now && now < until", "open: true")
  },
  {
    name: "who waited for the lease uses what was read before the wait",
    weather: "calm",
    by: "calm-failure",
    edits: [
      {
        file: transaction,
        find: "yield* reload(parts) const decision = judgeAgain(parts, trigger, clock())",
        put: "if (!parts.waited) yield* reload(parts); const decision = judgeAgain(parts, trigger, clock())"
      },
      {
        file: transaction,
        find: "Effect.zipRight(reload(parts)), Effect.zipRight( Effect.suspend(() => endsWait.has(judgeAgain(parts, trigger, now())._tag) ? Effect.succeedNone : acquire(",
        put: "Effect.tap(() => void (parts.waited = true)), Effect.zipRight(Effect.suspend(() => acquire("
      }
    ]
  },
  {
    name: "a slow read is taken for the newest",
    weather: "storage",
    by: "false-alarm",
    edits: one(
      stored,
      "state.epoch === epoch ? takeIn(parts, loaded, nowOf(fiber)) : reload(parts)",
      "takeIn(parts, loaded, nowOf(fiber))"
    )
  },
  {
    name: "an expired token is served",
    weather: "calm",
    by: "stale",
    edits: one(
      "Decision.ts",
      "({ at }) => Math.min(at - now, longestLife(credentials))",
      "({ at }) => at + 5000 - now"
    )
  },
  {
    name: "a token is refreshed long before it is due",
    weather: "calm",
    by: "needless",
    edits: one(
      "Decision.ts",
      "onSome: (lifetime) => Math.min(wanted, lifetime / 2)",
      "onSome: (lifetime) => lifetime * 0.9"
    )
  }
]
