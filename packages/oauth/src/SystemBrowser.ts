/**
 * The system's own browser (RFC 8252 §6), as an `openUrl` for `BrowserLogin`. Runs on Node.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ChildProcess from "node:child_process"
import { LoginError } from "./LoginError.js"

/**
 * Opens the URL and continues without waiting for the browser to close. It uses no shell, and opens only http
 * and https. Fails with `NoBrowser` if the system's opener is missing or refuses. Then show the URL, or use
 * the manual login.
 *
 * @since 0.1.0
 * @category constructors
 */
export const open = (url: URL): Effect.Effect<void, LoginError> => openWith(commandFor(process.platform), url)

/**
 * A program that opens a URL, and its arguments before the URL.
 *
 * @since 0.1.0
 * @category models
 */
export interface Command {
  readonly program: string
  readonly arguments: ReadonlyArray<string>
}

/**
 * Returns the command that opens a URL on a platform, named as `process.platform` does.
 *
 * @since 0.1.0
 * @category getters
 */
export const commandFor = (platform: string): Command => {
  switch (platform) {
    case "darwin":
      return { program: "open", arguments: [] }
    case "win32":
      return { program: "rundll32", arguments: ["url.dll,FileProtocolHandler"] }
    default:
      return { program: "xdg-open", arguments: [] }
  }
}

/** An opener that has not failed within this time, in milliseconds, counts as working. */
const settled = 2000

/**
 * {@link open} with your own command.
 *
 * @since 0.1.0
 * @category constructors
 */
export const openWith = (command: Command, url: URL): Effect.Effect<void, LoginError> =>
  url.protocol !== "https:" && url.protocol !== "http:"
    ? noBrowser(`${url.protocol} is not the address of a web page`)
    : Effect.flatMap(
        Effect.timeoutOption(run(command, url), settled),
        Option.match({
          onNone: () => Effect.void,
          onSome: (code) =>
            code === 0 ? Effect.void : noBrowser(`${command.program} ended with ${code ?? "a signal"}`)
        })
      )

const run = (command: Command, url: URL): Effect.Effect<number | null, LoginError> =>
  Effect.async((resume) => {
    const child = ChildProcess.spawn(command.program, [...command.arguments, url.href], {
      detached: true,
      stdio: "ignore",
      windowsHide: true
    })
    child.once("error", (error: NodeJS.ErrnoException) =>
      resume(noBrowser(`${command.program} could not be started (${error.code ?? "unknown"})`))
    )
    child.once("exit", (code) => resume(Effect.succeed(code)))
    child.unref()
  })

const noBrowser = (why: string): Effect.Effect<never, LoginError> =>
  new LoginError({
    reason: "NoBrowser",
    message: `The browser could not be opened: ${why}. Open the URL yourself, or use ManualLogin.`
  })
