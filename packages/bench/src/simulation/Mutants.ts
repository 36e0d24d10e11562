/**
 * Ways to break the core on purpose, by which the simulation shows that it can fail. A text must be found
 * exactly once, whatever its spaces and line breaks: where the core changes, its mutants must follow.
 */

export interface Edit {
  /** In `packages/core/src`. */
  readonly file: string
  readonly find: string
  readonly put: string
}

export interface Mutant {
  readonly name: string
  readonly edits: ReadonlyArray<Edit>
  /** The invariants that may be the first to break. */
  readonly caughtBy: ReadonlyArray<string>
}

const transaction = "internal/RefreshTransaction.ts"
const state = "internal/GrantState.ts"
const flight = "internal/SingleFlight.ts"

const one = (file: string, find: string, put: string): ReadonlyArray<Edit> => [{ file, find, put }]

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "storage is not read again under the lease",
    edits: one(
      transaction,
      'yield* reload(parts) const decision = yield* judgeAgain(parts, trigger) if (decision._tag !== "Refresh"',
      'const decision = yield* judgeAgain(parts, trigger); if (decision._tag !== "Refresh"'
    ),
    caughtBy: []
  },
  {
    name: "a rotation is written without its fence",
    edits: one(
      transaction,
      "const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence })",
      "const entry = new Entry.Entry({ ...state.unsaved.value.entry, fence: 0 })"
    ),
    caughtBy: []
  },
  {
    name: "no intent is noted before the request",
    edits: one(
      transaction,
      "if (Option.isNone(base) || !parts.refresher.needsRefreshToken) return Option.some(base)",
      "return Option.some(base)"
    ),
    caughtBy: []
  },
  {
    name: "the answer is committed unmerged",
    edits: one(
      "Credentials.ts",
      "const refreshToken = Option.orElse(Option.map(newRefreshToken, redact), () => Option.flatMap(previous, (p) => p.refreshToken) )",
      "const refreshToken = Option.map(newRefreshToken, redact)"
    ),
    caughtBy: []
  },
  {
    name: "the lease is given back before the commit",
    edits: one(
      transaction,
      "yield* Effect.ignore(saveUnsaved(parts, lease.fence)) }) const successor",
      "}); const successor"
    ),
    caughtBy: []
  },
  {
    name: "invalid_grant deletes the grant",
    edits: one(
      transaction,
      "state.noteDead(dead)",
      "state.noteDead(dead); yield* Effect.ignore(parts.storage.remove)"
    ),
    caughtBy: []
  },
  {
    name: "invalid_grant is believed without reading storage again",
    edits: one(transaction, "yield* reload(parts) const moved =", "const moved ="),
    caughtBy: []
  },
  {
    name: "the interruption of a caller reaches the request",
    edits: [
      {
        file: flight,
        find: "this.flights.fork(Effect.withClock",
        put: "run.fiber = this.flights.fork(Effect.withClock"
      },
      {
        file: flight,
        find: "if (ended) return running.add(fiber)",
        put: "if (ended) return fiber; running.add(fiber)"
      },
      {
        file: flight,
        find: "fiber.addObserver(() => running.delete(fiber))",
        put: "fiber.addObserver(() => running.delete(fiber)); return fiber"
      },
      {
        file: flight,
        find: "run.waited = true return Deferred.await(run.done)",
        put: "run.waited = true; return Effect.onInterrupt(Deferred.await(run.done), () => Fiber.interruptFork(run.fiber))"
      }
    ],
    caughtBy: []
  },
  {
    name: "a rotation that could not be saved is dropped",
    edits: one(
      transaction,
      "yield* emit(TokenEvent.SaveFailed(",
      "state.unsaved = Option.none(); yield* emit(TokenEvent.SaveFailed("
    ),
    caughtBy: []
  },
  {
    name: "a rotation is dropped where memory was forgotten meanwhile",
    edits: one(state, "this.forgotten || this.lags(this.stored)", "this.lags(this.stored)"),
    caughtBy: []
  },
  {
    name: "a rotation is written over whatever storage holds by then",
    edits: one(
      state,
      "private lags(loaded: Option.Option<Versioned>): boolean {",
      "private lags(loaded: Option.Option<Versioned>): boolean { if (Option.isSome(this.unsaved)) return true;"
    ),
    caughtBy: []
  },
  {
    name: "the cool-down is ignored",
    edits: one(
      "Decision.ts",
      '(c) => c.since <= now && now < c.until && !(force && c.reason !== "ServerAsked")',
      "() => false"
    ),
    caughtBy: []
  },
  {
    name: "force passes the wait that the server asked for",
    edits: one("Decision.ts", '!(force && c.reason !== "ServerAsked")', "!force"),
    caughtBy: []
  },
  {
    name: "each caller has a refresh of its own",
    edits: one(flight, "if (this.current !== undefined) return this.current", ""),
    caughtBy: []
  },
  {
    name: "a busy lease is ignored",
    edits: one(
      transaction,
      "if (Either.isRight(got)) return Option.some(got.right)",
      'if (Either.isRight(got)) return Option.some(got.right); if (got.left.reason === "Busy") return Option.some({ fence: 1e15, isHeld: Effect.succeed(true) })'
    ),
    caughtBy: []
  },
  {
    name: "the lease is not asked for again before the request",
    edits: one(
      transaction,
      "const stillHeld = yield* Effect.orElseSucceed(lease.isHeld, () => false)",
      "const stillHeld = true"
    ),
    caughtBy: []
  },
  {
    name: "a refresh token in a spoiled answer is dropped",
    edits: one(transaction, "if (error.salvaged !== undefined) {", "if (error.salvaged === null) {"),
    caughtBy: []
  },
  {
    name: "a lost rotation is called a dead grant",
    edits: one(transaction, "rotationLost: Option.isSome(lost)", "rotationLost: false"),
    caughtBy: []
  },
  {
    name: "a dead grant is posted again and again",
    edits: one(
      "Decision.ts",
      "const canRefresh = held.refreshable && Option.isNone(held.dead)",
      "const canRefresh = held.refreshable"
    ),
    caughtBy: []
  },
  {
    name: "a rejected token is served",
    edits: one(state, "(same) => same ) }", "() => false ) }"),
    caughtBy: []
  },
  {
    name: "closing the scope does not wait for the request",
    edits: one(flight, "Effect.timeoutOption(patience)", "Effect.timeoutOption(0)"),
    caughtBy: []
  },
  {
    name: "the generation does not rise",
    edits: one(
      "Entry.ts",
      "generation: previous.generation + 1, intent: Option.none(), dead",
      "generation: previous.generation, intent: Option.none(), dead"
    ),
    caughtBy: []
  },
  {
    name: "an event shows a token",
    edits: one(
      transaction,
      "token: Fingerprint.of(entry.credentials.accessToken)",
      'token: entry.credentials.accessToken.toString() + Option.getOrElse(Option.map(entry.credentials.refreshToken, Credentials.unhide), () => "")'
    ),
    caughtBy: []
  }
]
