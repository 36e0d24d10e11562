/** Renewal of accounts at rest: what storage says is due. */
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  RefreshLease,
  Renewer,
  TokenConfig,
  TokenManagers,
  TokenRefresher,
  TokenStorages
} from "@latchkey/core"
import { Clock, Deferred, Effect, Exit, Option, Scope, TestClock } from "effect"
import { minute, settle, start } from "./support/Bench.js"

const login = (account: string, n: number, obtainedAt: number, lifetime = 10 * minute) =>
  Credentials.make({
    accessToken: `${account}-at-${n}`,
    refreshToken: `${account}-rt-${n}`,
    obtainedAt,
    expiresAt: obtainedAt + lifetime,
    accountId: account
  })

const names = (prefix: string, n: number) => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

/** A token server that counts, and does for each account what it is told to. */
const serverOf = (
  behave: (account: string) => Effect.Effect<void, TokenRefresher.RefreshError> = () => Effect.void
) => {
  const posts: Array<string> = []
  const refresher = TokenRefresher.make({
    rotation: TokenRefresher.rotating(),
    refresh: (credentials) =>
      Effect.gen(function* () {
        const account = Option.getOrThrow(credentials.accountId)
        posts.push(account)
        yield* behave(account)
        return login(account, posts.length + 1, yield* Clock.currentTimeMillis)
      })
  })
  return { posts, refresher }
}

/** Two processes, or one, over the same accounts. */
const world = (
  accounts: ReadonlyArray<string>,
  refresher: (account: string) => ReturnType<typeof serverOf>["refresher"]
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const storages = yield* TokenStorages.makeMemory(
      accounts.map((account) => [account, Entry.first(login(account, 1, start))] as const)
    )
    const lease = yield* RefreshLease.makeProcess
    const process = (instance: string, options: Renewer.Options = {}) =>
      Effect.gen(function* () {
        const config = yield* TokenConfig.make({ instance })
        const services = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          effect.pipe(
            Effect.provideService(TokenStorages.TokenStorages, storages),
            Effect.provideService(RefreshLease.RefreshLease, lease),
            Effect.provideService(TokenConfig.TokenConfig, config),
            Effect.provideService(TokenRefresher.TokenRefresher, refresher(""))
          )
        const managers = yield* services(TokenManagers.makeShared({ renew: false, refresher }))
        const renewer = yield* services(
          Effect.provideService(Renewer.make(options), TokenManagers.TokenManagers, managers)
        )
        return { managers, renewer }
      })
    return { process, storages }
  })

const pass = (millis: number) =>
  Effect.forEach(
    Array.from({ length: Math.ceil(millis / 1000) }),
    () => Effect.andThen(TestClock.adjust(1000), settle),
    { discard: true }
  )

describe("a renewer", () => {
  it.scoped("renews each account once before it expires, and holds none of them", () =>
    Effect.gen(function* () {
      const server = serverOf()
      const accounts = names("a", 200)
      const { process, storages } = yield* world(accounts, () => server.refresher)
      const { managers, renewer } = yield* process("one")
      yield* pass(5 * minute)
      expect(server.posts).toEqual([])
      // Between the window and the grace: each at its own moment.
      yield* pass(2 * minute)
      expect(server.posts.length).toBeGreaterThan(50)
      expect(server.posts.length).toBeLessThan(150)
      yield* pass(1.5 * minute)
      expect([...server.posts].sort()).toEqual([...accounts].sort())
      expect(yield* managers.accounts).toEqual([])
      expect(yield* storages.due({ before: start + 12 * minute, limit: 1000 })).toEqual([])
      expect(yield* renewer.status).toMatchObject({ renewed: 200, failed: 0 })
    })
  )

  it.scoped("shares the work with others: each account is renewed once", () =>
    Effect.gen(function* () {
      const server = serverOf(() => Effect.sleep(300))
      const accounts = names("a", 100)
      const { process } = yield* world(accounts, () => server.refresher)
      const one = yield* process("one", { window: 0 })
      const two = yield* process("two", { window: 0 })
      yield* pass(9 * minute)
      expect([...server.posts].sort()).toEqual([...accounts].sort())
      const done = [yield* one.renewer.status, yield* two.renewer.status].map(({ failed }) => failed)
      expect(done).toEqual([0, 0])
    })
  )

  it.scoped("is not held up by a server that hangs, nor by one that fails", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
      const hanging = serverOf(() => Deferred.await(gate))
      const failing = serverOf(() =>
        Effect.fail(new TokenRefresher.RefreshError({ reason: "Transient", message: "503" }))
      )
      const good = serverOf()
      const of = (account: string) =>
        account.startsWith("h") ? hanging : account.startsWith("f") ? failing : good
      // More that hang and fail than come with one answer of storage, and all of them first.
      const accounts = [...names("f", 600), ...names("h", 600), ...names("ok", 20)]
      const { process } = yield* world(accounts, (account) => of(account).refresher)
      yield* process("one", { window: 0, every: "5 seconds" })
      yield* pass(8 * minute + 6000)
      expect([...good.posts].sort()).toEqual(names("ok", 20).sort())
      expect(hanging.posts.length).toBe(16)
      expect(failing.posts.length).toBeLessThan(40)
    })
  )

  it.scoped("renews after a restart what came due meanwhile, and leaves dead grants alone", () =>
    Effect.gen(function* () {
      const dead = serverOf(() =>
        Effect.fail(new TokenRefresher.RefreshError({ reason: "GrantDead", message: "revoked" }))
      )
      const good = serverOf()
      const { process, storages } = yield* world(["dead", "good"], (account) =>
        account === "dead" ? dead.refresher : good.refresher
      )
      const scope = yield* Scope.make()
      yield* Scope.extend(process("one"), scope)
      yield* Scope.close(scope, Exit.void)
      yield* pass(15 * minute)
      expect(good.posts).toEqual([])
      yield* process("two")
      yield* pass(20_000)
      expect(good.posts).toEqual(["good"])
      expect(dead.posts).toEqual(["dead"])
      yield* pass(minute)
      expect(dead.posts).toEqual(["dead"])
      expect(yield* storages.due({ before: start + 16 * minute, limit: 10 })).toEqual([])
    })
  )
})
