/**
 * What each input does in each phase, one step at a time, in the words of `fixtures/transitions.txt`. A change there is a
 * change of what the machine does: read it, and write it anew with `npx vitest run -u packages/core/test/Transitions.test.ts`.
 */
import { describe, expect, it } from "@effect/vitest"
import { Duration, Either, Option, Redacted } from "effect"
import { fileURLToPath } from "node:url"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as GrantIdentity from "@latchkey/core/GrantIdentity"
import { type Messages, State, Step } from "@latchkey/core/internal-api"
import { LeaseError } from "@latchkey/core/RefreshLease"
import * as RotationPolicy from "@latchkey/core/RotationPolicy"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import { CommitRefused, StorageError, type Version } from "@latchkey/core/TokenStorage"
import { minute } from "./support/Bench.js"
import { policy as plainPolicy } from "./support/Policy.js"

const hour = 60 * minute
const now = 1_700_000_000_000

const policy: State.Policy = {
  ...plainPolicy,
  grace: 2 * minute,
  leaseWait: 10_000,
  rotation: RotationPolicy.rotating(minute),
  jitterShare: 0.25,
  uptime: hour,
  reportsChanges: false
}
const independent: State.Policy = { ...policy, needsRefreshToken: false }

// --- What is stored, and what happens ---

const version = (text: string): Version => text as Version

/** The tokens of the `n`th refresh: of an hour, and the first of them expired a minute ago. */
const tokens = (n: number, changes: Partial<Credentials.Options> = {}): Credentials.Credentials =>
  Credentials.make({
    accessToken: `at-${n}`,
    refreshToken: `rt-${n}`,
    obtainedAt: n === 1 ? now - hour - minute : now,
    expiresAt: n === 1 ? now - minute : now + hour,
    ...changes
  })

const first = Entry.first(tokens(1), 2)
const second = Entry.refreshed(first, tokens(2))
const changed = (entry: Entry.Entry, fields: Partial<Entry.Entry>): Entry.Entry =>
  new Entry.Entry({ ...entry, ...fields })
/** What storage held before, as a backup would. */
const older = changed(first, { credentials: tokens(0), generation: 1 })
const intent = (attempt: number, at: number) =>
  Option.some(new Entry.Intent({ fingerprint: Entry.grantFingerprint(first.credentials), at, attempt }))
const wait = Option.some(new Entry.ServerWait({ at: now, until: now + minute }))

const request = { force: false, minValidity: 0 }
const want: State.Want = { ...request, had: Option.none(), yields: false }
const yielding: State.Want = { ...want, yields: true }
const forced: State.Want = { ...want, force: true, had: Option.some(Redacted.make("at-1")) }

const storageError = new StorageError({
  reason: "Unavailable",
  operation: "load",
  location: "a disk",
  message: "no disk"
})
const leaseError = (reason: "Busy" | "Unavailable") =>
  new LeaseError({ reason, account: "me", message: `the lease is ${reason}` })
const refreshError = (
  reason: RefreshError["reason"],
  fields: Partial<Pick<RefreshError, "oauthError" | "retryAfter" | "salvaged" | "status">> = {}
) => new RefreshError({ reason, message: `${reason}: the grant has ended.: the grant has ended.`, ...fields })

/** Inputs whose counter of writes is the state's, unless it is stale. */
type Make = (state: State.State) => Messages.Input
const input =
  (fields: Messages.Input): Make =>
  () =>
    fields
const loaded =
  (entry: Entry.Entry | undefined, at = "v1"): Make =>
  ({ writes }) => ({
    _tag: "Loaded",
    loaded: Option.map(Option.fromNullable(entry), (stored) => ({ entry: stored, version: version(at) })),
    writes
  })
const observed =
  (entry: Entry.Entry | undefined): Make =>
  (state) => {
    const made = loaded(entry, "v7")(state)
    return made._tag === "Loaded" ? { ...made, _tag: "Observed" } : made
  }
/** What the running command commits succeeds. */
const committed: Make = (state) => ({
  _tag: "Committed",
  entry: committing.get(state) ?? first,
  version: version("v2"),
  writes: state.writes
})
const stale =
  (make: Make): Make =>
  (state) => {
    const made = make(state)
    return "writes" in made ? { ...made, writes: made.writes - 1 } : made
  }
const refused = (reason: CommitRefused["reason"]): Make =>
  input({ _tag: "CommitRefused", error: new CommitRefused({ reason, location: "a disk" }) })

