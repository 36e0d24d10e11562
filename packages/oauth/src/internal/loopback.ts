/**
 * The listener for the response of a login (RFC 8252 §7.3, §8.3): on a loopback address only, for one path
 * and one response. Its scope closes it.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Http from "node:http"
import { invalid, isLoopback, type OAuthConfigError } from "../Endpoint.js"
import { LoginError } from "../LoginError.js"
import { isResponse } from "./authorizationResponse.js"
import * as Page from "./page.js"

/** Where to listen. Port 0 is any free port. */
export interface Redirect {
  readonly hostname: string
  readonly port: number
  readonly path: string
}

export interface Listener {
  /** The redirect URI, with the actual port. */
  readonly redirectUri: string
  /** The parameters of the first response of this login. Its browser waits until {@link Listener.reply}. */
  readonly answer: Effect.Effect<URLSearchParams>
  /** Shows a page to the browser that brought the response. After that it has no effect. */
  readonly reply: (page: Page.Page) => Effect.Effect<void>
  /** Waits for ignored responses, and returns how many there were: for the first, the second, the fourth. */
  readonly ignored: Effect.Effect<{ readonly why: Ignored; readonly count: number }>
  /** How many responses were ignored so far. */
  readonly counts: () => Readonly<Record<Ignored, number>>
}

/**
 * `stray`: a response of another login. `fetched`: one of this login that was loaded in the background
 * instead of opened.
 */
export type Ignored = "stray" | "fetched"

/** A loopback redirect URI. Without a port, any free port is used (RFC 8252 §7.3). */
export const parse = (redirectUri: string): Either.Either<Redirect, OAuthConfigError> => {
  const refuse = (problem: string) => Either.left(invalid("redirectUri", problem))
  if (!URL.canParse(redirectUri)) return refuse("must be an absolute URL")
  const url = new URL(redirectUri)
  if (url.protocol !== "http:" || !isLoopback(url)) {
    return refuse("must be http to 127.0.0.1, [::1] or localhost: use ManualLogin for any other")
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || redirectUri.includes("#")) {
    return refuse("must have no user info, query or fragment")
  }
  // A parsed URL leaves out the default port.
  const port = url.port === "" && /^[^/]*\/\/[^/]*:0*80(\/|$)/.test(redirectUri) ? 80 : Number(url.port)
  return Either.right({ hostname: url.hostname, port, path: url.pathname })
}

/**
 * Listens until the scope closes. A browser that then still waits for a reply sees that the login was
 * cancelled.
 */
export const listen = (
  redirect: Redirect,
  isAnswer: (response: URLSearchParams) => boolean
): Effect.Effect<Listener, LoginError, Scope.Scope> =>
  Effect.gen(function* () {
    const answer = yield* Deferred.make<URLSearchParams>()
    const ignored = yield* Queue.sliding<{ readonly why: Ignored; readonly count: number }>(2)
    const counts = { stray: 0, fetched: 0 }
    let host = ""
    let taken = false
    let pending: Http.ServerResponse | undefined
    const ignore = (why: Ignored, response: Http.ServerResponse) => {
      const count = ++counts[why]
      // Rarely, so that a flood of them does not become a flood of events.
      if (Number.isInteger(Math.log2(count))) ignored.unsafeOffer({ why, count })
      write(response, Page[why])
    }
    const handle: Http.RequestListener = (request, response) => {
      const [path, query = ""] = splitOnce(request.url ?? "", "?")
      const parameters = new URLSearchParams(query)
      if (request.headers.host !== host || path !== redirect.path) return write(response, Page.notHere)
      if (request.method !== "GET") return write(response, { ...Page.notAnAnswer, status: 405 })
      if (!isResponse(parameters)) return write(response, Page.notAnAnswer)
      // A page of another site that loads this URL in the background is not a login coming back. Browsers
      // that send no such header are trusted.
      const mode = request.headers["sec-fetch-mode"]
      const opened = mode === undefined || mode === "navigate"
      if (!isAnswer(parameters)) {
        return opened ? ignore("stray", response) : write(response, Page.notAnAnswer)
      }
      if (!opened) return ignore("fetched", response)
      if (taken) return write(response, Page.over)
      taken = true
      pending = response
      Deferred.unsafeDone(answer, Effect.succeed(parameters))
    }
    const reply = (page: Page.Page): Effect.Effect<void> =>
      Effect.suspend(() => {
        const response = pending
        pending = undefined
        return response === undefined ? Effect.void : delivered(response, page)
      })

    const port = yield* bind(redirect, handle)
    yield* Effect.addFinalizer(() => reply(Page.cancelled))
    const redirectUri = `http://${redirect.hostname}:${port}${redirect.path}`
    // In a browser's form: without the default port.
    host = new URL(redirectUri).host
    return { redirectUri, answer: Deferred.await(answer), reply, ignored, counts: () => counts }
  })

/** Listens on each address of the name, on one port. Returns the port. */
const bind = (
  { hostname, port }: Redirect,
  handle: Http.RequestListener
): Effect.Effect<number, LoginError, Scope.Scope> =>
  Effect.gen(function* () {
    const [first, ...others] = addressesOf(hostname)
    const found = yield* open(first, port, handle)
    // A machine without IPv6 has only one localhost.
    for (const other of others) {
      yield* Effect.catchIf(open(other, found, handle), isWithoutAddress, () => Effect.void)
    }
    return found
  }).pipe(Effect.mapError((error) => portBusy(port, error)))

const addressesOf = (hostname: string): readonly [string, ...Array<string>] =>
  hostname === "localhost" ? ["127.0.0.1", "::1"] : [hostname.replace(/^\[|\]$/g, "")]

const open = (
  address: string,
  port: number,
  handle: Http.RequestListener
): Effect.Effect<number, NodeJS.ErrnoException, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.async<Http.Server, NodeJS.ErrnoException>((resume) => {
        const server = Http.createServer(handle)
        server.once("error", (error) => resume(Effect.fail(error)))
        server.listen({ host: address, port, exclusive: true }, () => resume(Effect.succeed(server)))
      }),
      (server) =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    ),
    (server) => {
      const bound = server.address()
      return typeof bound === "object" && bound !== null ? bound.port : port
    }
  )

const isWithoutAddress = ({ code }: NodeJS.ErrnoException): boolean =>
  code === "EADDRNOTAVAIL" || code === "EAFNOSUPPORT"

const portBusy = (port: number, { code }: NodeJS.ErrnoException): LoginError =>
  new LoginError({
    reason: "PortBusy",
    message: `The loopback port ${port === 0 ? "" : `${port} `}for the browser's answer could not be opened (${code ?? "unknown"}): ${
      port === 0 ? "" : "end the program that uses it, or "
    }use ManualLogin.`
  })

const write = (response: Http.ServerResponse, page: Page.Page): void => {
  response.writeHead(page.status, Page.headers).end(Page.html(page))
}

/** Waits until the response is written and handed to the system, or the browser has disconnected. */
const delivered = (response: Http.ServerResponse, page: Page.Page): Effect.Effect<void> =>
  Effect.async<void>((resume) => {
    const done = () => resume(Effect.void)
    if (response.destroyed) return done()
    response.once("finish", done).once("close", done)
    write(response, page)
  })

const splitOnce = (text: string, separator: string): readonly [string, string?] => {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)]
}
