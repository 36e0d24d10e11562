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
import * as BuiltIn from "@latchkey/providers/BuiltIn"
import type * as Console from "effect/Console"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { defaultName } from "./Account.js"
import { ExitCode } from "./ExitCode.js"
import * as Failure from "./Failure.js"
import * as Format from "./Format.js"
import { splitRest } from "./internal/arguments.js"
import { tidy } from "./internal/help.js"
import { plain } from "./internal/text.js"
import * as Output from "./Output.js"
import * as Workspace from "./Workspace.js"

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
const loads = <M, R>(
  load: () => Promise<M>,
  use: (module: M, rest: ReadonlyArray<string> | undefined) => Effect.Effect<number, Failure.Failure, R>
): Effect.Effect<void, Failure.Failure, R | Ended> =>
  Effect.flatMap(Ended, ({ code, rest }) =>
    Effect.flatMap(
      Effect.flatMap(Effect.promise(load), (module) => use(module, rest)),
      (ended) => Ref.set(code, ended)
    )
  )

/** The same for a command that has accounts to work with. */
const does = <M, R>(
  load: () => Promise<M>,
  use: (module: M) => Effect.Effect<number, Failure.Failure, R>
): Effect.Effect<void, Failure.Failure, Exclude<R, Workspace.Workspace> | Ended> =>
  loads(load, (module) => Workspace.provided(use(module)))

/** No account and no provider begins with a dash: what does is an option that there is not. */
const noOption = Args.mapEffect((text: string) =>
  text.startsWith("-")
    ? Effect.fail(HelpDoc.p(`There is no option ${JSON.stringify(text.slice(0, 80))}`))
    : Effect.succeed(text)
)

const account = Args.text({ name: "ACCOUNT" }).pipe(
  Args.withDescription("PROVIDER/NAME, or one of the two where it leaves no doubt."),
  noOption
)
const maybeAccount = Args.optional(account)

const json = Options.boolean("json").pipe(Options.withDescription("Print JSON."))

const spanOption = (name: string) =>
  Options.mapEffect((text: string) =>
    Effect.mapError(Format.parseSpan(text), (problem) =>
      ValidationError.invalidValue(HelpDoc.p(`${name} ${problem}`))
    )
  )