const inputs: Record<string, Make> = {
  "a caller": input({ _tag: "Wanted", want }),
  "a caller that yields": input({ _tag: "Wanted", want: yielding }),
  "a caller that forces": input({ _tag: "Wanted", want: forced }),
  "nothing is stored": loaded(undefined),
  "the same is stored": (state) => {
    const stored = State.storedOf(state)
    return Option.isSome(stored) ? loaded(stored.value.entry, "v2")(state) : loaded(first)(state)
  },
  "it is stored with an intent of a moment ago": loaded(changed(first, { intent: intent(1, now - 500) })),
  "it is stored with an intent of an hour ago": loaded(changed(first, { intent: intent(2, now - hour) })),
  "it is stored with a wait": loaded(changed(first, { serverWait: wait })),
  "a peer's rotation is stored": loaded(second, "v9"),
  "another login is stored": loaded(Entry.first(tokens(5), 7), "v9"),
  "half of its life is over, with an intent of an hour ago": loaded(
    changed(Entry.first(tokens(1, { obtainedAt: now - 40 * minute, expiresAt: now + 20 * minute })), {
      intent: intent(1, now - hour)
    })
  ),
  "an older entry is stored": loaded(older, "v0"),
  "a stale read": stale(loaded(second)),
  "storage cannot be read": input({ _tag: "LoadFailed", error: storageError }),
  "the lease is taken": input({ _tag: "LeaseTaken", lease: { fence: 5 } }),
  "the lease is busy": input({ _tag: "LeaseFailed", error: leaseError("Busy") }),
  "the lease fails": input({ _tag: "LeaseFailed", error: leaseError("Unavailable") }),
  "the lease is held": input({ _tag: "LeaseConfirmed", held: "yes" }),
  "the lease is lost": input({ _tag: "LeaseConfirmed", held: "no" }),
  "nobody knows of the lease": input({ _tag: "LeaseConfirmed", held: "unknown" }),
  "the lease is released": input({ _tag: "LeaseReleased" }),
  "it is committed": committed,
  "it is committed, and the grant changed here": stale(committed),
  "another writer was faster": refused("Conflict"),
  "a newer lease wrote": refused("Fenced"),
  "the commit fails": input({ _tag: "CommitFailed", error: storageError }),
  "the commit is slow": input({ _tag: "CommitSlow" }),
  "the response is overdue": input({ _tag: "Overdue", message: "Overdue." }),
  "new tokens": input({ _tag: "Answered", credentials: tokens(2) }),
  "new tokens by the server's clock": input({
    _tag: "Answered",
    credentials: tokens(2, { serverTime: now - 5 })
  }),
  "the same tokens": input({ _tag: "Answered", credentials: tokens(1) }),
  "an access token alone": input({ _tag: "Answered", credentials: tokens(2, { refreshToken: "rt-1" }) }),
  "new tokens with a scope that is none": input({
    _tag: "Answered",
    credentials: Either.getOrThrow(
      Credentials.fromResponse(
        { access_token: "at-2", token_type: "Bearer", expires_in: 3600, refresh_token: "rt-2", scope: 5 },
        Option.some(first.credentials),
        { requestedAt: now }
      )
    )
  }),
  "the grant is dead": input({ _tag: "RefreshFailed", error: refreshError("GrantDead") }),
  "the grant is dead, with all that a response may have": input({
    _tag: "RefreshFailed",
    error: refreshError("GrantDead", {
      oauthError: "invalid_grant",
      status: 400,
      retryAfter: Duration.seconds(7)
    })
  }),
  "the server is busy": input({ _tag: "RefreshFailed", error: refreshError("Transient", { status: 503 }) }),
  "the server is busy for a time": input({
    _tag: "RefreshFailed",
    error: refreshError("Transient", { status: 429, retryAfter: Duration.seconds(30) })
  }),
  "the request may have been sent": input({ _tag: "RefreshFailed", error: refreshError("MaybeSent") }),
  "the response is malformed": input({ _tag: "RefreshFailed", error: refreshError("Malformed") }),
  "a refresh token from a malformed response": input({
    _tag: "RefreshFailed",
    error: refreshError("Malformed", { salvaged: tokens(2, { expiresAt: now - minute }) })
  }),
  "the client is refused": input({ _tag: "RefreshFailed", error: refreshError("Misconfigured") }),
  "the pause is over": input({ _tag: "Woken" }),
  "a caller reads nothing": observed(undefined),
  "a caller reads the same": observed(first),
  "a caller reads a peer's rotation": observed(second),
  "a caller reads an older entry": observed(older),
  "a caller's read is stale": stale(observed(second)),
  "a caller cannot read": input({ _tag: "ObserveFailed", error: storageError }),
  "storage reports a change": input({ _tag: "Changed" }),
  "a login": ({ writes }) => ({
    _tag: "Saved",
    entry: Entry.first(tokens(3)),
    version: version("v3"),
    writes
  }),
  "a login with the token that was refused": ({ writes }) => ({
    _tag: "Saved",
    entry: Entry.first(tokens(1)),
    version: version("v3"),
    writes
  }),
  "a login, and the grant changed here": ({ writes }) => ({
    _tag: "Saved",
    entry: Entry.first(tokens(3)),
    version: version("v3"),
    writes: writes - 1
  }),
  "a logout": input({ _tag: "Cleared", existed: true }),
  invalidated: input({ _tag: "Invalidated" }),
  "a resource server refuses the token": input({ _tag: "Rejected", token: Redacted.make("at-1") }),
  "a resource server refuses another token": input({ _tag: "Rejected", token: Redacted.make("at-0") }),
  "the scope closes": input({ _tag: "Closing", until: now + 2000 }),
  "the scope closes at once": input({ _tag: "Closing", until: now })
}

