/**
 * The ways to log in on a terminal. Instructions for the user go to stderr.
 *
 * @since 0.1.0
 */
import type { Credentials } from "@latchkey/core/Credentials"
import type { LoginEvent } from "@latchkey/oauth/LoginEvent"
import type { LoginError } from "@latchkey/oauth/LoginError"
import * as SystemBrowser from "@latchkey/oauth/SystemBrowser"
import * as Login from "@latchkey/providers/Login"
import type * as Provider from "@latchkey/providers/Provider"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { defaultName } from "./Account.js"
import { ExitCode } from "./ExitCode.js"
import * as DeviceCode from "./internal/DeviceCode.js"
import * as Failure from "./Failure.js"
import * as Format from "./Format.js"
import * as Output from "./Output.js"
import * as Prompt from "./Prompt.js"
import * as ProviderAccess from "./ProviderAccess.js"
import * as ProviderWire from "./ProviderWire.js"

/**
 * Logs in by one way. If a browser cannot be opened or does not come back in time, or if a port is taken, it
 * continues with the login by hand, if the provider offers it.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (
  provider: Provider.Provider,
  way: Provider.Login,
  options: Options
): Effect.Effect<Credentials, Failure.Failure, Output.Output> =>
  Effect.flatMap(Effect.context<Output.Output>(), (output) => {
    const onEvent = (event: LoginEvent) =>
      Effect.provide(Output.say(...wordsOf(provider, options, event)), output)
    return ProviderWire.withHttp(
      Effect.mapError(ways[way](provider, { ...options, onEvent }), failed(provider))
    )
  })

/** Returns the advice, as a command if that is known. `--scope` replaces all scopes. */
const wordsOf = (provider: Provider.Provider, options: Options, event: LoginEvent): ReadonlyArray<string> => {
  if (event._tag !== "NoRefreshToken") return [event.message]
  const parameters = Object.entries(event.parameters)
  if (event.scopes.length === 0 && parameters.length === 0) return [event.message]
  const { account } = options
  const scopes = event.scopes.length === 0 ? [] : [...(options.scopes ?? provider.scopes), ...event.scopes]
  const words = [
    ...["latchkey", "login", provider.id],
    ...(account === undefined || account === defaultName ? [] : ["--account", account]),
    ...scopes.flatMap((scope) => ["--scope", quoted(scope)]),
    ...parameters.flatMap(([name, value]) => ["--param", quoted(`${name}=${value}`)])
  ]
  return [event.message, "", `  ${words.join(" ")}`, ""]
}

const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/**
 * `patience` is how long the browser may take, in milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Login.Options {
  readonly patience?: number | undefined
  /** The account's name, for the suggested commands. */
  readonly account?: string | undefined
}

type Way = (
  provider: Provider.Provider,
  options: Options
) => Effect.Effect<Credentials, Login.Failure | Failure.Failure, Output.Output | ProviderWire.Http>

const browser: Way = (provider, options) =>
  Login.browser(provider, { ...options, openUrl: openBrowser }).pipe(
    Effect.catchIf(
      (error) => leadsByHand(error) && provider.login.ways.includes("manual"),
      (error) =>
        Effect.zipRight(
          Output.say(`${error.message.split(": ")[0]}: continue by pasting the code.`),
          manual(provider, options)
        )
    )
  )

const leadsByHand = (error: Login.Failure | Failure.Failure): error is LoginError =>
  error._tag === "LoginError" &&
  (error.reason === "NoBrowser" || error.reason === "PortBusy" || error.reason === "TimedOut")

const openBrowser = (url: URL): Effect.Effect<void, LoginError, Output.Output> =>
  Effect.gen(function* () {
    yield* SystemBrowser.open(url)
    yield* Output.say(
      "Log in with the browser that has opened. If none has, open this address:",
      "",
      `  ${url.href}`,
      ""
    )
    yield* Output.say("Waiting for the browser. Press Ctrl-C to give up.")
  })

const manual: Way = (provider, options) =>
  Login.manual(provider, {
    ...options,
    ask: (url, openBefore) =>
      Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        const within = Option.match(openBefore, {
          onNone: () => "",
          onSome: (end) => ` within ${Format.span(end - now)}`
        })
        yield* Output.say(`Open this in any browser${within}, and log in:`, "", `  ${url.href}`, "")
        yield* Output.say("Then paste the address where the browser ends, or the code that the page shows.")
        return yield* Prompt.line("Paste it here: ", noCode(provider))
      })
  })

const noCode =
  ({ displayName, id }: Provider.Provider) =>
  (why: Prompt.NoAnswer): Failure.Failure =>
    new Failure.Failure({
      code: ExitCode.loginFailed,
      reason: "NoCode",
      message: `The login to ${displayName} was not finished: ${noCodeWords[why]}.`,
      next:
        why === "given up"
          ? `latchkey login ${id} --manual`
          : `pass the code on standard input: echo CODE | latchkey login ${id} --manual; or log in in a terminal`
    })

const noCodeWords: Readonly<Record<Prompt.NoAnswer, string>> = {
  "given up": "the input ended before a code came",
  "no terminal": "there is no terminal to paste the code in, and the standard input holds none",
  unreadable: "there is no terminal to paste the code in, and the standard input cannot be read",
  "too long": "the standard input is longer than any code"
}

const device: Way = (provider, options) =>
  DeviceCode.showing((prompt) => Login.device(provider, { ...options, prompt }))

const clientCredentials: Way = (provider, options) => Login.clientCredentials(provider, options)

const ways: Readonly<Record<Provider.Login, Way>> = { browser, manual, device, clientCredentials }

const failed =
  ({ displayName, id }: Provider.Provider) =>
  (error: Login.Failure | Failure.Failure): Failure.Failure =>
    error._tag === "Failure"
      ? error
      : error._tag === "LoginError"
        ? new Failure.Failure({
            code: codes[error.reason] ?? ExitCode.loginFailed,
            reason: error.reason,
            message: `The login to ${displayName} failed: ${error.message}`,
            next: advice[error.reason]?.(id)
          })
        : ProviderAccess.failed(error)

const codes: { readonly [reason in LoginError["reason"]]?: ExitCode } = {
  Unreachable: ExitCode.tryLater,
  ServerError: ExitCode.tryLater,
  Misconfigured: ExitCode.configuration
}

const advice: { readonly [reason in LoginError["reason"]]?: (id: string) => string } = {
  NoBrowser: (id) => `latchkey login ${id} --manual`,
  PortBusy: (id) => `latchkey login ${id} --manual`,
  TimedOut: (id) => `latchkey login ${id} --manual`,
  Misconfigured: () => "latchkey doctor"
}
