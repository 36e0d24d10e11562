/**
 * A backend with two providers, served and called in one process. The grant for mail ends while the
 * calendar's continues. The caller learns which login is needed.
 */
import { HttpApiBuilder, HttpApiClient, HttpClient } from "@effect/platform"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Fingerprint } from "@latchkey/core"
import { HostileServer } from "@latchkey/oauth/testing"
import { ConfigProvider, Effect, Layer, Logger, LogLevel } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Api, CalendarToken, MailToken, Middleware } from "./Api.js"
import { Calendar, CalendarSession, Mail, MailSession } from "./Upstreams.js"

const Handlers = Layer.mergeAll(
  HttpApiBuilder.group(Api, "calendar", (handlers) =>
    handlers.handle("events", () =>
      Effect.map(CalendarToken, (token) => ({ servedWith: Fingerprint.of(token) }))
    )
  ),
  HttpApiBuilder.group(Api, "mail", (handlers) =>
    handlers.handle("inbox", () => Effect.map(MailToken, (token) => ({ servedWith: Fingerprint.of(token) })))
  )
)

/** The environment of a deployment. */
const environment = (folder: string) => {
  const of = (prefix: string, file: string): ReadonlyArray<readonly [string, string]> => [
    [`${prefix}TOKEN_ENDPOINT`, HostileServer.server.tokenEndpoint],
    [`${prefix}CLIENT_ID`, "example"],
    [`${prefix}CREDENTIALS_FILE`, join(folder, file)]
  ]
  return ConfigProvider.fromMap(new Map([...of("CALENDAR_", "calendar.json"), ...of("MAIL_", "mail.json")]))
}

/** An authorization server in memory. A program uses `FetchHttpClient.layer` here. */
const reaching = ({ client }: { readonly client: HttpClient.HttpClient }) =>
  Layer.succeed(HttpClient.HttpClient, client)

const program = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "latchkey-two-providers-"))),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )
  const calendarServer = yield* HostileServer.make({ seed: 1 })
  const mailServer = yield* HostileServer.make({ seed: 2, accessTokenLifetime: "1 second" })
  const Sessions = Layer.merge(
    Layer.provide(CalendarSession, reaching(calendarServer)),
    Layer.provide(MailSession, reaching(mailServer))
  ).pipe(Layer.provide(Layer.setConfigProvider(environment(folder))))
  const Server = HttpApiBuilder.serve().pipe(
    Layer.provide(HttpApiBuilder.api(Api)),
    Layer.provide(Handlers),
    Layer.provide(Middleware),
    Layer.provideMerge(Sessions),
    // A free port of this machine, and a client that uses it.
    Layer.provideMerge(NodeHttpServer.layerTest)
  )

  return yield* Effect.gen(function* () {
    const [calendar, mail] = [yield* Calendar, yield* Mail]
    const mailGrant = yield* mailServer.control.issueGrant()
    yield* calendar.save(yield* calendarServer.control.issueGrant())
    yield* mail.save(mailGrant)

    const api = yield* HttpApiClient.make(Api)
    const events = yield* api.calendar.events()
    const inbox = yield* api.mail.inbox()
    console.log(`calendar: served with ${events.servedWith}; mail: served with ${inbox.servedWith}`)

    yield* mailServer.control.revokeGrant(mailGrant)
    yield* Effect.sleep("1 second")
    const refused = yield* Effect.flip(api.mail.inbox())
    const again = yield* api.calendar.events()
    console.log(
      `calendar: served with ${again.servedWith}; mail: ${refused._tag}, after its grant was revoked`
    )
    return refused._tag === "LoginNeeded" && again.servedWith === events.servedWith
  }).pipe(Effect.provide(Server))
})

NodeRuntime.runMain(
  program.pipe(
    Effect.scoped,
    Effect.tap((asPromised) => Effect.sync(() => void (process.exitCode = asPromised ? 0 : 1))),
    Logger.withMinimumLogLevel(LogLevel.Error)
  )
)
