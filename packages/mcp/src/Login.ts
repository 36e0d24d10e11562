/**
 * The ways to log in to an MCP server: in the browser of this machine, on another device, by hand, or by your own code.
 *
 * @since 0.1.0
 */
import type { HttpClient } from "@effect/platform/HttpClient"
import type { Credentials } from "@latchkey/core/Credentials"
import type * as AuthorizationCode from "@latchkey/oauth/AuthorizationCode"
import * as BrowserLogin from "@latchkey/oauth/BrowserLogin"
import * as DeviceLogin from "@latchkey/oauth/DeviceLogin"
import type { OAuthConfigError } from "@latchkey/oauth/Endpoint"
import type { LoginError } from "@latchkey/oauth/LoginError"
import * as ManualLogin from "@latchkey/oauth/ManualLogin"
import * as SystemBrowser from "@latchkey/oauth/SystemBrowser"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Hash from "effect/Hash"
import type * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import { deviceGrant } from "./internal/deviceGrant.js"
import type { Reason } from "./internal/reason.js"
import type { Registered } from "./Registration.js"
import type { Scopes } from "./Scopes.js"

export type { Reason } from "./internal/reason.js"

/**
 * A login for a {@link Way} to perform. Pass `options` to a login of `@latchkey/oauth`: they contain the authorization
 * server, the client, the scopes and the resource.
 *
 * @since 0.1.0
 * @category models
 */
export interface Request {
  readonly serverUrl: URL
  readonly reason: Reason
  readonly scopes: Scopes
  readonly issuer: string
  readonly registered: Registered
  readonly options: AuthorizationCode.Options
}

/**
 * A way to log in. A dynamic registration contains its `redirectUris` and `grantTypes`. A login without redirects has no
 * `redirectUris`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Way {
  readonly redirectUris: (serverUrl: URL) => ReadonlyArray<string>
  readonly grantTypes: ReadonlyArray<string>
  readonly run: (request: Request) => Effect.Effect<Credentials, LoginError | OAuthConfigError, HttpClient>
}

/**
 * Options of {@link browser}.
 *
 * @since 0.1.0
 * @category models
 */
export interface BrowserOptions {
  /** Takes the user to the URL. Default: `SystemBrowser.open`. */
  readonly openUrl?: ((url: URL, request: Request) => Effect.Effect<void, LoginError>) | undefined
  /** The redirect URI, as registered. Default: see {@link browser}. */
  readonly redirectUri?: string | undefined
  /** How long the user may take. Default: 5 minutes. */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * Logs in with the browser of this machine.
 *
 * Without a `redirectUri`, a dynamically registered client uses one of three loopback ports, which depend only on the
 * server's URL: some authorization servers compare ports, despite RFC 8252 §7.3. Other clients use
 * `http://127.0.0.1/callback` with any free port.
 *
 * @since 0.1.0
 * @category constructors
 */
export const browser = (options: BrowserOptions = {}): Way => ({
  redirectUris: (serverUrl) =>
    options.redirectUri === undefined ? loopbackUris(serverUrl) : [options.redirectUri],
  grantTypes: codeGrant,
  run: (request) => {
    const login = (redirectUri: string | undefined) =>
      BrowserLogin.login({
        ...request.options,
        openUrl: (url) => (options.openUrl ?? SystemBrowser.open)(url, request),
        patience: options.patience,
        redirectUri
      })
    if (options.redirectUri !== undefined) return login(options.redirectUri)
    const [first, ...others] = request.registered.redirectUris
    // A busy port fails before the browser opens, so the next port can be tried.
    return others.reduce(
      (attempt, next) =>
        Effect.catchIf(
          attempt,
          (error) => error._tag === "LoginError" && error.reason === "PortBusy",
          () => login(next)
        ),
      login(first)
    )
  }
})

const codeGrant = ["authorization_code", "refresh_token"]

/** Below the ports that operating systems assign to clients. */
const loopbackUris = (serverUrl: URL): ReadonlyArray<string> => {
  const from = Math.abs(Hash.string(serverUrl.href)) % portCount
  return [0, 1, 2].map((step) => {
    const port = firstPort + ((from + step * 4001) % portCount)
    return `http://127.0.0.1:${port}/callback`
  })
}

const firstPort = 20_000
const portCount = 12_000

/**
 * Options of {@link manual}.
 *
 * @since 0.1.0
 * @category models
 */
export interface ManualOptions {
  /** Shows the URL and returns the text that the user pasted; see `ManualLogin`. */
  readonly ask: (
    url: URL,
    openBefore: Option.Option<number>,
    request: Request
  ) => Effect.Effect<string | Redacted.Redacted, LoginError>
  /** The redirect URI, as registered. Default: `http://127.0.0.1/callback`. */
  readonly redirectUri?: string | undefined
}

/**
 * Logs in with any browser. The user pastes the URL that the browser ends at.
 *
 * @since 0.1.0
 * @category constructors
 */
export const manual = ({ ask, redirectUri = "http://127.0.0.1/callback" }: ManualOptions): Way => ({
  redirectUris: () => [redirectUri],
  grantTypes: codeGrant,
  run: (request) =>
    ManualLogin.login({
      ...request.options,
      redirectUri,
      ask: (url, openBefore) => ask(url, openBefore, request)
    })
})

/**
 * Logs in on another device (RFC 8628), if the authorization server supports it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const device = (options: {
  readonly prompt: (prompt: DeviceLogin.Prompt, request: Request) => Effect.Effect<void, LoginError>
}): Way => ({
  redirectUris: () => [],
  grantTypes: [deviceGrant, "refresh_token"],
  run: (request) =>
    DeviceLogin.login({ ...request.options, prompt: (prompt) => options.prompt(prompt, request) })
})

/**
 * Logs in by your own code, such as a page of a web server. `AuthorizationCode.begin(request.options, redirectUri)`
 * returns the URL for the user, and redeems the response.
 *
 * @since 0.1.0
 * @category constructors
 */
export const custom = (way: {
  readonly redirectUris?: ReadonlyArray<string> | undefined
  readonly grantTypes?: ReadonlyArray<string> | undefined
  readonly run: Way["run"]
}): Way => ({
  redirectUris: () => way.redirectUris ?? [],
  grantTypes: way.grantTypes ?? codeGrant,
  run: way.run
})
