/** A grant of another server, client, kind or account: nothing is sent, and nothing is changed. */
import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Option, Redacted, Stream, TestClock } from "effect"
import type { TokenManager } from "@latchkey/core"
import {
  Credentials,
  Entry,
  GrantIdentity,
  PromiseManager,
  RefreshLease,
  Renewer,
  TokenConfig,
  TokenManagers,
  TokenRefresher,
  TokenSets,
  TokenStorage,
  TokenStorages
} from "@latchkey/core"
import { ScriptedRefresher } from "@latchkey/core/testing"
import {
  type Bench,
  bench,
  grant,
  minute,
  overTime,
  peerWrites,
  rotate,
  settle,
  start,
  token
} from "./support/Bench.js"

const issuer = "https://a.example"
const mine = GrantIdentity.make({ issuer, clientId: "app" })
const atEndpoint = GrantIdentity.make({ tokenEndpoint: `${issuer}/token`, clientId: "app" })
const client = GrantIdentity.make({ issuer, clientId: "app", grantType: "client_credentials" })
const assertion = (subject: string) =>
  GrantIdentity.make({ issuer, clientId: "app", grantType: "urn:x", subject })

/** What storage holds, what the program is set to, and what the error names of each. */
const mismatches: ReadonlyArray<
  readonly [
    name: string,
    stored: GrantIdentity.GrantIdentity | undefined,
    current: GrantIdentity.GrantIdentity,
    reason: GrantIdentity.Difference,
    names: readonly [string, string]
  ]
> = [
  [
    "another issuer",
    GrantIdentity.make({ issuer: "https://b.example", clientId: "app" }),
    mine,
    "Server",
    ["https://b.example", issuer]
  ],
  [
    "another token endpoint",
    GrantIdentity.make({ tokenEndpoint: "https://b.example/token", clientId: "app" }),
    atEndpoint,
    "Server",
    ["https://b.example/token", `${issuer}/token`]
  ],
  [
    "another endpoint of the same issuer",
    mine,
    GrantIdentity.make({ issuer, tokenEndpoint: "https://b.example/token", clientId: "app" }),
    "Server",
    [issuer, "https://b.example/token"]
  ],
  ["another client id", GrantIdentity.make({ issuer, clientId: "other" }), mine, "Client", ["other", "app"]],
  [
    "client credentials over a user's grant",
    mine,
    client,
    "GrantType",
    ["a user's grant", "client_credentials"]
  ],
  [
    "client credentials over a grant of an unknown user",
    undefined,
    client,
    "GrantType",
    ["a user's grant", "client_credentials"]
  ],
  [
    "a user's program over the client's own token",
    client,
    mine,
    "GrantType",
    ["client_credentials", "a user's grant"]
  ],
  ["an assertion for another subject", assertion("ada"), assertion("bob"), "Account", ["ada", "bob"]]
]

const life = { fresh: 30 * minute, "in the grace": minute, expired: -minute } as const

const entryOf = (identity: GrantIdentity.GrantIdentity | undefined, expiresIn: number, n = 1) =>
  Entry.bind(Entry.first(grant(n, expiresIn)), Option.fromNullable(identity))

/** All that gives a token, or sends one. */
const operations: Readonly<
  Record<string, (manager: TokenManager.Manager) => Effect.Effect<unknown, unknown>>
> = {
  getAccessToken: (m) => m.getAccessToken,
  getAccessTokenFor: (m) => m.getAccessTokenFor({ minValidity: "45 minutes" }),
  refresh: (m) => m.refresh,
  peekAccessToken: (m) => m.peekAccessToken,
  reject: (m) => m.reject(Redacted.make("at-1")),
  credentials: (m) => m.credentials,
  profile: (m) => m.profile,
  save: (m) => m.save(grant(2, 30 * minute)),
  "the promise manager": (m) =>
    Effect.flatMap(PromiseManager.make(m), (tokens) =>
      Effect.tryPromise({ try: () => tokens.getAccessToken(), catch: (error) => error })
    )
}

const unchanged = ({ calls, storage }: Bench, before: Option.Option<TokenStorage.Versioned>) =>
  Effect.gen(function* () {
    expect(yield* calls.count).toBe(0)
    // The very version: nothing was written, no note, no mark and no lease's fence.
    expect(yield* storage.load).toEqual(before)
  })