/** The entry that a phase commits. The machine keeps it in its command alone. */
const committing = new WeakMap<State.State, Entry.Entry>()

const take = (of: State.Policy, state: State.State, name: string): Messages.Next => {
  const next = Step.step(of, state, inputs[name]!(state), now)
  if (Option.isSome(next.command) && next.command.value._tag === "Commit") {
    committing.set(next.state, next.command.value.entry)
  }
  return next
}

/** The state after these inputs. */
const after = (state: State.State, names: ReadonlyArray<string>, of = policy): State.State =>
  names.reduce((before, name) => take(of, before, name).state, state)

const altered = (state: State.State, changes: Partial<State.State>): State.State => {
  const next = { ...state, ...changes }
  const entry = committing.get(state)
  if (entry !== undefined) committing.set(next, entry)
  return next
}
/** The same, in a phase with other fields. */
const inPhase = (state: State.State, changes: object): State.State =>
  altered(state, { phase: { ...state.phase, ...changes } as State.Phase })
const inAttempt = (state: State.State, changes: Partial<State.Attempt>): State.State =>
  "attempt" in state.phase
    ? inPhase(state, { attempt: { ...state.phase.attempt, ...changes } })
    : expect.unreachable()

// --- The states ---

/** Storage was read just now, or some time ago, so that it is read again under the lease. */
const idle: State.State = {
  ...State.initial,
  memory: { _tag: "Read", stored: Option.some({ entry: first, version: version("v1") }), at: now - 999 },
  newest: Option.some(first)
}
const outdated = altered(idle, { memory: { ...idle.memory, at: now - 1000 } as State.Memory })
const leasing = after(idle, ["a caller"])
const rereading = after(outdated, ["a caller", "the lease is taken"])
const noting = after(leasing, ["the lease is taken"])
const confirming = after(noting, ["it is committed"])
const redeeming = after(confirming, ["the lease is held"])
const committingState = after(redeeming, ["new tokens"])
const sleeping = after(committingState, ["the commit fails"])
const merging = after(sleeping, ["the pause is over"])
const reading = after(merging, ["the lease is held"])
const newLease = after(committingState, ["a newer lease wrote"])
const commitLeasing = after(newLease, ["the lease is released"])
const commitRereading = after(commitLeasing, ["the lease is taken"])
const verifying = after(redeeming, ["the grant is dead"])
const replaying = after(outdated, [
  "a caller",
  "the lease is taken",
  "it is stored with an intent of a moment ago",
  "it is committed",
  "the lease is held"
])
const redeemingAlone = after(
  idle,
  ["a caller", "the lease is taken", "the same is stored", "the lease is held"],
  independent
)
const redeemingNothing = after(
  State.initial,
  ["a caller", "the lease is taken", "nothing is stored", "the lease is held"],
  independent
)
const verifyingReplay = after(replaying, ["the grant is dead"])
const markingDead = after(verifying, ["the same is stored"])
const markingSleeps = after(markingDead, ["the commit fails"])
const verifyingAgain = after(markingSleeps, ["the pause is over"])
const retracting = after(redeeming, ["the client is refused"])
const retractingWait = after(redeeming, ["the server is busy for a time"])
const retractingSleeps = after(retracting, ["the commit fails"])
const waiting = after(leasing, ["the lease is busy"])
const looking = after(waiting, ["the pause is over"])
const commitWaiting = after(commitLeasing, ["the lease is busy"])
const commitLooking = after(commitWaiting, ["the pause is over"])
const unsaved = altered(idle, { uncommitted: committingState.uncommitted })
const closing = (state: State.State, millis = 2000) => altered(state, { closing: Option.some(now + millis) })

