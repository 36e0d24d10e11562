/**
 * `latchkey proxy --account ACCOUNT --to URL`: an address of this machine that forwards requests to a server,
 * with the token of an account. Any SDK with a base URL works with it.
 *
 * @since 3.1.0
 */
import * as Cookies from "@effect/platform/Cookies"
import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpClientError from "@effect/platform/HttpClientError"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import type { TokenError } from "@latchkey/core/TokenError"
import * as BearerClient from "@latchkey/oauth/BearerClient"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import * as Path from "node:path"
import * as Failure from "../Failure.js"
import * as Forwarding from "../Forwarding.js"
import * as LocalGate from "../LocalGate.js"
import * as LocalSecret from "../LocalSecret.js"
import * as LocalServer from "../LocalServer.js"
import * as Output from "../Output.js"
import * as ProxyMetrics from "../ProxyMetrics.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import { Workspace } from "../Workspace.js"

/**
 * `port` 0 is any free port. `secretFile`: the local secret. Default: `proxy.secret` among the data of the
 * command.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly account: string
  readonly to: string
  readonly port: number
  readonly secretFile: Option.Option<string>
  readonly json: boolean
}

/** A body up to this size is kept until the response, so that the request can be sent again with a new token. */
const largestKept = 65_536

/** Where the metrics are, for clients that have the secret. No server uses a path that begins with a dot. */
const metricsPath = "/.latchkey/metrics"

/**
 * Forwards until it is interrupted.
 *
 * @since 3.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<never, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const target = yield* Forwarding.parseTarget(options.to)
    const session = yield* Session.open(yield* Session.find(options.account))
    const manager = yield* Session.manager(session)
    const { paths } = yield* Workspace
    const secretFile = Option.getOrElse(options.secretFile, () => Path.join(paths.data, "proxy.secret"))
    const secret = yield* LocalSecret.make(secretFile)
    const client = yield* Effect.mapError(BearerClient.make({ manager, origins: [target.origin] }), (error) =>
      Failure.usage(error.message)
    )
    // The request is the program's own, and gets no header for tracing.
    const untraced = HttpClient.withTracerPropagation(client, false)
    const { port, server } = yield* LocalServer.listen({ port: options.port })
    const metrics = ProxyMetrics.make()
    yield* LocalServer.handle(
      server,
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        serve(
          { client: untraced, metrics, target, gate: { hosts: LocalGate.hostsOf(port), secret } },
          request
        )
      )
    )
    const url = `http://127.0.0.1:${port}`
    if (options.json) yield* Output.printJson({ url, account: session.about.account, secretFile })
    else {
      yield* Output.print(url)
      yield* Output.say(
        `Requests go to ${target.href} with the token of ${session.about.account}.`,
        `Programs send the secret in ${secretFile} as their API key.`
      )
    }
    return yield* Effect.never
  }).pipe(Effect.provide(NodeHttpClient.layerUndici), Effect.scoped)

interface Parts {
  readonly client: BearerClient.Client
  readonly gate: LocalGate.Gate
  readonly metrics: ProxyMetrics.ProxyMetrics
  readonly target: URL
}

const serve = (parts: Parts, request: HttpServerRequest.HttpServerRequest) =>
  Effect.gen(function* () {
    const { gate, metrics, target } = parts
    const admitted = LocalGate.admit(gate, request.headers)
    if (Either.isLeft(admitted)) {
      metrics.refused(admitted.left)
      return LocalServer.refused(admitted.left)
    }
    if (request.url === metricsPath) {
      return HttpServerResponse.text(metrics.text(), { contentType: "text/plain; version=0.0.4" })
    }
    if (gate.secret !== undefined && request.url.includes(Redacted.value(gate.secret))) {
      return LocalServer.problem(
        400,
        "Secret",
        "The local secret is in the address. Send it in a header only."
      )
    }
    const url = Forwarding.urlOf(target, request.url)
    if (Option.isNone(url)) {
      return LocalServer.problem(400, "Path", "The request's path leads out of the proxy's server.")
    }
    const response = yield* forward(parts, request, url.value, admitted.right)
    metrics.answered(response.status)
    return response
  })

const forward = (
  { client, target }: Parts,
  request: HttpServerRequest.HttpServerRequest,
  url: URL,
  headers: Readonly<Record<string, string>>
) =>
  Effect.gen(function* () {
    const outgoing = HttpClientRequest.make(request.method)(url.href).pipe(
      HttpClientRequest.setBody(yield* bodyOf(request)),
      HttpClientRequest.setHeaders(Forwarding.requestHeaders(headers))
    )
    const response = yield* client.execute(outgoing)
    return toProgram(response, Forwarding.responseHeaders(target, url, response.headers), request)
  }).pipe(Effect.catchAll((error) => Effect.succeed(failed(error))))

/** A small body is read first. Every other one is passed on as it comes. */
const bodyOf = (request: HttpServerRequest.HttpServerRequest) => {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers
  const type = request.headers["content-type"]
  if (encoding === undefined && (length === undefined || length === "0"))
    return Effect.succeed(HttpBody.empty)
  return encoding === undefined && Number(length) <= largestKept
    ? Effect.map(request.arrayBuffer, (bytes) => HttpBody.uint8Array(new Uint8Array(bytes), type))
    : Effect.succeed(HttpBody.stream(request.stream, type, length === undefined ? undefined : Number(length)))
}

const toProgram = (
  response: HttpClientResponse.HttpClientResponse,
  headers: Readonly<Record<string, string>>,
  request: HttpServerRequest.HttpServerRequest
): HttpServerResponse.HttpServerResponse => {
  const { status } = response
  const options = { status, headers, cookies: cookiesOf(response) }
  const isEmpty = request.method === "HEAD" || status === 204 || status === 304
  return isEmpty
    ? HttpServerResponse.empty(options)
    : HttpServerResponse.stream(
        Stream.onError(response.stream, () => broken(request)),
        { ...options, contentType: headers["content-type"] }
      )
}

/** A body that broke off must not look complete to the program. */
const broken = (request: HttpServerRequest.HttpServerRequest) =>
  Effect.sync(() => void NodeHttpServerRequest.toIncomingMessage(request).socket.destroy())

const cookiesOf = ({ cookies }: HttpClientResponse.HttpClientResponse): Cookies.Cookies | undefined =>
  Cookies.isEmpty(cookies) ? undefined : cookies

type Problem =
  TokenError | HttpClientError.HttpClientError | { readonly _tag: "RequestError"; readonly message: string }

/** Errors of the client and of the server hold no token. */
const failed = (error: Problem): HttpServerResponse.HttpServerResponse => {
  switch (error._tag) {
    case "RefreshUnavailable":
    case "StorageError":
      return LocalServer.problem(503, error.reason, error.message, { "retry-after": "1" })
    case "ReauthorizationRequired":
    case "GrantMismatch":
      return LocalServer.problem(401, error.reason, error.message)
    default:
      return LocalServer.problem(
        502,
        "Unreachable",
        "The server could not be reached, or broke the connection. Check the address after --to, and the network."
      )
  }
}
