/** Routes in a real server: each edition of Effect has its own routers. */
import { HttpClient, HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import type { TokenStorages } from "@latchkey/core"
import { Context, Effect, Layer, type Scope } from "effect"

export type Routes = HttpRouter.HttpRouter<never, TokenStorages.TokenStorages>

/** The routes as the effect that answers one request. */
export const handlerOf = <E, R>(routes: HttpRouter.HttpRouter<E, R>) => Effect.succeed(routes)

/** The routes under a path. */
export const mounted = <E, R>(routes: HttpRouter.HttpRouter<E, R>, path: `/${string}`) =>
  HttpRouter.mount(HttpRouter.empty, path, routes)

/** Serves routes until the scope closes, with a client for them. */
export const serve = (
  routes: Routes,
  context: Context.Context<TokenStorages.TokenStorages>
): Effect.Effect<HttpClient.HttpClient, never, Scope.Scope> =>
  Effect.gen(function* () {
    const server = yield* Layer.build(NodeHttpServer.layerTest)
    yield* Effect.provide(HttpServer.serveEffect(routes), Context.merge(server, context))
    return Context.get(server, HttpClient.HttpClient)
  }).pipe(Effect.orDie)

/** Routes under a path, for those who send this `Authorization`. */
export const guarded = (routes: Routes, path: `/${string}`, authorization: string): Routes =>
  mounted(routes, path).pipe(
    HttpRouter.use((route) =>
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
        headers["authorization"] === authorization ? route : HttpServerResponse.empty({ status: 401 })
      )
    )
  )