/** Each row of a case is a state, what arrives in it, and the policy if it is another one. */
const all = {
  wanted: ["a caller", "a caller that yields", "a caller that forces"],
  loads: [
    "nothing is stored",
    "the same is stored",
    "it is stored with an intent of a moment ago",
    "it is stored with an intent of an hour ago",
    "it is stored with a wait",
    "a peer's rotation is stored",
    "another login is stored",
    "an older entry is stored",
    "a stale read",
    "storage cannot be read"
  ],
  leases: ["the lease is taken", "the lease is busy", "the lease fails"],
  confirms: ["the lease is held", "the lease is lost", "nobody knows of the lease"],
  commits: [
    "it is committed",
    "it is committed, and the grant changed here",
    "another writer was faster",
    "a newer lease wrote",
    "the commit fails"
  ],
  answers: Object.keys(inputs).slice(
    Object.keys(inputs).indexOf("the response is overdue"),
    Object.keys(inputs).indexOf("the pause is over")
  ),
  outside: Object.keys(inputs).slice(Object.keys(inputs).indexOf("a caller reads nothing"))
}

const woken = ["the pause is over"]
const failures = (state: State.State, failed: number): State.State => inPhase(state, { tries: failed })
const progress = (state: State.State, changes: object): State.State =>
  "progress" in state.phase
    ? inPhase(state, { progress: { ...state.phase.progress, ...changes } })
    : expect.unreachable()
const refusedToken = after(idle, ["a resource server refuses the token"])

const cases: ReadonlyArray<
  readonly [name: string, state: State.State, arrives: ReadonlyArray<string>, of?: State.Policy]
