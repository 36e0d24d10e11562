/**
 * How a user is asked to log in to an MCP server: in the browser of this machine, on another device, by hand, or in a way
 * of the program's own.
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
import type { Registered } from "./Registration.js"
import type { Scopes } from "./Scopes.js"

/**
 * Why the user is needed.
 *
 * - `Asked`: the program calls `login`. `FirstLogin`: nobody has logged in here.
 * - `GrantEnded`: the authorization server ended the grant, or it ended by itself.
 * - `ServerMoved`: the MCP server trusts another authorization server now.
 * - `ClientForgotten`: the authorization server does not know the client any more.
 * - `StepUp`: the server wants more scopes than the token has.
 *
 * @since 0.1.0
 * @category models
 */
export type Reason = "Asked" | "FirstLogin" | "GrantEnded" | "ServerMoved" | "ClientForgotten" | "StepUp"

/**
 * A login that is to be made, for a {@link Way}. `options` are ready for the logins of `@latchkey/oauth`: the
 * authorization server, the client, the scopes and the resource are in them.
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
 * A way to log in. `redirectUris` are registered for the program where it registers itself; none for a login without
 * redirects.
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
 * @since 0.1.0
 * @category models
 */
export interface BrowserOptions {
  /** Takes the user to the URL; `SystemBrowser.open` unless given. */
  readonly openUrl?: ((url: URL, request: Request) => Effect.Effect<void, LoginError>) | undefined
  /** Where the answer comes back to, as it is registered. Without one, see {@link browser}. */
  readonly redirectUri?: string | undefined
  /** How long the user may take; 5 minutes. */
  readonly patience?: Duration.DurationInput | undefined
}

/**
 * In the browser of this machine. Without a `redirectUri`, a client that registers itself uses one of three loopback ports
 * that are always the same for one server: some authorization servers compare the port too, against RFC 8252 §7.3. Other
 * clients come back to any free port at `http://127.0.0.1/callback`.
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
    // A port that is taken is found before anybody sees a page.
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

/** Below the ports that systems give to clients by themselves. */
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
 * @since 0.1.0
 * @category models
 */
export interface ManualOptions {
  /** Shows the URL and gives what the user pasted; see `ManualLogin`. */
  readonly ask: (
    url: URL,
    openBefore: Option.Option<number>,
    request: Request
  ) => Effect.Effect<string | Redacted.Redacted, LoginError>
  /** As it is registered; `http://127.0.0.1/callback` unless given. */
  readonly redirectUri?: string | undefined
}

/**
 * In any browser, the answer carried over by hand.
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
 * On another device (RFC 8628), where the authorization server has it.
 *
 * @since 0.1.0
 * @category constructors
 */
export const device = (options: {
  readonly prompt: (prompt: DeviceLogin.Prompt, request: Request) => Effect.Effect<void, LoginError>
}): Way => ({
  redirectUris: () => [],
  grantTypes: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
  run: (request) =>
    DeviceLogin.login({ ...request.options, prompt: (prompt) => options.prompt(prompt, request) })
})

/**
 * A way of the program's own, such as a page of its web server: `AuthorizationCode.begin(request.options, redirectUri)`
 * gives it the URL, and redeems the answer.
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
