/**
 * The token server of `@latchkey/oauth/testing` at a free loopback port, so that several processes reach it.
 * Its refresh tokens rotate. One that comes twice ends the grant, except within 30 seconds, for a client that
 * lost the response.
 */
import { HttpBody, HttpServer, HttpServerRequest, HttpServerResponse } from "@effect/platform"
import { NodeHttpServer } from "@effect/platform-node"
import { Credentials } from "@latchkey/core"
import { HostileServer, Rotation } from "@latchkey/oauth/testing"
import { Clock, type Context, Duration, Effect, Layer, Option } from "effect"
import { createServer } from "node:http"

export interface TokenServer {
  readonly endpoint: string
  readonly control: Context.Tag.Service<HostileServer.HostileServer>
  /** An older grant, whose access token stays valid for this much longer. */
  readonly grant: (left: Duration.DurationInput) => Effect.Effect<Credentials.Credentials>
  /** How many refreshes each process requested, by its `User-Agent`. */
  readonly askedBy: (process: string) => number
}

export const start = (options: { readonly accessTokenLifetime: Duration.DurationInput }) =>
  Effect.gen(function* () {
    const { client, control } = yield* HostileServer.make({
      accessTokenLifetime: options.accessTokenLifetime,
      latency: { min: "10 millis", max: "50 millis" },
      rotation: Rotation.newPair("30 seconds")
    })
    const asked = new Map<string, number>()
    const answer = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const process = request.headers["user-agent"] ?? ""
      asked.set(process, (asked.get(process) ?? 0) + 1)
      const body = HttpBody.text(yield* request.text, "application/x-www-form-urlencoded")
      const { status, text } = yield* client.post(HostileServer.server.tokenEndpoint, { body })
      return HttpServerResponse.text(yield* text, { status, contentType: "application/json" })
    })
    const http = yield* Layer.build(NodeHttpServer.layer(createServer, { host: "127.0.0.1", port: 0 }))
    const address = yield* HttpServer.serveEffect(answer).pipe(
      Effect.andThen(HttpServer.addressFormattedWith(Effect.succeed)),
      Effect.provide(http)
    )
    const lifetime = Duration.toMillis(options.accessTokenLifetime)
    const server: TokenServer = {
      endpoint: `${address}/token`,
      control,
      grant: (left) =>
        Effect.zipWith(control.issueGrant(), Clock.currentTimeMillis, (grant, now) => {
          const expiresAt = now + Duration.toMillis(left)
          return new Credentials.Credentials({
            ...grant,
            obtainedAt: Option.some(expiresAt - lifetime),
            expiresAt: Option.some(expiresAt)
          })
        }),
      askedBy: (process) => asked.get(process) ?? 0
    }
    return server
  })
