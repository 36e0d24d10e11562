/**
 * The commands, their options and their help. What a command does is loaded when it is run.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as HelpDoc from "@effect/cli/HelpDoc"
import * as Options from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import type * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import * as Format from "./Format.js"
import { splitRest } from "./internal/arguments.js"
import { plain } from "./internal/text.js"
import * as Output from "./Output.js"
import type { Services } from "./Run.js"

/**
 * @since 0.1.0
 * @category constants
 */
export const version = "0.1.0"

/** What a command ended with: the parser has no way to hand it on. */
class Ended extends Context.Tag("@latchkey/cli/Ended")<
  Ended,
  { readonly code: Ref.Ref<number>; readonly rest: ReadonlyArray<string> | undefined }
>() {}

/** Runs the command that a module holds, loaded now. */
const does = <M, R>(
  load: () => Promise<M>,
  use: (module: M, rest: ReadonlyArray<string> | undefined) => Effect.Effect<number, Failure.Failure, R>
): Effect.Effect<void, Failure.Failure, R | Ended> =>
  Effect.flatMap(Ended, ({ code, rest }) =>
    Effect.flatMap(
      Effect.flatMap(Effect.promise(load), (module) => use(module, rest)),
      (ended) => Ref.set(code, ended)
    )
  )

const account = Args.text({ name: "ACCOUNT" }).pipe(
  Args.withDescription("PROVIDER/NAME, or the part of it that leaves no doubt.")
)
const maybeAccount = Args.optional(account)

const json = Options.boolean("json").pipe(Options.withDescription("Print JSON."))

const minValidity = Options.text("min-validity").pipe(
  Options.withPseudoName("SPAN"),
  Options.withDescription("How long the token must still live: 90, 30s, 5m, 2h."),
  Options.withDefault("0"),
  Options.mapEffect((text) =>
    Effect.mapError(Format.parseSpan(text), (problem) =>
      ValidationError.invalidValue(HelpDoc.p(`--min-validity ${problem}`))
    )
  )
)

const token = Command.make(
  "token",
  {
    account,
    minValidity,
    header: Options.boolean("header").pipe(Options.withDescription("Print a whole Authorization header.")),
    json
  },
  (options) =>
    does(
      () => import("./commands/Token.js"),
      (Token) => Token.run(options)
    )
).pipe(Command.withDescription("Print a valid token, refreshed if that is due, and nothing else."))

const exec = Command.make(
  "exec",
  {
    account,
    command: Args.text({ name: "COMMAND" }).pipe(
      Args.withDescription("The command and its arguments, behind --."),
      Args.repeated
    ),
    variable: Options.text("env").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("The variable that is to hold the token: ACCESS_TOKEN unless given."),
      Options.withDefault("ACCESS_TOKEN")
    ),
    minValidity
  },
  (options) =>
    does(
      () => import("./commands/Exec.js"),
      (Exec, rest) => Exec.run({ ...options, command: [...options.command, ...(rest ?? [])] })
    )
).pipe(Command.withDescription("Run a command with a valid token in its environment."))

const watch = Options.boolean("watch").pipe(
  Options.withDescription("Keep the table up to date until Ctrl-C.")
)

const status = Command.make("status", { account: maybeAccount, json, watch }, (options) =>
  does(
    () => import("./commands/Status.js"),
    (Status) => Status.run(options)
  )
).pipe(
  Command.withDescription("Show an account, or all; ends with 0 only if all are valid or can be refreshed.")
)

const list = Command.make("list", { json, watch }, (options) =>
  does(
    () => import("./commands/Status.js"),
    (Status) => Status.run({ ...options, account: Option.none() })
  )
).pipe(Command.withDescription("Show all accounts; the same as status without one."))

const refresh = Command.make("refresh", { account, json }, (options) =>
  does(
    () => import("./commands/Refresh.js"),
    (Refresh) => Refresh.run(options)
  )
).pipe(Command.withDescription("Get a new token now, whatever the old one's state."))

const explain = Command.make("explain", { account, json }, (options) =>
  does(
    () => import("./commands/Explain.js"),
    (Explain) => Explain.run(options)
  )
).pipe(Command.withDescription("Say what asking for a token would do now, and why."))

const names: ReadonlySet<string> = new Set(["token", "exec", "status", "list", "refresh", "explain"])

const root = Command.make("latchkey").pipe(
  Command.withDescription("OAuth tokens that are never stale."),
  Command.withSubcommands([token, exec, status, list, refresh, explain])
)

/**
 * Runs the command that is written in `argv`, without the names of program and script.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { own, rest } = splitRest(argv)
    if (rest !== undefined && own[0] !== "exec") {
      return yield* Failure.usage("Only exec has a command behind --.", "latchkey --help")
    }
    const base = yield* Effect.console
    const output = yield* Output.Output
    const code = yield* Ref.make<number>(ExitCode.ok)
    yield* parser(["node", "latchkey", ...own]).pipe(
      Effect.provideService(Ended, { code, rest }),
      Effect.provide(Layer.merge(NodeContext.layer, CliConfig.layer({ showBuiltIns: false }))),
      Effect.withConsole(consoleOf(base, output)),
      Effect.mapError((error) => (ValidationError.isValidationError(error) ? misread(error, own) : error))
    )
    return yield* Ref.get(code)
  })

const parser = Command.run(root, { name: "latchkey", version, executable: "latchkey" })

/** Help goes where all output goes; what is wrong with the arguments is told once, at the end. */
const consoleOf = (
  base: Console.Console,
  { stdout, write }: Context.Tag.Service<Output.Output>
): Console.Console => ({
  ...base,
  log: (...lines) =>
    write(
      `${lines
        .map((line) => (stdout.colors ? String(line) : plain(String(line))))
        .join(" ")
        .trimEnd()}\n`
    ),
  error: () => Effect.void
})

const misread = (error: ValidationError.ValidationError, own: ReadonlyArray<string>): Failure.Failure => {
  const words = plain(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()
  const command = own.find((argument) => !argument.startsWith("-"))
  return Failure.usage(
    words,
    command !== undefined && names.has(command) ? `latchkey ${command} --help` : "latchkey --help"
  )
}