/** A lease that must not be asked for. */
const noLease = RefreshLease.RefreshLease.of({
  acquire: () => Effect.die(new Error("a lease was asked for"))
})

describe("a grant of another identity", () => {
  for (const [name, stored, current, reason, names] of mismatches) {
    for (const [age, expiresIn] of Object.entries(life)) {
      it.scoped(`${name}, ${age}: no operation gives, sends or changes anything (F2)`, () =>
        Effect.gen(function* () {
          for (const [operation, run] of Object.entries(operations)) {
            const at = yield* bench({
              entry: entryOf(stored, expiresIn),
              identity: current,
              needsRefreshToken: current.grantType === GrantIdentity.userGrant,
              lease: noLease
            })
            const before = yield* at.storage.load
            const error = yield* Effect.flip(run(at.manager))
            expect(error, operation).toMatchObject({ _tag: "GrantMismatch", reason, location: "memory" })
            for (const side of names) expect(String((error as Error).message), operation).toContain(side)
            yield* unchanged(at, before)
            expect(at.manager.unsafePeek(), operation).toEqual(Option.none())
          }
        })
      )
    }

    it.scoped(`${name}: what only shows it says so, without a token (F2)`, () =>
      Effect.gen(function* () {
        const at = yield* bench({
          entry: entryOf(stored, 30 * minute),
          identity: current,
          needsRefreshToken: current.grantType === GrantIdentity.userGrant,
          lease: noLease
        })
        const before = yield* at.storage.load
        expect(yield* at.manager.status).toMatchObject({
          authenticated: false,
          reason: Option.some("GrantMismatch"),
          warnings: ["GrantMismatch"],
          accountId: Option.some("acct-1")
        })
        expect(yield* at.manager.isAuthenticated).toBe(false)
        expect(yield* at.manager.validate).toBe(false)
        expect(yield* at.manager.cachedProfile).toEqual(Option.none())
        expect(Option.getOrThrow(yield* at.manager.snapshot)).toMatchObject({
          accountId: Option.some("acct-1"),
          accessToken: Option.none(),
          refreshToken: Option.none()
        })
        const { decision, looksAgainAt, text } = yield* at.manager.explain
        expect(decision._tag).toBe("Refuse")
        expect(looksAgainAt).toEqual(Option.none())
        for (const side of names) expect(text).toContain(side)
        yield* unchanged(at, before)
      })
    )

    it.scoped(`${name}: a login replaces it where it is asked to, and is bound (F3)`, () =>
      Effect.gen(function* () {
        const needsRefreshToken = current.grantType === GrantIdentity.userGrant
        const at = yield* bench({ entry: entryOf(stored, 30 * minute), identity: current, needsRefreshToken })
        yield* at.manager.save(grant(2, 30 * minute), { replace: true })
        expect(yield* token(at.manager.getAccessToken)).toBe("at-2")
        expect(Option.getOrThrow(yield* at.storage.load).entry.identity).toEqual(Option.some(current))
      })
    )

    it.scoped(`${name}: may be cleared, and then a login needs no leave`, () =>
      Effect.gen(function* () {
        const at = yield* bench({ entry: entryOf(stored, 30 * minute), identity: current })
        expect(yield* at.manager.clear).toBe(true)
        yield* at.manager.save(grant(2, 30 * minute))
        expect(yield* token(at.manager.getAccessToken)).toBe("at-2")
      })
    )
  }

  it.scoped("is used by a refresher that does not say whose grants it redeems", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ entry: entryOf(mine, 0) })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.some(mine))
    })
  )

  it.scoped("is told once as an event, and when another takes its place", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        entry: entryOf(GrantIdentity.make({ issuer: "https://b.example" }), 30 * minute),
        identity: mine
      })
      const events = yield* Effect.fork(Stream.runCollect(manager.events))
      yield* settle
      yield* Effect.flip(manager.getAccessToken)
      yield* Effect.flip(manager.refresh)
      expect((yield* manager.explain).history).toEqual([
        { _tag: "GrantMismatch", at: start, reason: "Server" }
      ])
      yield* peerWrites(storage, (entry) => Entry.bind(entry, Option.some(mine)))
      yield* settle
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* Fiber.interrupt(events)
    })
  )
})

