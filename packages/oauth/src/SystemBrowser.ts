/**
 * The system's own browser (RFC 8252 §6), as an `openUrl` for `BrowserLogin`. Runs on Node.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import { LoginError } from "./LoginError.js"

/**
 * Opens the URL and goes on, without waiting for the browser to close. Nothing goes through a shell, and
 * only http and https are opened. Fails as `NoBrowser` where the system's opener is missing or refuses:
 * show the URL then, or log in by hand.
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
 * What opens a URL on a platform, named as `process.platform` does.
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

/** How long an opener that has not failed by then is taken to work, in milliseconds. */
const settled = 2000

/**
 * {@link open} with a command of one's own.
 *
 * @since 0.1.0
 * @category constructors
 */
export const openWith = (command: Command, url: URL): Effect.Effect<void, LoginError> =>
  url.protocol !== "https:" && url.protocol !== "http:"
    ? noBrowser(`${url.protocol} is not the address of a web page`)
    : Effect.timeoutTo(run(command, url), {
        duration: settled,
        onTimeout: () => Effect.void,
        onSuccess: (code) =>
          code === 0 ? Effect.void : noBrowser(`${command.program} ended with ${code ?? "a signal"}`)
      }).pipe(Effect.flatten)

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