> = [
  ["Idle", idle, [...all.wanted, "the pause is over", "the lease is taken"]],

  ["Leasing", leasing, [...all.wanted, ...all.leases]],
  ["Leasing, storage was read a second ago", after(outdated, ["a caller"]), ["the lease is taken"]],
  [
    "Leasing, storage was read by a clock that was set back",
    after(altered(idle, { memory: { ...idle.memory, at: now + 1 } as State.Memory }), ["a caller"]),
    ["the lease is taken"]
  ],
  ["Leasing, memory was invalidated", after(leasing, ["invalidated"]), ["the lease is taken"]],
  ["Leasing, nothing is stored", after(State.initial, ["a caller"]), ["the lease is taken"]],
  ["Leasing, no refresh token is needed", leasing, ["the lease is taken"], independent],
  ["Leasing, a rotation is not stored", after(unsaved, ["a caller"]), all.leases],
  [
    "Leasing, leaves it to others",
    after(idle, ["a caller that yields"]),
    [...all.wanted, "the lease is busy", "the lease fails"]
  ],
  ["Leasing, paused before", inPhase(leasing, { pause: 400 }), ["the lease is busy"]],
  ["Leasing, storage reports changes", leasing, ["the lease is busy"], { ...policy, reportsChanges: true }],
  ["Leasing, the wait is nearly over", inPhase(leasing, { since: now - 9990 }), ["the lease is busy"]],
  ["Leasing, the wait is over", inPhase(leasing, { since: now - 10_000 }), ["the lease is busy"]],
  ["Leasing, the clock was set back", inPhase(leasing, { since: now + 1 }), ["the lease is busy"]],
  ["Leasing, the scope closes", closing(leasing), ["the lease is busy", "the lease fails"]],
  ["Leasing, to commit, after a login", after(commitLeasing, ["a login"]), all.leases],
  ["Leasing, to commit", commitLeasing, [...all.wanted, ...all.leases]],

  ["Waiting", waiting, [...all.wanted, ...woken, "storage reports a change"]],
  ["Waiting, and reading", looking, [...all.wanted, ...all.loads, "storage reports a change"]],
  ["Waiting, and reading after long pauses", inPhase(looking, { pause: 100_000 }), ["the same is stored"]],
  [
    "Waiting, and reading for a caller that forces",
    inPhase(looking, { goal: { _tag: "Refresh", want: forced } }),
    ["the same is stored", "a peer's rotation is stored"]
  ],
  [
    "Waiting, leaves it to others",
    inPhase(waiting, { goal: { _tag: "Refresh", want: yielding } }),
    all.wanted
  ],
  ["Waiting, to commit", commitWaiting, woken],
  ["Waiting, and reading to commit", commitLooking, all.loads],

  [
    "Waiting, and reading for a caller that needs half an hour",
    inPhase(looking, { goal: { _tag: "Refresh", want: { ...want, minValidity: 30 * minute } } }),
    ["half of its life is over, with an intent of an hour ago"]
  ],

  ["Rereading", rereading, [...all.wanted, ...all.loads]],
  [
    "Rereading, for a caller that forces",
    inPhase(rereading, { goal: { _tag: "Refresh", want: forced } }),
    ["the same is stored", "a peer's rotation is stored"]
  ],
  ["Leasing, the token was refused", after(refusedToken, ["a caller"]), ["the lease is taken"]],
  [
    "Rereading, leaves it to others",
    inPhase(rereading, { goal: { _tag: "Refresh", want: yielding } }),
    all.wanted
  ],
  [
    "Rereading, no refresh token is needed",
    rereading,
    ["nothing is stored", "the same is stored"],
    independent
  ],
  ["Rereading, a rotation is not stored", after(unsaved, ["a caller", "the lease is taken"]), all.loads],
  ["Rereading, to commit", commitRereading, all.loads],
  [
    "Rereading, memory is trusted alone",
    inPhase(rereading, { goal: { _tag: "Refresh", want: { ...want, minValidity: 2 * hour } } }),
    ["a peer's rotation is stored"]
  ],

  ["Noting", noting, [...all.wanted, ...all.commits]],
  [
    "Noting, conflicts before",
    inAttempt(noting, { conflicts: 4 }),
    ["it is committed, and the grant changed here", "another writer was faster"]
  ],
  [
    "Noting, too many conflicts",
    inAttempt(noting, { conflicts: 5 }),
    ["it is committed, and the grant changed here", "another writer was faster"]
  ],

  ["Confirming", confirming, [...all.wanted, ...all.confirms]],
  [
    "Confirming, a replay",
    after(outdated, [
      "a caller",
      "the lease is taken",
      "it is stored with an intent of an hour ago",
      "it is committed"
    ]),
    all.confirms
  ],
  ["Confirming, the grant changed here", after(confirming, ["a login"]), all.confirms],
  [
    "Confirming, conflicts before",
    inAttempt(after(confirming, ["a login"]), { conflicts: 4 }),
    ["the lease is held"]
  ],
  [
    "Confirming, too many conflicts",
    inAttempt(after(confirming, ["a login"]), { conflicts: 5 }),
    ["the lease is held"]
  ],
  [
    "Confirming, without a stored grant",
    after(State.initial, ["a caller", "the lease is taken", "nothing is stored"], independent),
    all.confirms,
    independent
  ],
  [
    "Confirming, of a window as long as a request",
    confirming,
    ["the lease is held"],
    { ...policy, rotation: RotationPolicy.rotating(30_000) }
  ],
  [
    "Confirming, of a window that is longer",
    confirming,
    ["the lease is held"],
    { ...policy, rotation: RotationPolicy.rotating(30_001) }
  ],
  [
    "Confirming, of a token that stays",
    confirming,
    ["the lease is held"],
    { ...policy, rotation: RotationPolicy.reusable }
  ],

  ["Redeeming", redeeming, [...all.wanted, ...all.answers]],
  [
    "Redeeming for 2 seconds",
    inPhase(redeeming, { requestedAt: now - 2000 }),
    ["new tokens", "new tokens by the server's clock"]
  ],
  [
    "Redeeming since a time to come",
    inPhase(redeeming, { requestedAt: now + 2000 }),
    ["new tokens by the server's clock"]
  ],
  [
    "Redeeming, after useless answers",
    altered(redeeming, {
      coolDown: Option.some({
        since: now - 5000,
        until: now - 1,
        askedUntil: Option.none(),
        reason: "Ineffective",
        failures: 3
      })
    }),
    ["the same tokens", "new tokens", "the client is refused", "a refresh token from a malformed response"]
  ],
  [
    "Redeeming, after failures",
    altered(redeeming, {
      coolDown: Option.some({
        since: now - 5000,
        until: now - 1,
        askedUntil: Option.none(),
        reason: "Failed",
        failures: 3
      })
    }),
    ["the same tokens", "the client is refused", "the server is busy", "the response is overdue"]
  ],
  [
    "Redeeming, the grant waits as the server asked",
    altered(redeeming, {
      memory: {
        _tag: "Read",
        stored: Option.map(State.storedOf(redeeming), ({ entry, version }) => ({
          entry: changed(entry, {
            serverWait: Option.some(new Entry.ServerWait({ at: now - 60_000, until: now - 20_000 }))
          }),
          version
        })),
        at: now
      }
    }),
    ["the server is busy", "a refresh token from a malformed response"]
  ],
  [
    "Redeeming, which may be repeated for a short time",
    redeeming,
    all.answers,
    { ...policy, rotation: RotationPolicy.rotating(2000), coolDownBase: minute }
  ],
  ["Redeeming, a replay", replaying, all.answers],
  [
    "Redeeming without a refresh token",
    redeeming,
    ["the grant is dead", "the grant is dead, with all that a response may have", "new tokens"],
    independent
  ],
  ["Redeeming without an intent", redeemingAlone, all.answers, independent],
  [
    "Redeeming without an intent, a peer's rotation is stored",
    after(redeemingAlone, ["a caller reads a peer's rotation"], independent),
    ["the server is busy for a time", "the client is refused"],
    independent
  ],
  [
    "Redeeming without an intent, after one that is settled",
    altered(redeemingAlone, {
      ownIntent: Option.map(intent(1, now), (settled) => ({ intent: settled, older: Option.none() }))
    }),
    ["the client is refused", "the lease is lost"],
    independent
  ],
  [
    "Redeeming, a replay that may be repeated for a short time",
    replaying,
    all.answers,
    { ...policy, rotation: RotationPolicy.rotating(2000), coolDownBase: minute }
  ],
  ["Redeeming without a stored grant", redeemingNothing, all.answers, independent],
  [
    "Redeeming, after a login",
    after(redeeming, ["a login"]),
    ["new tokens", "a refresh token from a malformed response", "the client is refused", "the grant is dead"]
  ],
  ["Redeeming, after a logout", after(redeeming, ["a logout"]), ["new tokens", "the client is refused"]],
  [
    "Redeeming, memory was invalidated",
    after(redeeming, ["invalidated"]),
    [
      "new tokens",
      "the client is refused",
      "the server is busy for a time",
      "a refresh token from a malformed response"
    ]
  ],
  [
    "Redeeming for a client with a name",
    redeeming,
    ["new tokens"],
    {
      ...policy,
      identityOf: () => Option.some(GrantIdentity.make({ issuer: "https://a.example", clientId: "app" }))
    }
  ],

  ["Committing", committingState, [...all.wanted, ...all.commits, "the commit is slow"]],
  ["Committing, failed before", failures(committingState, 3), ["the commit fails", "a newer lease wrote"]],
  ["Committing, failed often before", failures(committingState, 40), ["the commit fails"]],
  [
    "Committing, conflicts before",
    inPhase(committingState, { conflicts: 4 }),
    ["another writer was faster", "it is committed, and the grant changed here"]
  ],
  [
    "Committing, too many conflicts",
    inPhase(committingState, { conflicts: 5 }),
    ["another writer was faster"]
  ],
  ["Committing, after a login", after(committingState, ["a login"]), all.commits],
  ["Committing, requested", inPhase(committingState, { isAsked: true }), ["the commit fails"]],
  [
    "Committing after a malformed response",
    after(redeeming, ["a refresh token from a malformed response"]),
    [...all.commits, "the commit is slow"]
  ],
  [
    "Committing, slow cool-downs",
    committingState,
    ["the commit fails"],
    { ...policy, coolDownBase: 10 * minute, coolDownMax: hour }
  ],
  [
    "Committing, short cool-downs",
    committingState,
    ["the commit fails"],
    { ...policy, coolDownBase: 1, coolDownMax: 3 }
  ],
  ...[0, 1, 2, 5, 6].map(
    (tries) =>
      [
        `Committing, failed ${tries} times, the scope closes`,
        closing(failures(committingState, tries)),
        ["the commit fails"]
      ] as const
  ),
  ["Committing, the scope closes at once", closing(failures(committingState, 2), 99), ["the commit fails"]],
  ["Committing, the scope closes in time", closing(failures(committingState, 2), 100), ["the commit fails"]],

  [
    "Merging, asleep",
    sleeping,
    [...all.wanted, ...woken, "storage reports a change", "the scope closes", "a logout"]
  ],
  ["Merging, asleep, after a login", after(sleeping, ["a login"]), woken],
  ["Merging, confirming the lease", merging, [...all.wanted, ...all.confirms]],
  ["Merging, confirming the lease, after a login", after(merging, ["a login"]), all.confirms],
  ["Merging, reading", reading, [...all.wanted, ...all.loads]],
  [
    "Merging, reading, requested",
    after(reading, ["a caller"]),
    ["storage cannot be read", "an older entry is stored"]
  ],
  [
    "Merging, reading, after a malformed response",
    after(redeeming, [
      "a refresh token from a malformed response",
      "the commit fails",
      "the pause is over",
      "the lease is held"
    ]),
    ["storage cannot be read", "a peer's rotation is stored"]
  ],

  ["Verifying", verifying, [...all.wanted, ...all.loads]],
  ["Verifying, a replay", verifyingReplay, ["the same is stored", "nothing is stored"]],
  [
    "Verifying again",
    verifyingAgain,
    ["storage cannot be read", "the same is stored", "an older entry is stored"]
  ],
  [
    "Verifying without a stored grant",
    inAttempt(verifying, { base: Option.none() }),
    ["nothing is stored", "the same is stored"]
  ],
  ["Verifying, nothing was marked", inAttempt(verifying, { marked: Option.none() }), ["the same is stored"]],
  [
    "Verifying, nothing is stored, as before",
    inAttempt(verifying, { base: Option.none(), marked: Option.none() }),
    ["nothing is stored"]
  ],

  ["MarkingDead", markingDead, [...all.wanted, ...all.commits]],
  ["MarkingDead, a replay", after(verifyingReplay, ["the same is stored"]), all.commits],
  ["MarkingDead, conflicts before", progress(markingDead, { conflicts: 4 }), ["another writer was faster"]],
  ["MarkingDead, too many conflicts", progress(markingDead, { conflicts: 5 }), ["another writer was faster"]],
  [
    "MarkingDead, published",
    progress(markingDead, { isPublished: true, tries: 2 }),
    ["it is committed", "the commit fails"]
  ],
  ["MarkingDead, the scope closes", closing(progress(markingDead, { tries: 6 })), ["the commit fails"]],
  ["MarkingDead, asleep", markingSleeps, [...all.wanted, ...woken, "storage reports a change"]],

  ["Retracting", retracting, [...all.wanted, ...all.commits]],
  ["Retracting, with a wait", retractingWait, all.commits],
  ["Retracting, failed before", failures(retracting, 3), ["the commit fails"]],
  ["Retracting, the scope closes", closing(failures(retracting, 6)), ["the commit fails"]],
  ["Retracting, asleep", retractingSleeps, [...all.wanted, ...woken, "storage reports a change"]],
  ["Retracting, reading", after(retractingSleeps, woken), all.loads],
  ["Retracting, reading, with a wait", after(retractingWait, ["the commit fails", ...woken]), all.loads],
  [
    "Retracting a replay, reading",
    after(replaying, ["the client is refused", "the commit fails", ...woken]),
    ["the same is stored"]
  ],

  ["Releasing", after(committingState, ["it is committed"]), [...all.wanted, "the lease is released"]],
  ["Releasing after a failure", after(retracting, ["it is committed"]), ["the lease is released"]],
  ["Releasing, to commit", newLease, ["the lease is released"]],
  ["Releasing, to commit, after a login", after(newLease, ["a login"]), ["the lease is released"]],
  ["Releasing, to commit, the scope closes", closing(newLease), ["the lease is released"]],

  ["from outside, Idle", idle, all.outside],
  ["from outside, nothing read", State.initial, all.outside],
  ["from outside, a token was refused", refusedToken, all.outside],
  [
    "from outside, tokens were refused",
    altered(refusedToken, {
      rejection: Option.some({ token: Redacted.make("at-0"), at: now - 599_999, count: 2 })
    }),
    ["a resource server refuses the token"]
  ],
  [
    "from outside, a token was refused long ago",
    altered(refusedToken, {
      rejection: Option.some({ token: Redacted.make("at-0"), at: now - 600_000, count: 2 })
    }),
    ["a resource server refuses the token"]
  ],
  ["from outside, Waiting", waiting, all.outside],
  ["from outside, Committing", committingState, all.outside],
  ["from outside, Merging", failures(sleeping, 4), all.outside],
  ["from outside, MarkingDead", markingSleeps, all.outside],
  [
    "from outside, a grant of another server",
    altered(idle, { memory: { _tag: "Unread" } }),
    ["a caller reads the same", "a caller reads a peer's rotation"],
    {
      ...policy,
      identityOf: () =>
        Option.some(
          GrantIdentity.make({
            issuer: "https://a.example",
            clientId: "app",
            grantType: "client_credentials"
          })
        )
    }
  ]
]