describe("a grant without an identity", () => {
  it.scoped("is used as it was, and bound by its next refresh", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ initial: grant(1, 10 * minute), identity: mine })
      const identity = Effect.map(storage.load, (loaded) => Option.getOrThrow(loaded).entry.identity)
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      expect(yield* identity).toEqual(Option.none())
      yield* manager.refresh
      expect(yield* identity).toEqual(Option.some(mine))
    })
  )

  it.scoped("is bound with what a malformed answer brought, too", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        identity: mine,
        script: [ScriptedRefresher.fail("Malformed", { salvaged: grant(2, 10 * minute) })]
      })
      yield* Effect.flip(manager.refresh)
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.some(mine))
    })
  )

  it.scoped("is not bound by a refresh that fails", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        initial: grant(1, 10 * minute),
        identity: mine,
        script: [ScriptedRefresher.fail("GrantDead")]
      })
      yield* Effect.flip(manager.refresh)
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.none())
    })
  )
})

describe("client credentials", () => {
  it.scoped("have their own record, which is theirs to renew", () =>
    Effect.gen(function* () {
      const { calls, manager, storage } = yield* bench({
        identity: client,
        needsRefreshToken: false,
        script: (n) => ScriptedRefresher.answer({ accessToken: `at-${n}`, expiresIn: 10 * minute })
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-1")
      yield* TestClock.adjust(10 * minute)
      expect(yield* token(manager.getAccessToken)).toBe("at-2")
      expect(yield* calls.count).toBe(2)
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.some(client))
    })
  )
})

describe("a server that had another name before", () => {
  it.scoped("is sent the grant from there, which is bound to its name of now", () =>
    Effect.gen(function* () {
      const former = GrantIdentity.make({ tokenEndpoint: "https://old.example/token", clientId: "app" })
      const { manager, storage } = yield* bench({
        entry: entryOf(former, 0),
        identity: atEndpoint,
        formerly: ["https://old.example/token"]
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.some(atEndpoint))
    })
  )
})

describe("a login over another account's grant (F3)", () => {
  const ada = Credentials.make({ accessToken: "at-a", refreshToken: "rt-a", accountId: "ada" })
  const login = (accountId: string | undefined) =>
    Credentials.make({ accessToken: "at-b", refreshToken: "rt-b", accountId })

  it.scoped.each([false, true])("is refused, and both are named; its server known: %s", (isKnown) =>
    Effect.gen(function* () {
      const at = yield* bench({ initial: ada, ...(isKnown && { identity: mine }) })
      const before = yield* at.storage.load
      const error = yield* Effect.flip(at.manager.save(login("bob")))
      expect(error).toMatchObject({ _tag: "GrantMismatch", reason: "Account", stored: "ada", current: "bob" })
      expect(error.message).toMatch(/ada.*bob.*replace/)
      yield* unchanged(at, before)
      expect(yield* token(at.manager.getAccessToken)).toBe("at-a")
      yield* at.manager.save(login("bob"), { replace: true })
      expect(yield* token(at.manager.getAccessToken)).toBe("at-b")
    })
  )

  it.scoped.each(["ada", undefined])("goes through where it is the same, or not known (%s)", (accountId) =>
    Effect.gen(function* () {
      const { manager } = yield* bench({ initial: ada })
      yield* manager.save(login(accountId))
      expect(yield* token(manager.getAccessToken)).toBe("at-b")
    })
  )

  it.scoped("is compared with what storage holds, not with what is in memory", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ initial: login("bob"), manager: { watch: false } })
      expect(yield* token(manager.getAccessToken)).toBe("at-b")
      yield* peerWrites(storage, () => Entry.first(ada))
      const error = yield* Effect.flip(manager.save(login("bob")))
      expect(error).toMatchObject({ _tag: "GrantMismatch", stored: "ada", current: "bob" })
    })
  )

  it.scoped("is compared anew where another writer came in between", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({ slowCommit: { call: 1, millis: 1000 } })
      const save = yield* Effect.fork(Effect.flip(manager.save(login("bob"))))
      yield* settle
      yield* storage.commit(Entry.first(ada), Option.none())
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(save)).toMatchObject({ _tag: "GrantMismatch", stored: "ada", current: "bob" })
      expect(Option.getOrThrow(yield* storage.load).entry.credentials.accountId).toEqual(Option.some("ada"))
    })
  )
})

