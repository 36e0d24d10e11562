/** The accounts as JSON, over a real server. */
import { HttpClient, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { describe, expect, it } from "@effect/vitest"
import {
  Credentials,
  Entry,
  RefreshLease,
  Renewer,
  TokenConfig,
  TokenEvent,
  TokenManagers,
  TokenRefresher,
  TokenStorage,
  TokenStorages
} from "@latchkey/core"
import { FaultyStorage } from "@latchkey/core/testing"
import { Accounts } from "@latchkey/oauth"
import { Clock, Context, Effect, Either, Layer, Option, Redacted, Stream } from "effect"
import * as Encrypted from "../../storage/src/Encrypted.js"
import * as EncryptionKeys from "../../storage/src/EncryptionKeys.js"

type Storages = Context.Tag.Service<TokenStorages.TokenStorages>

const minute = 60_000

const login = (account: string, expiresAt: number | undefined, refreshToken = `canary-refresh-${account}`) =>
  Credentials.make({
    accessToken: `canary-access-${account}`,
    refreshToken: refreshToken === "" ? undefined : refreshToken,
    expiresAt,
    idToken: "canary-id"
  })

const markDead = (entry: Entry.Entry, at: number): Entry.Entry =>
  new Entry.Entry({
    ...entry,
    dead: Option.some(
      new Entry.DeadGrant({
        fingerprint: Entry.grantFingerprint(entry.credentials),
        at,
        reason: "invalid_grant",
        rotationLost: false
      })
    )
  })

const commit = (
  storages: Storages,
  account: string,
  change: (held: Option.Option<Entry.Entry>) => Entry.Entry
) =>
  Effect.gen(function* () {
    const storage = Either.getOrThrow(storages.of(account))
    const held = yield* storage.load
    return yield* storage.commit(
      change(Option.map(held, ({ entry }) => entry)),
      Option.map(held, ({ version }) => version)
    )
  })

interface Reply {
  readonly status: number
  readonly body: {
    readonly accounts: ReadonlyArray<Accounts.Row>
    readonly next: string | null
    readonly error: { readonly reason: string; readonly message: string }
  } & Accounts.Row &
    Record<string, unknown>
}

const serveApp = <R>(app: HttpRouter.HttpRouter<never, R>, context: Context.Context<R>) =>
  Effect.gen(function* () {
    const server = yield* Layer.build(NodeHttpServer.layerTest)
    yield* Effect.provide(HttpServer.serveEffect(app), Context.merge(server, context))
    return Context.get(server, HttpClient.HttpClient)
  }).pipe(Effect.orDie)

/** A server of the accounts, and how to ask it. No body may hold a secret. */
const serve = (storages: Storages, services: Context.Context<never> = Context.empty()) =>
  Effect.map(
    serveApp(Accounts.httpApp, Context.add(services, TokenStorages.TokenStorages, storages)),
    (client) => (path: string) =>
      Effect.gen(function* () {
        const response = yield* client.get(path)
        const text = yield* response.text
        expect(text).not.toContain("canary")
        expect(response.headers["content-type"]).toContain("application/json")
        expect(response.headers["cache-control"]).toBe("no-store")
        const { status } = response
        return { status, body: JSON.parse(text) as Reply["body"] } satisfies Reply
      }).pipe(Effect.orDie)
  )

const poolOf = (storages: Storages, refresher: Context.Tag.Service<TokenRefresher.TokenRefresher>) =>
  Layer.orDie(TokenManagers.layerShared({})).pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        Layer.succeed(TokenStorages.TokenStorages, storages),
        RefreshLease.layerProcess,
        Layer.succeed(TokenRefresher.TokenRefresher, refresher),
        Layer.orDie(TokenConfig.layer({ coolDownBase: "1 milli", coolDownMax: "2 millis" }))
      )
    )
  )

