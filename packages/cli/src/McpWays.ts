/**
 * The ways to log in to an MCP server on a terminal. Instructions for the user go to stderr.
 *
 * @since 0.1.0
 */
import * as Login from "@latchkey/mcp/Login"
import * as DeviceLogin from "@latchkey/oauth/DeviceLogin"
import * as Endpoint from "@latchkey/oauth/Endpoint"
import { LoginError } from "@latchkey/oauth/LoginError"
import * as ManualLogin from "@latchkey/oauth/ManualLogin"
import * as SystemBrowser from "@latchkey/oauth/SystemBrowser"
import * as Effect from "effect/Effect"
import * as DeviceCode from "./internal/DeviceCode.js"
import * as Failure from "./Failure.js"
import * as Output from "./Output.js"
import * as Prompt from "./Prompt.js"

/**
 * Where the user logs in. `browser` uses the browser of this machine, and continues by hand if it cannot be opened.
 * `manual` starts by hand. `device` shows a code to enter on any device.
 *
 * @since 0.1.0
 * @category models
 */
export type Name = "browser" | "manual" | "device"

/**
 * Returns a way to log in.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (name: Name): Effect.Effect<Login.Way, never, Output.Output> =>
  Effect.map(Effect.context<Output.Output>(), (output) => {
    const byHand: Login.Way["run"] = (request) =>
      ManualLogin.login({
        ...request.options,
        redirectUri: request.registered.redirectUris[0],
        ask: (url) => Effect.provide(ask(url, request.serverUrl), output)
      })
    const inBrowser = Login.browser({
      openUrl: (url, { serverUrl }) => Effect.provide(open(url, serverUrl), output)
    })
    switch (name) {
      case "browser":
        return {
          ...inBrowser,
          run: (request) =>
            Effect.catchIf(inBrowser.run(request), leadsByHand, ({ message }) =>
              Effect.andThen(
                Effect.provide(Output.say(`${message.split(": ")[0]}: continue by hand.`), output),
                byHand(request)
              )
            )
        }
      case "manual":
        return { ...inBrowser, run: byHand }
      case "device":
        return {
          ...Login.device({ prompt: () => Effect.void }),
          run: (request) =>
            DeviceCode.showing((prompt) => DeviceLogin.login({ ...request.options, prompt })).pipe(
              Effect.provide(output)
            )
        }
    }
  })

const open = (url: URL, serverUrl: URL): Effect.Effect<void, LoginError, Output.Output> =>
  Effect.andThen(
    SystemBrowser.open(url),
    Output.say(
      `Log in to ${Endpoint.display(serverUrl)} in the browser that has opened. If none has, open this URL:`,
      ...["", `  ${url.href}`, ""],
      "Waiting for the browser. Press Ctrl-C to give up."
    )
  )

const leadsByHand = (error: { readonly _tag: string; readonly reason?: string }): boolean =>
  error._tag === "LoginError" && (error.reason === "NoBrowser" || error.reason === "PortBusy")

const ask = (url: URL, serverUrl: URL) =>
  Output.say(
    `Open this URL in any browser, and log in to ${Endpoint.display(serverUrl)}:`,
    ...["", `  ${url.href}`, ""],
    "Then paste the address of the last page, even if it shows an error."
  ).pipe(
    Effect.andThen(Prompt.line("Paste it here: ", notPasted)),
    Effect.mapError(({ message }) => new LoginError({ reason: "Cancelled", message }))
  )

const notPasted = (why: Prompt.NoAnswer): Failure.Failure =>
  Failure.usage(`The login was not finished (${why}): nothing was pasted.`)
