import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import { Fibers } from "@latchkey/core/internal-api"
import { TokenStorages } from "@latchkey/core/TokenStorages"
import * as Postgres from "@latchkey/storage/Postgres"
import * as Sql from "@latchkey/storage/Sql"
import { LeaseLaws, Sample } from "@latchkey/storage/testing"
import * as SqlClient from "@effect/sql/SqlClient"
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import { describeWith } from "../../../.ci/describeWith.js"
import { postgres } from "../../../.ci/programs.js"
import * as Edition from "../../core/test/support/Edition.js"
import * as PostgresServer from "./support/PostgresServer.js"
import { crashes, manyAccounts, untilItAnswers } from "./support/servers.js"

const scope = Effect.runSync(Scope.make())
let server: PostgresServer.PostgresServer
let serial = 0

const account = "me"
const freshTables = Effect.sync(() => `t${++serial}`)
const range = (n: number) => Array.from({ length: n }, (_, i) => i)

const open = (options: Partial<Sql.Options> = {}, client: Postgres.ClientOptions = {}) =>
  Effect.gen(function* () {
    const config = { url: Redacted.make(server.url), maxConnections: 4, ...client }
    const context = yield* Layer.build(Layer.fresh(Postgres.layerClient(config)))
    const handle = yield* Effect.provide(Sql.make({ account, ...options }), context)
    return { ...handle, sql: Context.get(context, SqlClient.SqlClient) }
  })

const connecting = (user: string, database = "postgres"): Postgres.ClientOptions => ({
  url: Redacted.make(server.url.replace("//latchkey@", `//${user}@`).replace("/postgres?", `/${database}?`))
})

const generation = (n: number) => new Entry.Entry({ ...Sample.plain(`${n}`), generation: n })

/** Notes all that is said of spans. */
const recording = (native: Tracer.Tracer, said: Array<unknown>): Tracer.Tracer =>
  Tracer.make({
    span: (...args) => {
      const note = (...values: ReadonlyArray<unknown>) => void said.push(...values)
      const span = native.span(...args)
      note(span.name)
      return Object.assign(span, { end: note, attribute: note, event: note, addLinks: note })
    },
    context: native.context
  })

const elapsed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const before = yield* Clock.currentTimeMillis
    const result = yield* effect
    return [result, (yield* Clock.currentTimeMillis) - before] as const
  })

