/**
 * The login by hand, for a machine without a browser: the user opens the URL anywhere, and pastes the
 * response. Anyone who sees the code cannot use it without the verifier (RFC 7636), which stays here. The
 * response is checked like one that arrives by itself (RFC 6749 §4.1.2, RFC 9207).
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import * as CredentialsModule from "@latchkey/core/Credentials"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as AuthorizationCode from "./AuthorizationCode.js"
import type { OAuthConfigError } from "./Endpoint.js"
import { isResponse } from "./internal/authorizationResponse.js"
import { LoginError } from "./LoginError.js"

/**
 * @since 0.1.0
 * @category models
 */
export interface Options<E = never, R = never> extends AuthorizationCode.Options {
  /**
   * Shows the URL and returns what the user pasted: the URL that the browser ended at, whether or not it
   * shows a page, or the code from the server's own page, alone or as `code#state`. Line breaks, quotes and
   * percent-encoding from copying do no harm. `openBefore` is the time (epoch milliseconds) after which the
   * URL is useless, if there is one (RFC 9126 §2.2).
   */
  readonly ask: (
    url: URL,
    openBefore: Option.Option<number>
  ) => Effect.Effect<string | Redacted.Redacted, E, R>
  /**
   * The redirect URI as registered with the server: a page of the server that shows the code, or a loopback
   * address, where the browser finds nothing and its address bar holds the response. Default:
   * `http://127.0.0.1/callback`.
   */
  readonly redirectUri?: string | undefined
}

/**
 * Logs in by hand. It checks the pasted response like one that arrives by itself: state (unless a bare code
 * was pasted, which has none; PKCE binds it to this login), issuer, error.
 *
 * Fails with `Cancelled` if nothing was pasted, and with `Malformed` if it is not a response. Only the server
 * sets a time limit: a code that was pasted too late is `Expired`.
 *
 * @since 0.1.0
 * @category constructors
 */
export const login = <E, R>(
  options: Options<E, R>
): Effect.Effect<Credentials, LoginError | OAuthConfigError | E, HttpClient | R> =>
  Effect.gen(function* () {
    const attempt = yield* AuthorizationCode.begin(
      options,
      options.redirectUri ?? "http://127.0.0.1/callback"
    )
    const pasted = yield* options.ask(attempt.url, attempt.openBefore)
    const answer = yield* parse(Redacted.isRedacted(pasted) ? Redacted.value(pasted) : pasted, attempt)
    return yield* answer._tag === "Code" ? attempt.redeemCode(answer.code) : attempt.redeem(answer.parameters)
  })

type Pasted =
  | { readonly _tag: "Code"; readonly code: Redacted.Redacted }
  | { readonly _tag: "Response"; readonly parameters: URLSearchParams }

/** Far above any response, and small enough to examine quickly. */
const maxLength = 16_384

const parse = (
  input: string,
  attempt: Pick<AuthorizationCode.Attempt, "redirectUri" | "url" | "isAnswer">
): Either.Either<Pasted, LoginError> => {
  const text = tidied(input)
  if (text === "") {
    return fail("Cancelled", "Nothing was pasted: start the login again.")
  }
  if (text.length > maxLength || Option.isSome(CredentialsModule.tokenProblem(text))) {
    return fail("Malformed", `The pasted text is neither a URL nor a code: ${pasteAgain}`)
  }
  if (/^[a-z][a-z0-9+.-]*:/i.test(text) && URL.canParse(text)) return parseUrl(new URL(text), attempt)
  const query = parametersOf(text.replace(/#.*$/, ""))
  if (/[?&=]/.test(text) && isResponse(query)) return response(query)
  const [code = "", state, ...more] = withState(text, attempt).split("#")
  if (code === "" || more.length > 0) {
    return fail("Malformed", `The pasted text is not a code: ${pasteAgain}`)
  }
  return state === undefined
    ? Either.right({ _tag: "Code", code: Redacted.make(decoded(code)) })
    : response(new URLSearchParams({ code: decoded(code), state }))
}

/** A terminal may have wrapped it, a mail put it in brackets or quotes, a page escaped it. */
const tidied = (input: string): string => {
  const bare = input.replace(/[\s\u200b\ufeff]+/g, "").replace(/^["'`<“”‘’«]+(.*?)["'`>“”‘’»]+$/u, "$1")
  return (/^https?%3a/i.test(bare) ? decoded(bare) : bare).replace(/&amp;/gi, "&")
}

/** A plus in a code is a plus. Some servers do not encode it, and no code contains a space. */
const parametersOf = (query: string): URLSearchParams =>
  new URLSearchParams(query.replace(/(?<=^|[?&])code=[^&]*/, (parameter) => parameter.replaceAll("+", "%2B")))

/** `code#state`, also if the `#` is encoded. */
const withState = (text: string, { isAnswer }: Pick<AuthorizationCode.Attempt, "isAnswer">): string => {
  const at = text.lastIndexOf("%23")
  const state = text.slice(at + 3)
  return at > 0 && isAnswer(new URLSearchParams({ state })) ? `${text.slice(0, at)}#${state}` : text
}

/**
 * A code from an address bar is percent-encoded (`4%2F0A`). One from a page is not. It is decoded once, if an
 * encoder could have produced it. No encoder touches letters and digits, so `%41` is part of the code.
 */
const decoded = (text: string): string => {
  if (!/%[0-9a-f]{2}/i.test(text) || /%(2[de]|3[0-9]|[46][1-9a-f]|[57][0-9a]|5f|7e)/i.test(text)) return text
  try {
    const plain = decodeURIComponent(text)
    return Option.isNone(CredentialsModule.tokenProblem(plain)) ? plain : text
  } catch {
    return text
  }
}

const parseUrl = (
  url: URL,
  { redirectUri, url: start }: Pick<AuthorizationCode.Attempt, "redirectUri" | "url">
): Either.Either<Pasted, LoginError> => {
  const parameters = parametersOf(url.search)
  if (sameAddress(url, new URL(redirectUri)) && isResponse(parameters)) return response(parameters)
  return sameAddress(url, start)
    ? fail(
        "Malformed",
        `The pasted URL is the one where the login begins: open it, log in, and ${pasteAgain}`
      )
    : fail(
        "Malformed",
        `The pasted URL is not that of the answer, which begins with ${redirectUri}: ${pasteAgain}`
      )
}

const pasteAgain =
  "start again, and paste the complete address where the browser ends, or the code that the page shows."

const sameAddress = (a: URL, b: URL): boolean =>
  a.protocol === b.protocol && a.host === b.host && a.pathname === b.pathname

const response = (parameters: URLSearchParams): Either.Either<Pasted, LoginError> =>
  Either.right({ _tag: "Response", parameters })

const fail = (reason: LoginError["reason"], message: string): Either.Either<never, LoginError> =>
  Either.left(new LoginError({ reason, message }))