// --- In words ---

type Parts = ReadonlyArray<readonly [path: string, value: string]>

/** A value as the paths of its parts, without those that are absent. A grant's entry is one part. */
const parts = (value: unknown, path = ""): Parts => {
  if (Option.isOption(value)) return Option.isNone(value) ? [] : parts(value.value, path)
  if (Redacted.isRedacted(value)) return parts(Redacted.value(value), path)
  if (Duration.isDuration(value)) return [[path, Duration.format(value)]]
  if (value instanceof Error) {
    const { _tag, message, oauthError, reason, retryAfter, status } = value as RefreshError
    return [[path, listed({ [_tag]: reason, message, oauthError, retryAfter, status })]]
  }
  if (value instanceof Credentials.Credentials || value instanceof Entry.Entry) {
    return [[path, `(${listed({ ...value })})`]]
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([key, part]) => parts(part, path === "" ? key : `${path}.${key}`))
  }
  return value === undefined || value === "Bearer" ? [] : [[path, shown(value)]]
}

/** An instant is shown by its distance from now. */
const shown = (value: unknown): string => {
  if (typeof value !== "number" || Math.abs(value - now) > 100 * 24 * hour) return String(value)
  return value === now ? "now" : `now${value > now ? "+" : ""}${value - now}`
}

