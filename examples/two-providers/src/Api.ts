/**
 * The backend's own API. A group that needs an upstream declares it with its middleware: handlers get a token
 * that is valid now, and the possible failures are part of the API's types, in the terms of this API.
 */
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, HttpApiSchema } from "@effect/platform"
import type { TokenError } from "@latchkey/core"
import { Clock, Context, Effect, Layer, type Redacted, Schema } from "effect"
import { Calendar, Mail } from "./Upstreams.js"

/** The user must log in again at this upstream. Nothing else helps. */
export class LoginNeeded extends Schema.TaggedError<LoginNeeded>()(
  "LoginNeeded",
  { upstream: Schema.String },
  HttpApiSchema.annotations({ status: 409 })
) {}

/** Worth a retry, after this many seconds. */
export class TryLater extends Schema.TaggedError<TryLater>()(
  "TryLater",
  { upstream: Schema.String, seconds: Schema.Number },
  HttpApiSchema.annotations({ status: 503 })
) {}

const failure = Schema.Union(LoginNeeded, TryLater)

export class CalendarToken extends Context.Tag("example/CalendarToken")<CalendarToken, Redacted.Redacted>() {}
export class NeedsCalendar extends HttpApiMiddleware.Tag<NeedsCalendar>()("example/NeedsCalendar", {
  failure,
  provides: CalendarToken
}) {}

export class MailToken extends Context.Tag("example/MailToken")<MailToken, Redacted.Redacted>() {}
export class NeedsMail extends HttpApiMiddleware.Tag<NeedsMail>()("example/NeedsMail", {
  failure,
  provides: MailToken
}) {}

/**
 * The upstream token that served it, by its fingerprint. This is for the example: a real backend would not
 * return it.
 */
const Answer = Schema.Struct({ servedWith: Schema.String })

export const Api = HttpApi.make("example")
  .add(
    HttpApiGroup.make("calendar")
      .add(HttpApiEndpoint.get("events", "/events").addSuccess(Answer))
      .middleware(NeedsCalendar)
  )
  .add(
    HttpApiGroup.make("mail")
      .add(HttpApiEndpoint.get("inbox", "/inbox").addSuccess(Answer))
      .middleware(NeedsMail)
  )

/** Converts a manager's errors to the terms of this API. A handler does not run without a token. */
const translate =
  (upstream: string) =>
  (error: TokenError.TokenError): Effect.Effect<never, LoginNeeded | TryLater> =>
    error._tag === "ReauthorizationRequired"
      ? Effect.fail(new LoginNeeded({ upstream }))
      : Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const retryAt = error._tag === "RefreshUnavailable" ? error.retryAt : now + 5000
          return new TryLater({ upstream, seconds: Math.max(1, Math.ceil((retryAt - now) / 1000)) })
        })

export const Middleware = Layer.mergeAll(
  Layer.effect(
    NeedsCalendar,
    Effect.map(Calendar, (manager) => Effect.catchAll(manager.getAccessToken, translate("calendar")))
  ),
  Layer.effect(
    NeedsMail,
    Effect.map(Mail, (manager) => Effect.catchAll(manager.getAccessToken, translate("mail")))
  )
)