const memory = (entries: ReadonlyArray<readonly [string, Entry.Entry]>) => TokenStorages.makeMemory(entries)
const numbered = (n: number, expiresAt: number) =>
  Array.from({ length: n }, (_, i) => {
    const account = `a${String(i).padStart(4, "0")}`
    return [account, Entry.first(login(account, expiresAt))] as const
  })

describe("the accounts as JSON", () => {
  it.scopedLive("say when each is renewed, what went wrong, and who must log in", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const at = (millis: number) => new Date(now + millis).toISOString()
      const waits = new Entry.Entry({
        ...Entry.first(login("waits", now)),
        serverWait: Option.some(new Entry.ServerWait({ at: now - 1, until: now + minute }))
      })
      const storages = yield* memory([
        ["well", Entry.first(login("well", now + minute))],
        ["dead", markDead(Entry.first(login("dead", now + minute)), now)],
        ["ended", Entry.first(login("ended", now - 1, ""))],
        ["waits", waits],
        ["lasting", Entry.first(login("lasting", undefined))]
      ])
      const ask = yield* serve(storages)
      const row = (account: string, changes: Partial<Accounts.Row>) => ({
        account,
        state: "Renewable",
        expiresAt: null,
        nextRenewal: null,
        mustLogIn: false,
        lastError: null,
        warnings: [],
        ...changes
      })
      const rows = {
        dead: row("dead", {
          state: "Dead",
          expiresAt: at(minute),
          mustLogIn: true,
          lastError: {
            reason: "GrantDead",
            message: "The server refused the refresh token: invalid_grant. Log in again.",
            at: at(0)
          }
        }),
        ended: row("ended", { state: "Fixed", expiresAt: at(-1), mustLogIn: true }),
        lasting: row("lasting", {}),
        waits: row("waits", {
          expiresAt: at(0),
          nextRenewal: at(minute),
          lastError: {
            reason: "ServerAsked",
            message: `The server could not answer, or asked to wait. Nothing is sent until ${at(minute)}.`,
            at: at(-1)
          }
        }),
        well: row("well", { expiresAt: at(minute), nextRenewal: at(minute) })
      }
      expect(yield* ask("/accounts")).toEqual({
        status: 200,
        body: { accounts: [rows.dead, rows.ended, rows.lasting, rows.waits, rows.well], next: null }
      })
      for (const expected of Object.values(rows)) {
        expect(yield* ask(`/accounts/${expected.account}`)).toEqual({ status: 200, body: expected })
      }
      expect((yield* ask("/accounts?state=Dead")).body).toEqual({ accounts: [rows.dead], next: null })
      expect((yield* ask("/accounts?state=Fixed&limit=1")).body.accounts).toEqual([rows.ended])
      expect((yield* ask("/summary")).body).toEqual({ count: 5, due: 0, oldestDue: null, renewer: null })
    })
  )

  it.scopedLive("none: an empty page", () =>
    Effect.gen(function* () {
      const ask = yield* serve(yield* memory([]))
      expect(yield* ask("/accounts")).toEqual({ status: 200, body: { accounts: [], next: null } })
      expect((yield* ask("/summary")).body).toEqual({ count: 0, due: 0, oldestDue: null, renewer: null })
    })
  )

  it.scopedLive("come in pages, and only the grants of the page are read", () =>
    Effect.gen(function* () {
      const inner = yield* memory(numbered(250, 2e12))
      yield* Effect.forEach([3, 120, 240], (i) =>
        commit(inner, numbered(250, 0)[i]![0], (held) => markDead(Option.getOrThrow(held), 1))
      )
      let loads = 0
      const ask = yield* serve(
        TokenStorages.mapStorage(inner, (storage) => ({
          ...storage,
          load: Effect.suspend(() => (loads++, storage.load))
        }))
      )
      const all = (limit: number, query = "") =>
        Effect.gen(function* () {
          const sizes: Array<number> = []
          const names: Array<string> = []
          let next: string | null | undefined
          while (next !== null) {
            const after = next === undefined ? "" : `&after=${encodeURIComponent(next)}`
            const { body } = yield* ask(`/accounts?limit=${limit}${query}${after}`)
            sizes.push(body.accounts.length)
            names.push(...body.accounts.map(({ account }) => account))
            next = body.next
          }
          return { names, sizes }
        })
      expect((yield* ask("/accounts")).body).toMatchObject({ next: "a0099", accounts: { length: 100 } })
      expect(loads).toBe(100)
      const names = numbered(250, 0).map(([account]) => account)
      expect(yield* all(100)).toEqual({ names, sizes: [100, 100, 50] })
      expect(loads).toBe(350)
      expect(yield* all(125)).toEqual({ names, sizes: [125, 125] })
      expect(yield* all(500)).toEqual({ names, sizes: [250] })
      const deads = ["a0003", "a0120", "a0240"]
      expect(yield* all(1, "&state=Dead")).toEqual({ names: deads, sizes: [1, 1, 1] })
      expect(yield* all(2, "&state=Dead")).toEqual({ names: deads, sizes: [2, 1] })
      // What ended the page before is in another state by now.
      yield* commit(inner, "a0003", () => Entry.first(login("a0003", 2e12)))
      expect((yield* ask("/accounts?state=Dead&after=a0003")).body.accounts).toHaveLength(2)
    })
  )

  it.scopedLive("what is asked for in a way that cannot be meant is refused, and says how to ask", () =>
    Effect.gen(function* () {
      const ask = yield* serve(yield* memory(numbered(3, 2e12)))
      const limits = [
        "0",
        "501",
        "-1",
        "1.5",
        "1e2",
        "abc",
        "",
        "%20",
        "99999999999999999999",
        "NaN",
        "canary"
      ]
      const wrong = [
        ...limits.map((limit) => [`limit=${limit}`, "`limit` must be a whole number from 1 to 500"] as const),
        ["limit=1&limit=2", "`limit` must be a whole number"],
        ["state=", "`state` must be one of Renewable, Dead, Fixed"],
        ["state=dead", "`state` must be one of"],
        ["state=canary", "`state` must be one of"],
        ["state=Dead&state=Fixed", "`state` must be one of"],
        ["after=", "`after` must be one name"],
        ["after=a0000&after=a0001", "`after` must be one name"],
        ["lmit=1", "Unknown parameter"],
        ["canary=canary", "Unknown parameter"],
        ["__proto__=1", "Unknown parameter"]
      ] as const
      for (const [query, message] of wrong) {
        const { body, status } = yield* ask(`/accounts?${query}`)
        expect([query, status, body]).toEqual([
          query,
          400,
          { error: { reason: "BadRequest", message: expect.stringContaining(message) } }
        ])
        expect(body.error.message).toMatch(/: (use|correct) /)
      }
      // A name that is gone since the page before, and any other.
      const rest = (after: string) =>
        Effect.map(ask(`/accounts?after=${after}`), ({ body }) => body.accounts.length)
      expect(yield* Effect.forEach(["a0000", "a0000b", "canary", "%E0%A4%A"], rest)).toEqual([2, 2, 0, 3])
      for (const limit of [1, 500]) expect((yield* ask(`/accounts?limit=${limit}`)).status).toBe(200)
    })
  )

  it.scopedLive("an account of any name is found, and one that is not there is not", () =>
    Effect.gen(function* () {
      const names = [
        "acme/default",
        "ada@example.com",
        "50% é?#&=+;:",
        "UPPER",
        "a b",
        "%2F",
        "ä".repeat(300)
      ]
      const storages = yield* memory(names.map((name) => [name, Entry.first(login("x", 2e12))] as const))
      const ask = yield* serve(storages)
      for (const name of names) {
        expect((yield* ask(`/accounts/${encodeURIComponent(name)}`)).body).toMatchObject({ account: name })
        const { status } = yield* ask(`/accounts?after=${encodeURIComponent(name)}`)
        expect([name, status]).toEqual([name, 200])
      }
      for (const name of ["canary", "upper", "a", "a%2Fb", "constructor", "\0"]) {
        const { body, status } = yield* ask(`/accounts/${encodeURIComponent(name)}`)
        expect([name, status, body.error.reason]).toEqual([name, 404, "NotFound"])
      }
      const refusing: Storages = {
        ...storages,
        of: () => Either.left(failure("Denied"))
      }
      expect((yield* (yield* serve(refusing))("/accounts/x")).status).toBe(404)
    })
  )

  it.scopedLive("storage that fails is a 503 that says why; a grant that cannot be read is a row", () =>
    Effect.gen(function* () {
      const storages = yield* memory(numbered(4, 2e12))
      const failing = (reason: TokenStorage.StorageError["reason"], broken: (account: string) => boolean) =>
        serve(
          TokenStorages.mapStorage(storages, (storage, account) =>
            broken(account)
              ? FaultyStorage.make(storage, [{ operation: "load", call: () => true, reason }])
              : storage
          )
        )
      const error = (reason: string) => ({
        error: { reason, message: expect.stringContaining("A fault was asked for") }
      })
      const down = yield* failing("Unavailable", (account) => account === "a0002")
      expect(yield* down("/accounts")).toEqual({ status: 503, body: error("Unavailable") })
      expect(yield* down("/accounts/a0002")).toEqual({ status: 503, body: error("Unavailable") })
      expect((yield* down("/accounts/a0001")).status).toBe(200)
      const strange = yield* failing("WrongKey", (account) => account === "a0002")
      expect(yield* strange("/accounts/a0002")).toEqual({ status: 503, body: error("WrongKey") })
      const { accounts } = (yield* strange("/accounts")).body
      expect(accounts.map(({ lastError }) => lastError?.reason)).toEqual([
        undefined,
        undefined,
        "WrongKey",
        undefined
      ])
      expect(accounts[2]).toMatchObject({ state: "Renewable", expiresAt: null, mustLogIn: false })
      expect(accounts[2]!.lastError!.at).toBeNull()
      const broken: Storages = {
        ...storages,
        accounts: () => Stream.fail(failure("Denied")),
        count: Effect.fail(failure("Unavailable"))
      }
      const gone = yield* serve(broken)
      const denied = { error: { reason: "Denied", message: "It cannot be read: look at its mode." } }
      expect(yield* gone("/accounts")).toEqual({ status: 503, body: denied })
      expect((yield* gone("/summary")).status).toBe(503)
    })
  )

  it.scopedLive("accounts that are written, renewed and removed meanwhile make no page fail", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const all = numbered(60, now + minute)
      const storages = yield* memory(all)
      const ask = yield* serve(storages)
      const writers = Effect.forEach(
        all.filter((_, i) => i % 2 === 1),
        ([account], i) =>
          Effect.forEach(
            [1, 2, 3, 4, 5],
            (turn) =>
              Effect.gen(function* () {
                if (i % 3 === 0) yield* Either.getOrThrow(storages.of(account)).remove
                yield* Effect.yieldNow()
                yield* commit(storages, account, (held) =>
                  Option.match(held, {
                    onNone: () => Entry.first(login(account, now + turn * minute)),
                    onSome: (entry) =>
                      turn === 3
                        ? markDead(entry, now)
                        : Entry.refreshed(entry, login(`${account}${turn}`, now))
                  })
                )
                yield* Effect.sleep(1)
              }),
            { discard: true }
          ),
        { concurrency: "unbounded" }
      )
      const readers = Effect.forEach(
        Array.from({ length: 40 }),
        () =>
          Effect.gen(function* () {
            // Accounts with an even number are left alone, and are in each listing once.
            const first = (yield* ask("/accounts?limit=20")).body
            const second = (yield* ask("/accounts?limit=500&after=a0020")).body
            const even = (rows: ReadonlyArray<Accounts.Row>) =>
              rows.map(({ account }) => account).filter((account) => Number(account.slice(1)) % 2 === 0)
            expect(even(second.accounts)).toEqual(
              all.map(([name]) => name).filter((_, i) => i > 20 && i % 2 === 0)
            )
            expect(even(first.accounts)).toEqual([...new Set(even(first.accounts))])
            const dead = (yield* ask("/accounts?state=Dead")).body.accounts
            expect(dead.every(({ mustLogIn, state }) => mustLogIn && state === "Dead")).toBe(true)
          }),
        { concurrency: 4, discard: true }
      )
      yield* Effect.all([writers, readers], { concurrency: "unbounded" })
      expect((yield* ask("/summary")).body).toMatchObject({ count: 60 })
    })
  )

  it.scopedLive(
    "encrypted grants are told of as others are, and one under another key is a row that says so",
    () =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const inner = yield* memory([])
        const sealedWith = (name: string) =>
          Effect.gen(function* () {
            const keys = yield* EncryptionKeys.make([
              Redacted.make(Buffer.alloc(32, name).toString("base64"))
            ])
            return yield* TokenStorages.TokenStorages.pipe(
              Effect.provide(Encrypted.layerAccounts({ provider: "example" })),
              Effect.provideService(TokenStorages.TokenStorages, inner),
              Effect.provideService(EncryptionKeys.EncryptionKeys, keys)
            )
          })
        const storages = yield* sealedWith("one")
        yield* commit(storages, "ada", () => Entry.first(login("ada", now + minute)))
        yield* commit(storages, "bob", () => Entry.first(login("bob", now)))
        yield* commit(storages, "bob", (held) => markDead(Option.getOrThrow(held), now))
        yield* commit(yield* sealedWith("two"), "eve", () => Entry.first(login("eve", now + minute)))
        const ask = yield* serve(storages)
        const { accounts } = (yield* ask("/accounts")).body
        expect(
          accounts.map(({ account, lastError, mustLogIn, state }) => [
            account,
            state,
            mustLogIn,
            lastError?.reason
          ])
        ).toEqual([
          ["ada", "Renewable", false, undefined],
          ["bob", "Dead", true, "GrantDead"],
          ["eve", "Renewable", false, "WrongKey"]
        ])
        expect((yield* ask("/accounts?state=Dead")).body.accounts).toEqual([accounts[1]])
        expect((yield* ask("/accounts/eve")).body.error.reason).toBe("WrongKey")
      })
  )

  it.scopedLive("with a pool there are its warnings and what failed here; with a renewer, what it does", () =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const storages = yield* memory([
        ["ada", Entry.first(login("ada", now + 60 * minute))],
        ["bob", Entry.first(login("bob", now - 2 * minute))],
        ["eve", Entry.first(login("eve", now + 60 * minute))]
      ])
      let status = 401
      const refresher = TokenRefresher.make({
        refresh: (_, token) =>
          status === 200
            ? Effect.succeed(login(`${Redacted.value(token)}-next`, now + 60 * minute))
            : new TokenRefresher.RefreshError({ reason: "Misconfigured", status, message: "canary" })
      })
      const context = yield* Layer.build(
        Accounts.layerFailures.pipe(Layer.provideMerge(poolOf(storages, refresher)))
      )
      const renewer = Context.make(Renewer.Renewer, {
        status: Effect.succeed({ due: 1, renewed: 2, failed: 3, oldestDue: Option.some(now) })
      })
      const ask = yield* serve(storages, Context.merge(context, renewer))
      yield* Effect.sleep(20)
      const managers = yield* Effect.provide(TokenManagers.TokenManagers, context)
      expect((yield* Effect.flip(managers.getAccessToken("bob")))._tag).toBe("RefreshUnavailable")
      yield* Effect.sleep(20)
      const before = (yield* ask("/accounts/bob")).body
      expect(before).toMatchObject({
        state: "Renewable",
        mustLogIn: false,
        lastError: {
          reason: "Misconfigured",
          message:
            "The token server refused the client, a scope or the request: correct the settings (HTTP 401)."
        }
      })
      expect(Math.abs(Date.parse(before.lastError!.at!) - now)).toBeLessThan(minute)
      expect((yield* ask("/accounts/ada")).body.lastError).toBeNull()
      expect((yield* ask("/summary")).body).toEqual({
        count: 3,
        due: 1,
        oldestDue: new Date(now - 2 * minute).toISOString(),
        renewer: { due: 1, renewed: 2, failed: 3, oldestDue: new Date(now).toISOString() }
      })
      // Refreshed: nothing is wrong any more.
      status = 200
      yield* managers.getAccessToken("bob")
      yield* Effect.sleep(20)
      expect((yield* ask("/accounts/bob")).body).toMatchObject({ lastError: null, warnings: [] })
      // Dead: what is stored is the last word, and the pool warns too.
      yield* commit(storages, "eve", (held) => markDead(Option.getOrThrow(held), now))
      yield* Effect.sleep(20)
      expect((yield* ask("/accounts")).body.accounts[2]).toMatchObject({
        account: "eve",
        lastError: { reason: "GrantDead" },
        warnings: ["GrantDead"]
      })
    })
  )

  it.scopedLive(
    "of ten thousand accounts the last failure is remembered, and of more the oldest is forgotten",
    () =>
      Effect.gen(function* () {
        const failed = (i: number, reason: "NotSent" | "Transient" = "NotSent") => ({
          account: `${i}`,
          event: TokenEvent.RefreshFailed({ at: i, reason, status: undefined })
        })
        const events = Stream.fromIterable([
          ...Array.from({ length: 10_000 }, (_, i) => failed(i)),
          failed(0, "Transient"),
          failed(10_000)
        ])
        const refresher = TokenRefresher.make({ refresh: () => Effect.never })
        const { TokenManagers: Tag } = TokenManagers
        const services = yield* Layer.build(poolOf(yield* memory([]), refresher))
        const pool = Layer.succeed(Tag, { ...Context.get(services, Tag), events })
        const { of } = Context.get(
          yield* Layer.build(Layer.provide(Accounts.layerFailures, pool)),
          Accounts.Failures
        )
        while (Option.isNone(of("10000"))) yield* Effect.sleep(1)
        expect(Option.getOrThrow(of("0")).reason).toBe("Transient")
        expect(of("1")).toEqual(Option.none())
        expect(of("2")).toEqual(
          Option.some({
            reason: "NotSent",
            message:
              "The token server could not be reached, and nothing was sent: check its name, the network and TLS.",
            at: 2
          })
        )
      })
  )

  it.scopedLive("a server mounts them where it likes, behind an authentication of its own", () =>
    Effect.gen(function* () {
      const app = HttpRouter.empty.pipe(
        HttpRouter.mount("/admin", Accounts.httpApp),
        HttpRouter.use((route) =>
          Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
            headers["authorization"] === "Bearer operator" ? route : HttpServerResponse.empty({ status: 401 })
          )
        )
      )
      const storages = yield* memory(numbered(2, 2e12))
      const client = yield* serveApp(app, Context.make(TokenStorages.TokenStorages, storages))
      const get = (path: string, authorization = "Bearer operator") =>
        Effect.gen(function* () {
          const { status, text } = yield* client.get(path, { headers: { authorization } })
          return [status, yield* text] as const
        })
      expect(yield* get("/admin/accounts", "")).toEqual([401, ""])
      expect(yield* get("/admin/accounts?limit=1")).toEqual([200, expect.stringContaining('"next":"a0000"')])
      expect(yield* get("/admin/accounts/a0001")).toEqual([200, expect.stringContaining("a0001")])
      expect((yield* get("/accounts"))[0]).toBe(404)
      expect((yield* get("/admin/accounts/%E0%A4%A"))[0]).toBe(404)
    })
  )
})

const failure = (reason: TokenStorage.StorageError["reason"]) =>
  new TokenStorage.StorageError({
    reason,
    operation: "load",
    location: "memory",
    message: "It cannot be read: look at its mode.",
    cause: new Error("canary")
  })
