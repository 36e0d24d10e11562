/** The connection to the hostile server, as a platform `HttpClient`. */
import * as HttpClient from "@effect/platform/HttpClient"
import { RequestError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Seeded } from "@latchkey/core/internal-api"
import type { Fault, Outcome, Reply } from "../../testing/Fault.js"
import type { Endpoint } from "./model.js"
import { endpointOf, issuer } from "./endpoints.js"
import type { FaultPlan } from "./FaultPlan.js"
import { respond, type Incoming, type Site } from "./routes.js"

export interface Options {
  readonly faultPlan: FaultPlan
  readonly site: Site
  readonly random: Seeded.Seeded
  /** How long each direction takes, in milliseconds: minimum, maximum. */
  readonly latency: readonly [number, number]
}

export const make = ({
  faultPlan,
  latency: [fastest, slowest],
  random,
  site
}: Options): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.map(Effect.scope, (scope) => {
    const travel = () => fastest + (slowest > fastest ? random.integer(slowest - fastest + 1) : 0)
    const serve = (endpoint: Endpoint, incoming: Incoming): Effect.Effect<Outcome> =>
      Effect.suspend(() => {
        const fault = faultPlan.meet(endpoint)
        faultPlan.enter(endpoint)
        const [there, back] = [fault.requestDelay + travel(), fault.answerDelay + travel()]
        return pause(there).pipe(
          Effect.andThen(
            Effect.map(Clock.currentTimeMillis, (now) => answer(site, endpoint, incoming, fault, now))
          ),
          Effect.tap(() => pause(back)),
          Effect.ensuring(Effect.sync(() => faultPlan.leave(endpoint)))
        )
      })
    return HttpClient.make((request, url) => {
      const endpoint = endpointOf(url)
      if (endpoint === undefined) {
        return url.origin === issuer
          ? Effect.succeed(toResponse(request, { status: 404, headers: {}, body: "" }))
          : Effect.fail(noConnection(request, "ENOTFOUND"))
      }
      // A client that gives up does not take its request back, so the server's part runs in its own fiber.
      return serve(endpoint, toIncoming(request)).pipe(
        Effect.forkIn(scope),
        Effect.flatMap(Fiber.join),
        Effect.flatMap((outcome) => deliver(request, outcome))
      )
    })
  })

const pause = (millis: number): Effect.Effect<void> => (millis > 0 ? Effect.sleep(millis) : Effect.void)

const notProcessed: Reply = { status: 503, headers: {}, body: "" }

const answer = (site: Site, endpoint: Endpoint, incoming: Incoming, fault: Fault, now: number): Outcome => {
  const serverTime = now + site.skew()
  const honest = fault.processed ? respond(site, endpoint, incoming, now) : notProcessed
  const outcome = fault.answer(honest, { serverTime })
  return typeof outcome === "string"
    ? outcome
    : { ...outcome, headers: { date: new Date(serverTime).toUTCString(), ...outcome.headers } }
}

const deliver = (request: HttpClientRequest, outcome: Outcome) => {
  switch (outcome) {
    case "Silence":
      return Effect.never
    case "Refused":
      return Effect.fail(noConnection(request, "ECONNREFUSED"))
    case "Reset":
      return Effect.fail(new RequestError({ request, reason: "Transport", cause: systemError("ECONNRESET") }))
    default:
      return Effect.succeed(toResponse(request, outcome))
  }
}

const systemError = (code: string, syscall?: string): Error =>
  Object.assign(new Error(`${syscall ?? "read"} ${code}`), {
    code,
    ...(syscall !== undefined && { syscall })
  })

const noConnection = (request: HttpClientRequest, code: string): RequestError =>
  new RequestError({
    request,
    reason: "Transport",
    cause: systemError(code, code === "ENOTFOUND" ? "getaddrinfo" : "connect")
  })

const toResponse = (request: HttpClientRequest, reply: Reply): HttpClientResponse.HttpClientResponse =>
  HttpClientResponse.fromWeb(
    request,
    new Response(
      reply.breaksOffAt === undefined ? reply.body : breaking(reply.body.slice(0, reply.breaksOffAt)),
      {
        status: reply.status,
        headers: { ...reply.headers }
      }
    )
  )

const breaking = (text: string): ReadableStream<Uint8Array> => {
  let sent = false
  return new ReadableStream({
    pull: (controller) => {
      if (sent) controller.error(systemError("ECONNRESET"))
      else controller.enqueue(new TextEncoder().encode(text))
      sent = true
    }
  })
}

const toIncoming = (request: HttpClientRequest): Incoming => {
  const { body } = request
  const text = body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : ""
  const isJson = (request.headers["content-type"] ?? "").startsWith("application/json")
  return {
    method: request.method,
    headers: request.headers,
    form: isJson ? jsonForm(text) : new URLSearchParams(text)
  }
}

/** A JSON body, which some servers want. */
const jsonForm = (text: string): URLSearchParams => {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== "object" || value === null) return new URLSearchParams()
    return new URLSearchParams(Object.entries(value).map(([name, v]): [string, string] => [name, String(v)]))
  } catch {
    return new URLSearchParams()
  }
}
