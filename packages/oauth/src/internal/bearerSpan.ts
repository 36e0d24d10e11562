/**
 * The span of a request with a token. It has the same name and attributes as the platform's own span, which
 * is left out because its result is the request and the response, both with the token. This span has no
 * result and no headers.
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberRef from "effect/FiberRef"
import { constTrue } from "effect/Function"
import type * as Tracer from "effect/Tracer"

export interface Traced {
  /** Headers to send, for the server's own spans. */
  readonly headers: Readonly<Record<string, string | undefined>>
  /** Runs the request in the span and ends it. `fit` makes an error safe to keep in it. */
  readonly run: <E, R>(
    effect: Effect.Effect<HttpClientResponse, E, R>,
    fit: (error: E) => unknown
  ) => Effect.Effect<HttpClientResponse, E, R>
}

/** Begins the span, unless tracing is off for the request. */
export const begin = (request: HttpClientRequest, url: URL): Effect.Effect<Traced> =>
  Effect.gen(function* () {
    const isDisabled = yield* FiberRef.get(HttpClient.currentTracerDisabledWhen)
    if (!(yield* FiberRef.get(FiberRef.currentTracerEnabled)) || isDisabled(request)) return untraced
    const span = yield* Effect.makeSpan((yield* HttpClient.SpanNameGenerator)(request), {
      kind: "client",
      captureStackTrace: false,
      attributes: {
        "http.request.method": request.method,
        "server.address": url.origin,
        ...(url.port !== "" && { "server.port": Number(url.port) }),
        "url.full": url.href,
        "url.path": url.pathname,
        "url.scheme": url.protocol.slice(0, -1),
        ...(url.search !== "" && { "url.query": url.search.slice(1) })
      }
    })
    const propagates = yield* FiberRef.get(HttpClient.currentTracerPropagation)
    return {
      headers: propagates ? HttpTraceContext.toHeaders(span) : {},
      run: (effect, fit) =>
        effect.pipe(
          Effect.tap((response) =>
            Effect.sync(() => span.attribute("http.response.status_code", response.status))
          ),
          Effect.locally(HttpClient.currentTracerDisabledWhen, constTrue),
          Effect.withParentSpan(span),
          Effect.onExit((exit) =>
            end(span, Exit.mapBoth(exit, { onFailure: fit, onSuccess: () => undefined }))
          )
        )
    }
  })

const untraced: Traced = { headers: {}, run: (effect) => effect }

const end = (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> =>
  Effect.clockWith((clock) => Effect.sync(() => span.end(clock.unsafeCurrentTimeNanos(), exit)))