const minValidity = Options.text("min-validity").pipe(
  Options.withPseudoName("SPAN"),
  Options.withDescription("How long the token must still live: 90, 30s, 5m, 2h."),
  Options.withDefault("0"),
  spanOption("--min-validity")
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
    loads(
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

const providerArgument = Args.text({ name: "PROVIDER" }).pipe(
  Args.withDescription(`A provider: ${Object.keys(BuiltIn.providers).join(", ")}, or one of your own.`),
  noOption
)

const file = Args.optional(Args.text({ name: "FILE" }))

const accountName = Options.text("account").pipe(
  Options.withPseudoName("NAME"),
  Options.withDescription("The account's name, where a provider has several; default unless given."),
  Options.withDefault(defaultName)
)

const way = {
  browser: Options.boolean("browser").pipe(Options.withDescription("In the browser of this machine.")),
  device: Options.boolean("device").pipe(Options.withDescription("By a code, entered on any device.")),
  manual: Options.boolean("manual").pipe(Options.withDescription("In any browser, the answer pasted here.")),
  clientCredentials: Options.boolean("client-credentials").pipe(
    Options.withDescription("As the client itself, without a user.")
  )
}

const optionalText = (name: string, pseudoName: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(pseudoName),
    Options.withDescription(description),
    Options.optional
  )

const login = Command.make(
  "login",
  {
    provider: providerArgument,
    account: accountName,
    ...way,
    issuer: optionalText("issuer", "URL", "The issuer of a server that is not among the providers."),
    clientId: optionalText("client-id", "ID", "The id of the client, where it is your own."),
    scopes: Options.text("scope").pipe(
      Options.withPseudoName("SCOPE"),
      Options.withDescription("A scope to ask for, instead of the provider's; may be repeated."),
      Options.repeated
    ),
    parameters: Options.text("param").pipe(
      Options.withPseudoName("NAME=VALUE"),
      Options.withDescription("A parameter of the authorization request: prompt=consent; may be repeated."),
      Options.repeated
    ),
    clientSecretFile: optionalText("client-secret-file", "FILE", "The file that holds the client's secret."),
    clientSecretVariable: optionalText(
      "client-secret-env",
      "NAME",
      "The environment variable that holds the client's secret."
    ),
    patience: Options.text("timeout").pipe(
      Options.withPseudoName("SPAN"),
      Options.withDescription("How long to wait for the browser: 5m unless given."),
      spanOption("--timeout"),
      Options.optional
    ),
    replace: Options.boolean("replace").pipe(
      Options.withDescription(
        "Replace a grant of another server, client or account. It is not revoked: log out first for that."
      )
    ),
    askClientSecret: Options.boolean("ask-client-secret").pipe(
      Options.withDescription("Ask for the client's secret, and keep it as the grant is kept.")
    ),
    json
  },
  ({ browser, clientCredentials, device, manual, ...options }) =>
    Effect.flatMap(onlyWay({ browser, device, manual, clientCredentials }), (chosen) =>
      does(
        () => import("./commands/Login.js"),
        (Login) => Login.run({ ...options, way: chosen })
      )
    )
).pipe(
  Command.withDescription(
    "Log in, or log in again: by the first way that the provider offers unless one is given."
  )
)

const onlyWay = <Way extends string>(ways: Readonly<Record<Way, boolean>>) => {
  const [first, second] = (Object.keys(ways) as Array<Way>).filter((name) => ways[name])
  return second === undefined
    ? Effect.succeed(Option.fromNullable(first))
    : Failure.usage("A login goes by one way.", "one of --browser, --device, --manual, --client-credentials")
}

const logout = Command.make(
  "logout",
  {
    account,
    local: Options.boolean("local").pipe(
      Options.withDescription("Remove the grant here alone, and leave it alive at the server.")
    ),
    json
  },
  (options) =>
    does(
      () => import("./commands/Logout.js"),
      (Logout) => Logout.run(options)
    )
).pipe(Command.withDescription("End the grant at the server, then remove it here."))

const doctor = Command.make("doctor", { json }, (options) =>
  does(
    () => import("./commands/Doctor.js"),
    (Doctor) => Doctor.run(options)
  )
).pipe(Command.withDescription("Look at all that a token depends on, and say how to mend what is wrong."))

const importing = Command.make(
  "import",
  { provider: providerArgument, file, account: accountName, json },
  (options) =>
    does(
      () => import("./commands/Import.js"),
      (Import) => Import.run(options)
    )
).pipe(Command.withDescription("Take over the grant in a credential file of the provider's own program."))

const exporting = Command.make(
  "export",
  {
    account,
    file,
    force: Options.boolean("force").pipe(
      Options.withDescription("Replace another grant that the file holds.")
    ),
    json
  },
  (options) =>
    does(
      () => import("./commands/Export.js"),
      (Export) => Export.run(options)
    )
).pipe(Command.withDescription("Write the grant into a credential file of the provider's own program."))

const serverUrl = Args.text({ name: "URL" }).pipe(
  Args.withDescription("The URL of an MCP server, as its clients use it."),
  noOption
)

const mcpLogin = Command.make(
  "login",
  {
    url: serverUrl,
    manual: way.manual,
    scopes: Options.text("scope").pipe(
      Options.withPseudoName("SCOPE"),
      Options.withDescription("A scope to ask for beside those that the server wants; may be repeated."),
      Options.repeated
    ),
    clientId: optionalText("client-id", "ID", "A client that is registered at the server already."),
    clientMetadataUrl: optionalText("client-metadata", "URL", "The client ID metadata document to use."),
    json
  },
  (options) =>
    does(
      () => import("./commands/Mcp.js"),
      (Mcp) => Mcp.login(options)
    )
).pipe(Command.withDescription("Log in to an MCP server, or log in again."))

const mcpLogout = Command.make(
  "logout",
  {
    url: serverUrl,
    local: Options.boolean("local").pipe(
      Options.withDescription("Remove the grant here alone, and leave it alive at the server.")
    ),
    json
  },
  (options) =>
    does(
      () => import("./commands/Mcp.js"),
      (Mcp) => Mcp.logout(options)
    )
).pipe(Command.withDescription("End the grant for an MCP server, then remove it here."))

const mcpList = Command.make("list", { json }, (options) =>
  does(
    () => import("./commands/Mcp.js"),
    (Mcp) => Mcp.list(options)
  )
).pipe(Command.withDescription("Show the MCP servers; ends with 0 only if all have a token or can get one."))

const mcpProxy = Command.make("proxy", { url: serverUrl }, (options) =>
  does(
    () => import("./commands/McpProxy.js"),
    (McpProxy) => McpProxy.run(options)
  )
).pipe(Command.withDescription("Be an MCP server on stdin and stdout: the one at the URL, with its token."))

const mcp = Command.make("mcp").pipe(
  Command.withDescription("Log in to MCP servers; latchkey token mcp:URL prints the token of one."),
  Command.withSubcommands([mcpLogin, mcpLogout, mcpList, mcpProxy])
)

const commands = [
  "login",
  "token",
  "exec",
  "status",
  "list",
  "refresh",
  "logout",
  "explain",
  "doctor",
  "import",
  "export",
  "mcp"
]

const root = Command.make("latchkey").pipe(
  Command.withDescription(
    "OAuth tokens that are never stale. Shell completions: latchkey --completions bash, fish, sh or zsh."
  ),
  Command.withSubcommands([
    login,
    token,
    exec,
    status,
    list,
    refresh,
    logout,
    explain,
    doctor,
    importing,
    exporting,
    mcp
  ])
)

/**
 * Runs the command that is written in `argv`, without the names of program and script.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, Failure.Failure, Output.Output> =>
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
      Effect.withConsole(consoleOf(base, output, own)),
      Effect.mapError((error) => (ValidationError.isValidationError(error) ? misread(error, own) : error))
    )
    return yield* Ref.get(code)
  })

const parser = Command.run(root, { name: "latchkey", version, executable: "latchkey" })

/** Help goes where all output goes; what is wrong with the arguments is told once, at the end. */
const consoleOf = (
  base: Console.Console,
  { stdout, write }: Context.Tag.Service<Output.Output>,
  own: ReadonlyArray<string>
): Console.Console => ({
  ...base,
  log: (...lines) => {
    const text = lines.map((line) => (stdout.colors ? String(line) : plain(String(line)))).join(" ")
    return write(`${(own.includes("--completions") ? text : tidy(text, own[0])).trimEnd()}\n`)
  },
  error: () => Effect.void
})

const misread = (error: ValidationError.ValidationError, own: ReadonlyArray<string>): Failure.Failure => {
  const words = plain(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()
  if (own[0] === "--completions") {
    return Failure.usage("There are completions for bash, fish, sh and zsh.", "latchkey --completions SHELL")
  }
  const command = own.find((argument) => !argument.startsWith("-"))
  return Failure.usage(
    words,
    command !== undefined && commands.includes(command) ? `latchkey ${command} --help` : "latchkey --help"
  )
}