const listed = (value: unknown): string =>
  parts(value)
    .map(([path, part]) => (path === "_tag" ? part : `${path} ${part}`))
    .join(", ")

const difference = (before: Parts, after: Parts): ReadonlyArray<string> => {
  const was = new Map(before)
  const is = new Map(after)
  return [
    ...after.filter(([path, value]) => was.get(path) !== value).map(([path, value]) => `  ${path}: ${value}`),
    ...[...was.keys()].filter((path) => !is.has(path)).map((path) => `  no ${path}`)
  ]
}

/** A new phase as a whole, and what changes in the state. */
const changes = ({ phase: was, ...before }: State.State, { phase, ...next }: State.State) => [
  ...(phase._tag === was._tag
    ? difference(parts({ phase: was }), parts({ phase }))
    : [`  phase: ${listed(phase)}`]),
  ...difference(parts(before), parts(next))
]

const facts: ReadonlyArray<readonly [fact: string, holds: (state: State.State) => boolean]> = [
  ["redeeming", State.isRedeeming],
  ["committing", State.isCommitting],
  ["overdue to be saved", State.isSaveOverdue]
]

const inWords = (of: State.Policy, state: State.State, name: string): string => {
  const next = take(of, state, name)
  return [
    `- ${name}`,
    ...Option.toArray(next.command).map((command) => `  do ${listed(command)}`),
    ...next.events.map((event) => `  publish ${listed(event)}`),
    ...Option.toArray(next.released).map(({ failure }) => `  callers look again, ${listed({ failure })}`),
    ...changes(state, next.state),
    ...facts
      .filter(([, holds]) => holds(next.state) !== holds(state))
      .map(([fact, holds]) => `  ${holds(next.state) ? "" : "no longer "}${fact}`)
  ].join("\n")
}

describe("the machine", () => {
  it.each(cases.map(([name, { phase }]) => [name, phase._tag] as const))(
    "reaches the phase: %s",
    (name, phase) => {
      if (!name.startsWith("from outside")) expect(phase).toBe(/^\w+/.exec(name)?.[0])
    }
  )

  it("does in each phase what is written", async () => {
    const text = cases.map(
      ([name, state, arrives, of = policy]) =>
        `# ${name}\n\n${arrives.map((each) => inWords(of, state, each)).join("\n")}\n`
    )
    await expect(text.join("\n")).toMatchFileSnapshot(
      fileURLToPath(new URL("./fixtures/transitions.txt", import.meta.url))
    )
  })
})