describe("a peer puts another's grant in the place of ours", () => {
  const theirs = Entry.bind(
    Entry.first(grant(50, 30 * minute)),
    Option.some(GrantIdentity.make({ issuer: "https://b.example", clientId: "app" }))
  )

  it.scoped("between our load and the lease: nothing is sent, no note is left", () =>
    Effect.gen(function* () {
      const lease = RefreshLease.RefreshLease.of({
        acquire: () =>
          Effect.as(Effect.sleep(1000), {
            fence: 1,
            isHeld: Effect.succeed(true),
            lostAt: Effect.never
          } as never)
      })
      const { calls, manager, storage } = yield* bench({ entry: entryOf(mine, 0), identity: mine, lease })
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, () => theirs)
      const before = yield* storage.load
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "GrantMismatch", reason: "Server" })
      expect(yield* calls.count).toBe(0)
      expect(yield* storage.load).toEqual(before)
    })
  )

  it.scoped("while we wait for a busy lease: the wait ends", () =>
    Effect.gen(function* () {
      const busy = RefreshLease.RefreshLease.of({
        acquire: () =>
          Effect.fail(new RefreshLease.LeaseError({ reason: "Busy", account: "a", message: "busy" }))
      })
      const { calls, manager, storage } = yield* bench({
        entry: entryOf(mine, 0),
        identity: mine,
        lease: busy
      })
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, () => theirs)
      yield* TestClock.adjust(1000)
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "GrantMismatch", reason: "Server" })
      expect(yield* calls.count).toBe(0)
    })
  )

  it.scoped("while an earlier rotation is brought to storage: it is neither spent nor written over", () =>
    Effect.gen(function* () {
      let isDown = false
      const { calls, manager, storage } = yield* bench({
        entry: entryOf(mine, 0),
        identity: mine,
        faults: [{ operation: "commit", call: () => isDown }],
        // The first two are the note and the save that fails.
        slowCommit: { call: 3, millis: 50 },
        script: (n) => {
          isDown = true
          return rotate(n)
        }
      })
      expect(yield* token(manager.getAccessToken)).toBe("at-101")
      expect((yield* manager.status).warnings).toContain("Unsaved")
      isDown = false
      const caller = yield* Effect.fork(Effect.flip(manager.refresh))
      yield* settle
      yield* peerWrites(storage, ({ fence }) => new Entry.Entry({ ...theirs, fence }))
      const before = yield* storage.load
      yield* TestClock.adjust(50)
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "GrantMismatch", reason: "Server" })
      expect(yield* calls.count).toBe(1)
      expect(yield* storage.load).toEqual(before)
    })
  )

  it.scoped("while the answer is under way: it stays, and our rotation is not written over it", () =>
    Effect.gen(function* () {
      const { manager, storage } = yield* bench({
        entry: entryOf(mine, 0),
        identity: mine,
        script: [rotate(1, { after: 1000 })]
      })
      const caller = yield* Effect.fork(Effect.flip(manager.getAccessToken))
      yield* settle
      yield* peerWrites(storage, ({ fence }) => new Entry.Entry({ ...theirs, fence }))
      yield* TestClock.adjust(1000)
      yield* settle
      expect(yield* Fiber.join(caller)).toMatchObject({ _tag: "GrantMismatch", reason: "Server" })
      const { entry } = Option.getOrThrow(yield* storage.load)
      expect(entry.identity).toEqual(theirs.identity)
      expect(Redacted.value(entry.credentials.accessToken)).toBe("at-50")
    })
  )
})