describeWith(postgres, "a PostgreSQL server", () => {
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.extend(PostgresServer.make, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  it.live("has its tables made once, however many ask first at the same time", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const handles = yield* Effect.forEach(range(8), () => open({ tables }))
      const loaded = yield* Effect.forEach(handles, ({ storage }) => storage.load, {
        concurrency: "unbounded"
      })
      assert.isTrue(loaded.every(Option.isNone))
    }).pipe(Effect.scoped)
  )

  it.live("keeps what a transaction of the caller's takes back", () =>
    Effect.gen(function* () {
      const { sql, storage } = yield* open({ tables: yield* freshTables })
      const version = yield* storage.commit(Sample.plain("a"), Option.none()).pipe(
        Effect.tap(() => storage.load),
        Effect.flatMap((committed) => Effect.fail(committed)),
        sql.withTransaction,
        Effect.flip
      )
      assert.strictEqual(Option.getOrThrow(yield* storage.load).version, version)
    }).pipe(Effect.scoped)
  )

  it.live("is used under its own names, whatever the client renames", () =>
    Effect.gen(function* () {
      const shout = (name: string) => name.toUpperCase()
      const { storage, lease } = yield* open(
        { tables: yield* freshTables },
        { transformQueryNames: shout, transformResultNames: shout }
      )
      const { fence } = yield* lease.acquire(account, "1 minute")
      yield* storage.commit(new Entry.Entry({ ...Sample.plain("a"), fence }), Option.none())
      assert.strictEqual(Option.getOrThrow(yield* storage.load).entry.fence, fence)
    }).pipe(Effect.scoped)
  )

  it.live("lets leases lapse by its own clock, not by the program's", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { lease } = yield* open({ tables })
      const { lease: other } = yield* open({ tables })
      const mine = yield* lease.acquire(account, "1 minute")
      assert.isAbove(mine.fence, 1_700_000_000_000)
      const late = Fibers.makeClock(
        () => 4_000_000_000_000,
        (duration) => Fibers.systemClock.sleep(duration)
      )
      assert.isTrue(yield* Effect.withClock(mine.isHeld, late))
      const refused = yield* Effect.withClock(Effect.flip(other.acquire(account, "1 minute")), late)
      assert.strictEqual(refused.reason, "Busy")
    }).pipe(Effect.scoped)
  )

  it.live("puts a commit wholly before or after the grant that would fence it", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { storage, lease } = yield* open({ tables })
      const { storage: next, lease: nextLease } = yield* open({ tables })
      let version = yield* storage.commit(generation(0), Option.none())
      let before = 0
      for (const n of range(40)) {
        const turn = Effect.gen(function* () {
          // It has lapsed by the time of the commit, and nobody has taken it yet.
          const { fence } = (yield* LeaseLaws.acquireStalled(lease, account, Duration.millis(5))).lease
          yield* Effect.sleep(5)
          const late = storage.commit(new Entry.Entry({ ...generation(n), fence }), Option.some(version))
          const acquired = yield* Deferred.make<void>()
          // In most turns both run at once. In one of five the commit waits until the lease is taken.
          const begin = n % 5 === 4 ? Deferred.await(acquired) : Effect.sleep(n % 5)
          const committing = yield* Effect.fork(Effect.either(Effect.andThen(begin, late)))
          // In another one the lease waits for the commit.
          const turnOfNext = n % 5 === 3 ? Fiber.await(committing) : Effect.sleep(Math.floor(n / 5) % 4)
          yield* turnOfNext
          yield* nextLease
            .acquire(account, "1 minute")
            .pipe(Effect.retry({ while: (error) => error.reason === "Busy", times: 500 }))
          yield* Deferred.succeed(acquired, undefined)
          const seen = Option.getOrThrow(yield* next.load).version
          const committed = yield* Fiber.join(committing)
          if (Either.isRight(committed)) before++
          assert.strictEqual(
            seen,
            Either.getOrElse(committed, () => version)
          )
          version = seen
        })
        yield* Effect.scoped(turn)
      }
      assert.isAtLeast(before, 1)
      assert.isBelow(before, 40)
    }).pipe(Effect.scoped)
  )

  it.live("may cut connections: nothing is lost, and the next ones serve", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { storage } = yield* open({ tables })
      const { sql } = yield* open({ tables })
      let version = yield* storage.commit(generation(0), Option.none())
      for (const n of range(5)) {
        yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`
        const loaded = Option.getOrThrow(yield* untilItAnswers(storage.load))
        assert.strictEqual(loaded.version, version)
        version = yield* storage.commit(generation(n + 1), Option.some(version))
      }
    }).pipe(Effect.scoped)
  )

  it.live("may crash and come back: what it acknowledged is there, and leases go on", () =>
    Effect.gen(function* () {
      yield* crashes(server, ["SIGQUIT", "SIGINT"], account, yield* open({ tables: yield* freshTables }))
    }).pipe(Effect.scoped)
  )

  it.live("refreshes many accounts at the same time, and none waits for one whose rows are locked", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const config = { url: Redacted.make(server.url), maxConnections: 10 }
      const context = yield* Layer.build(Layer.fresh(Postgres.layerClient(config)))
      const { storages, lease } = yield* Effect.provide(Sql.makeAccounts({ tables }), context)
      const names = range(40).map((n) => `account ${n}`)
      const last = names.at(-1)!
      const refresh = (name: string, n: number) =>
        Effect.gen(function* () {
          const storage = Either.getOrThrow(storages.of(name))
          const { fence } = yield* lease.acquire(name, "1 minute")
          const version = Option.map(yield* storage.load, (loaded) => loaded.version)
          const intent = new Entry.Entry({ ...generation(n), fence })
          const noted = yield* storage.commit(intent, version)
          yield* storage.commit(intent, Option.some(noted))
          yield* storage.commit(intent, version).pipe(
            Effect.flip,
            Effect.map((error) => assert.include(error, { _tag: "CommitRefused", reason: "Conflict" }))
          )
        }).pipe(Effect.scoped)
      const all = (some: ReadonlyArray<string>, n: number) =>
        Effect.forEach(some, (name) => refresh(name, n), { concurrency: "unbounded" })
      yield* all(names, 1)
      yield* all(names, 2)
      const sql = Context.get(context, SqlClient.SqlClient)
      const locked = yield* Deferred.make<void>()
      const done = yield* Deferred.make<void>()
      const operator = yield* Effect.gen(function* () {
        yield* sql`SELECT 1 FROM ${sql(`${tables}_entries`)} WHERE account = ${last} FOR UPDATE`
        yield* sql`SELECT 1 FROM ${sql(`${tables}_leases`)} WHERE account = ${last} FOR UPDATE`
        yield* Deferred.succeed(locked, undefined)
        yield* Deferred.await(done)
      }).pipe(sql.withTransaction, Effect.fork)
      yield* Deferred.await(locked)
      const [, waited] = yield* elapsed(
        Effect.gen(function* () {
          const waiting = yield* Effect.fork(refresh(last, 3))
          yield* all(names.slice(0, -1), 3)
          assert.isTrue(Option.isNone(yield* Edition.poll(waiting)))
          yield* Deferred.succeed(done, undefined)
          yield* Fiber.join(waiting)
        })
      )
      yield* Fiber.join(operator)
      assert.isBelow(waited, 8_000)
      for (const name of names) {
        const { entry } = Option.getOrThrow(yield* Either.getOrThrow(storages.of(name)).load)
        assert.strictEqual(entry.generation, 3)
        yield* Effect.scoped(lease.acquire(name, "1 minute"))
      }
    }).pipe(Effect.scoped)
  )

  it.live("does not overwrite under a lease what was edited, or has fields of a later version", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { storage, lease, sql } = yield* open({ tables })
      const entries = sql(`${tables}_entries`)
      yield* storage.commit(generation(1), Option.none())
      const { fence } = yield* lease.acquire(account, "1 minute")
      const next = (n: number) => new Entry.Entry({ ...generation(n), fence })
      const version = Option.map(yield* storage.load, (loaded) => loaded.version)
      yield* sql`UPDATE ${entries} SET record = replace(record, '"scopes"', '"later":"kept","scopes"')`
      const refused = yield* Effect.flip(storage.commit(next(2), version))
      assert.include(refused, { _tag: "CommitRefused", reason: "Conflict" })
      const edited = Option.map(yield* storage.load, (loaded) => loaded.version)
      const committed = yield* storage.commit(next(2), edited)
      yield* storage.commit(next(3), Option.some(committed))
      const [row] = yield* sql<{ readonly record: string }>`SELECT record FROM ${entries}`
      assert.include(row?.record, '"later":"kept"')
      assert.strictEqual(Option.getOrThrow(yield* storage.load).entry.generation, 3)
    }).pipe(Effect.scoped)
  )

  it.live("serves many accounts over one connection, and tells which one changed", () =>
    Effect.gen(function* () {
      const config = { url: Redacted.make(server.url), maxConnections: 2 }
      const options = { tables: yield* freshTables, client: config }
      const context = yield* Layer.build(Layer.fresh(Postgres.layerAccounts(options)))
      yield* manyAccounts(Context.get(context, TokenStorages), false)
    }).pipe(Effect.scoped)
  )

  it.live("tells of changes again after it was away", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { storage } = yield* open({ tables })
      const { storage: other } = yield* open({ tables })
      const told = yield* Queue.unbounded<void>()
      const changes = Option.getOrThrow(storage.changes)
      yield* Effect.forkScoped(Stream.runForEach(changes, () => Queue.offer(told, undefined)))
      const next = Effect.timeout(Queue.take(told), "10 seconds")
      yield* next
      const version = yield* other.commit(Sample.plain("a"), Option.none())
      yield* next
      yield* server.stop("SIGINT")
      yield* server.start
      // It may have changed meanwhile.
      yield* next
      yield* Queue.takeAll(told)
      yield* untilItAnswers(other.commit(Sample.plain("b"), Option.some(version)))
      yield* next
    }).pipe(Effect.scoped)
  )

  it.live("that is down is Unavailable, at once", () =>
    Effect.gen(function* () {
      const { storage, lease } = yield* open({ tables: yield* freshTables })
      yield* storage.load
      yield* server.stop("SIGINT")
      const [failures, millis] = yield* elapsed(
        Effect.all([
          Effect.flip(storage.load),
          Effect.flip(storage.commit(Sample.plain("a"), Option.none())),
          Effect.flip(lease.acquire(account, "1 minute")),
          Effect.flip(open())
        ])
      )
      yield* server.start
      for (const failure of failures) {
        assert.propertyVal(failure, "reason", "Unavailable")
        assert.include(String(failure), "it cannot be reached")
      }
      assert.isBelow(millis, 10_000)
    }).pipe(Effect.scoped)
  )

  it.live("that hangs is Unavailable when the time is over, even where nothing can be interrupted", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { storage, sql } = yield* open({ tables })
      const { storage: hasty } = yield* open({ tables, timeout: "1 second" })
      const version = yield* storage.commit(Sample.plain("a"), Option.none())
      yield* hasty.load
      const [outcome, millis] = yield* Effect.andThen(
        sql`LOCK TABLE ${sql(`${tables}_entries`)} IN EXCLUSIVE MODE`,
        elapsed(Effect.uninterruptible(Effect.flip(hasty.commit(Sample.plain("b"), Option.some(version)))))
      ).pipe(
        // The server learns it too, a moment later.
        Effect.tap(() => Effect.sleep("300 millis")),
        sql.withTransaction
      )
      assert.include(outcome, { _tag: "StorageError", reason: "Unavailable" })
      assert.isBelow(millis, 10_000)
      yield* storage.commit(Sample.plain("c"), Option.some(version))
    }).pipe(Effect.scoped)
  )

  it.live("that refuses says what to do about it", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { sql, storage } = yield* open({ tables })
      yield* storage.commit(Sample.plain("a"), Option.none())
      yield* sql`CREATE ROLE reader LOGIN`
      yield* sql.unsafe(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader`)
      const nobody = yield* Effect.flip(open({}, connecting("nobody:canary-password")))
      assert.include(nobody, { _tag: "StorageError", reason: "Denied" })
      assert.include(nobody.message, "it refused the login")
      const nowhere = yield* Effect.flip(open({}, connecting("latchkey", "nowhere")))
      assert.include(nowhere, { _tag: "StorageError", reason: "Denied" })
      assert.notInclude(inspect([nobody, nowhere], { depth: 9 }), "canary")

      const { storage: reader, lease } = yield* open({ tables }, connecting("reader"))
      const { version } = Option.getOrThrow(yield* reader.load)
      const denied = yield* Effect.flip(reader.commit(Sample.plain("b"), Option.some(version)))
      assert.include(denied, { _tag: "StorageError", reason: "Denied" })
      assert.include(denied.message, "(42501)")
      assert.strictEqual((yield* Effect.flip(lease.acquire(account, "1 minute"))).reason, "Unavailable")
      const fresh = yield* open({ tables: yield* freshTables }, connecting("reader"))
      assert.strictEqual((yield* Effect.flip(fresh.storage.load)).reason, "Denied")
    }).pipe(Effect.scoped)
  )

  it.live("whose error quotes the row is not quoted", () =>
    Effect.gen(function* () {
      const tables = yield* freshTables
      const { sql, storage } = yield* open({ tables })
      yield* storage.load
      yield* sql.unsafe(`ALTER TABLE ${tables}_entries ADD CHECK (fence > 0)`)
      const secret = Entry.first(Credentials.make({ accessToken: "canary-access", refreshToken: "canary-r" }))
      const raw = sql`INSERT INTO ${sql(`${tables}_entries`)} VALUES ('x', 1, 0, 'canary-row')`
      assert.include(inspect(yield* Effect.flip(raw), { depth: 9 }), "canary-row")
      const spans: Array<unknown> = []
      const commit = storage.commit(secret, Option.none()).pipe(Effect.withSpan("commit"))
      const error = yield* Effect.withTracer(Effect.flip(commit), recording(yield* Effect.tracer, spans))
      assert.include(spans, "commit")
      assert.include(error, { _tag: "StorageError", reason: "Unavailable" })
      const said = [inspect([error, spans], { depth: 15, showHidden: true }), JSON.stringify(error)]
      assert.notInclude(said.join(), "canary")
      assert.include(said.join(), "23514")
    }).pipe(Effect.scoped)
  )

  it.live("is named without its password", () =>
    Effect.gen(function* () {
      const { storage } = yield* open({}, connecting("latchkey:canary-password"))
      // A lease has this name, so it must be the same in every process.
      const host = new URL(server.url).searchParams.get("host")
      assert.strictEqual(storage.location, `PostgreSQL at ${host}:5432/postgres, account me`)
      assert.isTrue(Either.isRight(yield* Effect.either(storage.load)))
    }).pipe(Effect.scoped)
  )
})
