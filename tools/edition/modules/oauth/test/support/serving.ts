/** Routes in a real server: each edition of Effect has its own routers. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type { TokenStorages } from "@latchkey/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"

export type Routes = Layer.Layer<
  never,
  never,
  HttpRouter.HttpRouter | HttpRouter.Request.From<"Requires", TokenStorages.TokenStorages>
>

/** The routes as the effect that answers one request. */
export const handlerOf = <R>(routes: Layer.Layer<never, never, R>) => HttpRouter.toHttpEffect(routes)

/** The routes under a path. */
export const mounted = <R>(routes: Layer.Layer<never, never, R>, path: `/${string}`) =>
  Layer.provide(
    routes,
    Layer.effect(
      HttpRouter.HttpRouter,
      Effect.map(HttpRouter.HttpRouter, (router) => router.prefixed(path))
    )
  )

/** Serves routes until the scope closes, with a client for them. */
export const serve = (
  routes: Routes,
  context: Context.Context<TokenStorages.TokenStorages>
): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* Layer.build(NodeHttpServer.layerTest)
    const app = yield* HttpRouter.toHttpEffect(routes)
    yield* Effect.provide(HttpServer.serveEffect(app), Context.merge(server, context))
    return Context.get(server, HttpClient.HttpClient)
  }).pipe(Effect.orDie)

/** Routes under a path, for those who send this `Authorization`. */
export const guarded = (routes: Routes, path: `/${string}`, authorization: string): Routes =>
  Layer.mergeAll(
    mounted(routes, path),
    HttpRouter.middleware(
      (route) =>
        Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
          headers["authorization"] === authorization
            ? route
            : Effect.succeed(HttpServerResponse.empty({ status: 401 }))
        ),
      { global: true }
    )
  )