describe("a pool", () => {
  it.scoped("keeps accounts apart: one with another's grant is refused, and is not renewed", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const storages = yield* TokenStorages.makeMemory([
        ["ours", entryOf(mine, 5 * minute)],
        ["theirs", entryOf(GrantIdentity.make({ issuer: "https://b.example" }), 5 * minute, 9)]
      ])
      const services = yield* Layer.build(
        Layer.mergeAll(
          Layer.succeed(TokenStorages.TokenStorages, storages),
          RefreshLease.layerProcess,
          TokenConfig.layer({ instance: "test" }),
          ScriptedRefresher.layer((n) => rotate(n), { identity: mine })
        )
      )
      const pool = yield* Effect.provide(TokenManagers.makeShared(), services)
      const inPool = Effect.provideService(TokenManagers.TokenManagers, pool)
      yield* Effect.provide(inPool(Renewer.make({ every: "1 minute" })), services)
      expect(yield* Effect.flip(pool.getAccessToken("theirs"))).toMatchObject({ _tag: "GrantMismatch" })
      expect(pool.unsafePeek("theirs")).toEqual(Option.none())
      yield* overTime(Effect.void, 20 * minute)
      expect(yield* token(pool.getAccessToken("ours"))).toMatch(/^at-10\d$/)
      const status = yield* pool.status(["theirs"])
      expect(status.get("theirs")).toMatchObject({
        _tag: "Right",
        right: { reason: Option.some("GrantMismatch") }
      })
      const account = yield* pool.get("theirs")
      expect(yield* Effect.flip(account.refresh)).toMatchObject({ _tag: "GrantMismatch" })
      yield* overTime(Effect.void, 60 * minute)
      const sent = yield* Context.get(services, ScriptedRefresher.RefreshCalls).all
      const refreshTokens = sent.map((credentials) =>
        Option.getOrNull(
          Option.map(
            Option.flatMap(credentials, (c) => c.refreshToken),
            Redacted.value
          )
        )
      )
      expect(refreshTokens.length).toBeGreaterThan(1)
      expect(refreshTokens).not.toContain("rt-9")
    })
  )
})

describe("token sets", () => {
  it.scoped("share the identity of their grant", () =>
    Effect.gen(function* () {
      const { storage } = yield* bench({ entry: entryOf(mine, 30 * minute) })
      const setsFor = (identity: GrantIdentity.GrantIdentity) =>
        TokenSets.make({
          account: "grant",
          refresher: () =>
            Effect.succeed(
              TokenRefresher.make({
                identity,
                refresh: (credentials) =>
                  Effect.succeed(
                    new Credentials.Credentials({
                      ...credentials,
                      accessToken: Redacted.make("at-set"),
                      expiresAt: Option.some(start + 30 * minute)
                    })
                  )
              })
            )
        }).pipe(
          Effect.provideService(TokenStorage.TokenStorage, storage),
          Effect.provide(Layer.mergeAll(RefreshLease.layerProcess, TokenConfig.layer({ instance: "test" })))
        )
      const before = yield* storage.load
      const foreign = yield* setsFor(GrantIdentity.make({ issuer: "https://b.example" }))
      expect(yield* Effect.flip(foreign.getAccessToken({ scopes: ["read"] }))).toMatchObject({
        _tag: "GrantMismatch"
      })
      expect(yield* storage.load).toEqual(before)
      const own = yield* setsFor(mine)
      expect(yield* token(own.getAccessToken({ scopes: ["read"] }))).toBe("at-set")
      expect(Option.getOrThrow(yield* storage.load).entry.identity).toEqual(Option.some(mine))
    })
  )
})

it("a grant that names its whole identity is that server's and client's, whatever else the refresher says", () => {
  const theirs = GrantIdentity.make({ issuer: "https://b.example", clientId: "other" })
  const origin: TokenRefresher.Origin = {
    identity: mine,
    clientIdIn: () => Option.some("mine"),
    identityIn: ({ accountId }) => Option.as(accountId, theirs)
  }
  const named = Credentials.make({ accessToken: "a", accountId: "alice" })
  expect(TokenRefresher.identityOf(origin, named)).toEqual(Option.some(theirs))
  // One that names none is nobody's: nothing is bound or compared.
  expect(TokenRefresher.identityOf(origin, Credentials.make({ accessToken: "a" }))).toEqual(Option.none())
  const { clientIdIn, identity } = origin
  expect(TokenRefresher.identityOf({ clientIdIn, identity }, named)).toEqual(
    Option.some(GrantIdentity.withClientId(mine, "mine"))
  )
})
