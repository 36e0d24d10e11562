/**
 * The commands, their options and their help. A command's code is loaded when the command runs.
 *
 * @since 0.1.0
 */
import * as Args from "@effect/cli/Args"
import * as CliConfig from "@effect/cli/CliConfig"
import * as Command from "@effect/cli/Command"
import * as CommandDescriptor from "@effect/cli/CommandDescriptor"
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
import { nearest } from "./internal/nearest.js"
import { plain } from "./internal/text.js"
import * as Output from "./Output.js"
import * as Workspace from "./Workspace.js"

/**
 * @since 0.1.0
 * @category constants
 */
export const version = "3.0.0"

/** The exit code of a command. The parser has no way to return it. */
class Ended extends Context.Tag("@latchkey/cli/Ended")<
  Ended,
  { readonly code: Ref.Ref<number>; readonly rest: ReadonlyArray<string> | undefined }
>() {}

/** Runs the command in a module, which is loaded now. */
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

/** Runs a command that works with accounts. */
const does = <M, R>(
  load: () => Promise<M>,
  use: (module: M) => Effect.Effect<number, Failure.Failure, R>
): Effect.Effect<void, Failure.Failure, Exclude<R, Workspace.Workspace> | Ended> =>
  loads(load, (module) => Workspace.provided(use(module)))

/** No account and no provider begins with a dash. A text that does is an unknown option. */
const noOption = Args.mapEffect((text: string) =>
  text.startsWith("-") ? Effect.fail(HelpDoc.p(`There is no option ${quoted(text)}.`)) : Effect.succeed(text)
)

const account = Args.text({ name: "ACCOUNT" }).pipe(
  Args.withDescription("PROVIDER/NAME, or only one of the two if it is unambiguous."),
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

const optionalText = (name: string, pseudoName: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName(pseudoName),
    Options.withDescription(description),
    Options.optional
  )

const username = optionalText(
  "username",
  "NAME",
  "The user name that goes with the token, if a server wants one."
)

const bearer = Options.boolean("bearer").pipe(
  Options.withDescription("For git 2.46 or later: send the token as a bearer token, not as a password.")
)

const token = Command.make(
  "token",
  {
    account,
    minValidity,
    header: Options.boolean("header").pipe(Options.withDescription("Print a complete Authorization header.")),
    format: optionalText(
      "format",
      "FORMAT",
      "Print what another program expects: header-json, git, kubectl, bazel, docker, gcloud, env or netrc."
    ),
    host: optionalText("host", "HOST", "The server of the token, for the formats docker and netrc."),
    username,
    variable: optionalText("env", "NAME", "The variable of the format env. Default: ACCESS_TOKEN."),
    json
  },
  ({ format, host, username, variable, ...options }) =>
    does(
      () => import("./commands/Token.js"),
      (Token) =>
        Token.run({
          ...options,
          form: Option.map(format, (name) => ({ format: name, host, username, variable }))
        })
    )
).pipe(Command.withDescription("Print a valid token and nothing else. Refresh it first if it is due."))

const exec = Command.make(
  "exec",
  {
    account,
    command: Args.text({ name: "COMMAND" }).pipe(
      Args.withDescription("The command and its arguments, after --."),
      Args.repeated
    ),
    variable: Options.text("env").pipe(
      Options.withPseudoName("NAME"),
      Options.withDescription("The environment variable for the token. Default: ACCESS_TOKEN."),
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
  Options.withDescription("Keep the table up to date until you press Ctrl-C.")
)

const web = Options.boolean("web").pipe(
  Options.withDescription("Show them as a page on this machine, until you press Ctrl-C. Prints its link.")
)

const status = Command.make("status", { account: maybeAccount, json, watch, web }, (options) =>
  does(
    () => import("./commands/Status.js"),
    (Status) => Status.run(options)
  )
).pipe(
  Command.withDescription("Show one account, or all. Exits with 0 if every one is valid or can be refreshed.")
)

const list = Command.make("list", { json, watch }, (options) =>
  does(
    () => import("./commands/Status.js"),
    (Status) => Status.run({ ...options, account: Option.none() })
  )
).pipe(Command.withDescription("Show all accounts, like status without an account."))

const refresh = Command.make("refresh", { account, json }, (options) =>
  does(
    () => import("./commands/Refresh.js"),
    (Refresh) => Refresh.run(options)
  )
).pipe(Command.withDescription("Get a new token now, even if the old one is still valid."))

const explain = Command.make("explain", { account, json }, (options) =>
  does(
    () => import("./commands/Explain.js"),
    (Explain) => Explain.run(options)
  )
).pipe(Command.withDescription("Explain what `latchkey token` would do now, and why."))

const providerArgument = Args.text({ name: "PROVIDER" }).pipe(
  Args.withDescription(`A provider: ${Object.keys(BuiltIn.providers).join(", ")}, or one of your own.`),
  noOption
)

const file = Args.optional(Args.text({ name: "FILE" }))

const accountName = Options.text("account").pipe(
  Options.withPseudoName("NAME"),
  Options.withDescription("The name of the account, if you have several. Default: default."),
  Options.withDefault(defaultName)
)

const way = {
  browser: Options.boolean("browser").pipe(
    Options.withDescription("Log in with the browser of this machine.")
  ),
  device: Options.boolean("device").pipe(
    Options.withDescription("Log in with a code that you enter on any device.")
  ),
  manual: Options.boolean("manual").pipe(
    Options.withDescription("Log in with any browser, and paste the answer here.")
  ),
  clientCredentials: Options.boolean("client-credentials").pipe(
    Options.withDescription("Log in as the client itself, without a user.")
  )
}

const login = Command.make(
  "login",
  {
    provider: providerArgument,
    account: accountName,
    ...way,
    issuer: optionalText("issuer", "URL", "The issuer URL of a server that is not a known provider."),
    clientId: optionalText("client-id", "ID", "The id of your own client."),
    scopes: Options.text("scope").pipe(
      Options.withPseudoName("SCOPE"),
      Options.withDescription("A scope to ask for, instead of the provider's. You can repeat it."),
      Options.repeated
    ),
    parameters: Options.text("param").pipe(
      Options.withPseudoName("NAME=VALUE"),
      Options.withDescription(
        "A parameter of the authorization request, such as prompt=consent. You can repeat it."
      ),
      Options.repeated
    ),
    clientSecretFile: optionalText("client-secret-file", "FILE", "The file with the client's secret."),
    clientSecretVariable: optionalText(
      "client-secret-env",
      "NAME",
      "The environment variable with the client's secret."
    ),
    patience: Options.text("timeout").pipe(
      Options.withPseudoName("SPAN"),
      Options.withDescription("How long to wait for the browser. Default: 5m."),
      spanOption("--timeout"),
      Options.optional
    ),
    replace: Options.boolean("replace").pipe(
      Options.withDescription(
        "Replace a grant of another server, client or account. The old one is not revoked: log out first for that."
      )
    ),
    askClientSecret: Options.boolean("ask-client-secret").pipe(
      Options.withDescription("Ask for the client's secret, and store it with the grant.")
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
).pipe(Command.withDescription("Log in, or log in again. Default: the first login that the provider offers."))

const onlyWay = <Way extends string>(ways: Readonly<Record<Way, boolean>>) => {
  const [first, second] = (Object.keys(ways) as Array<Way>).filter((name) => ways[name])
  return second === undefined
    ? Effect.succeed(Option.fromNullable(first))
    : Failure.usage(
        "More than one kind of login was given.",
        `give only one of ${Object.keys(ways).map(flagOf).join(", ")}`
      )
}

const flagOf = (name: string): string => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`

const logout = Command.make(
  "logout",
  {
    account,
    local: Options.boolean("local").pipe(
      Options.withDescription("Remove the grant from this machine only. It stays valid at the server.")
    ),
    json
  },
  (options) =>
    does(
      () => import("./commands/Logout.js"),
      (Logout) => Logout.run(options)
    )
).pipe(Command.withDescription("Revoke the grant at the server, then remove it from this machine."))

const doctor = Command.make("doctor", { json }, (options) =>
  does(
    () => import("./commands/Doctor.js"),
    (Doctor) => Doctor.run(options)
  )
).pipe(Command.withDescription("Diagnose problems and suggest fixes."))

const importing = Command.make(
  "import",
  { provider: providerArgument, file, account: accountName, json },
  (options) =>
    does(
      () => import("./commands/Import.js"),
      (Import) => Import.run(options)
    )
).pipe(Command.withDescription("Import the grant from a credential file of the provider's own program."))

const exporting = Command.make(
  "export",
  {
    account,
    file,
    force: Options.boolean("force").pipe(Options.withDescription("Replace another grant in the file.")),
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
    browser: way.browser,
    device: way.device,
    manual: way.manual,
    scopes: Options.text("scope").pipe(
      Options.withPseudoName("SCOPE"),
      Options.withDescription(
        "A scope to request in addition to those that the server wants; may be repeated."
      ),
      Options.repeated
    ),
    clientId: optionalText("client-id", "ID", "A client that you registered at the authorization server."),
    clientMetadataUrl: optionalText("client-metadata", "URL", "The client ID metadata document to use."),
    json
  },
  ({ browser, device, manual, ...options }) =>
    Effect.flatMap(onlyWay({ browser, device, manual }), (chosen) =>
      does(
        () => import("./commands/Mcp.js"),
        (Mcp) => Mcp.login({ ...options, way: Option.getOrElse(chosen, () => "browser" as const) })
      )
    )
).pipe(Command.withDescription("Log in to an MCP server, or log in again."))

const mcpLogout = Command.make(
  "logout",
  {
    url: serverUrl,
    local: Options.boolean("local").pipe(
      Options.withDescription("Only remove the grant here. It stays alive at the server.")
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
).pipe(Command.withDescription("Show the MCP servers. Exits with 0 only if each has a token or can get one."))

const mcpProxy = Command.make("proxy", { url: serverUrl }, (options) =>
  does(
    () => import("./commands/McpProxy.js"),
    (McpProxy) => McpProxy.run(options)
  )
).pipe(Command.withDescription("Run an MCP server on stdin and stdout that forwards to URL with the token."))

const mcpCommands = [mcpLogin, mcpLogout, mcpList, mcpProxy] as const

const mcp = Command.make("mcp").pipe(
  Command.withDescription("Log in to MCP servers. To print a token: latchkey token mcp:URL."),
  Command.withSubcommands(mcpCommands)
)

const credential = Command.make(
  "credential",
  {
    protocol: Args.text({ name: "PROTOCOL" }).pipe(Args.withDescription("git, docker or bazel."), noOption),
    action: Args.text({ name: "ACTION" }).pipe(
      Args.withDescription("What the program asks for. It adds this itself."),
      noOption
    ),
    served: Options.text("for").pipe(
      Options.withPseudoName("HOST=ACCOUNT"),
      Options.withDescription("A host that may have the token of an account. You can repeat it."),
      Options.repeated
    ),
    username,
    bearer
  },
  (options) =>
    does(
      () => import("./commands/Credential.js"),
      (Credential) => Credential.run(options)
    )
).pipe(
  Command.withDescription(
    "Serve tokens to git, Docker or Bazel as their helper. `latchkey setup` configures it."
  )
)

const setup = Command.make(
  "setup",
  {
    program: Args.text({ name: "PROGRAM" }).pipe(
      Args.withDescription("git, docker, kubectl or bazel."),
      noOption
    ),
    account,
    host: optionalText("host", "HOST", "The host that may have the token. Default for github: its own."),
    username,
    bearer,
    directory: optionalText(
      "directory",
      "DIRECTORY",
      "Where the script for Docker goes: a directory in PATH. Default: ~/.local/bin."
    ),
    write: Options.boolean("write").pipe(
      Options.withDescription("Write the settings. Those of others stay as they are.")
    ),
    json
  },
  (options) =>
    does(
      () => import("./commands/Setup.js"),
      (Setup) => Setup.run(options)
    )
).pipe(
  Command.withDescription("Print the settings with which another program uses an account, or write them.")
)

const port = Options.integer("port").pipe(
  Options.withPseudoName("PORT"),
  Options.withDescription("The port on 127.0.0.1. Default: any free port."),
  Options.withDefault(0)
)

const secretFile = optionalText(
  "secret-file",
  "FILE",
  "The file with the local secret. Created if it is missing."
)

const agent = Command.make(
  "agent",
  {
    accounts: Options.text("account").pipe(
      Options.withPseudoName("ACCOUNT"),
      Options.withDescription("An account that clients may use. You can repeat it."),
      Options.repeated
    ),
    scopes: Options.text("scope").pipe(
      Options.withPseudoName("SCOPE"),
      Options.withDescription("Return only tokens without any other scope. You can repeat it."),
      Options.repeated
    ),
    socket: optionalText("socket", "PATH", "The Unix socket to listen on."),
    port: Options.integer("port").pipe(
      Options.withPseudoName("PORT"),
      Options.withDescription("A port on 127.0.0.1 instead of a socket. 0 is any free port."),
      Options.optional
    ),
    secretFile,
    config: optionalText("config", "FILE", "A JSON file with several kinds of clients."),
    json
  },
  (options) =>
    does(
      () => import("./commands/Agent.js"),
      (Agent) => Agent.run(options)
    )
).pipe(Command.withDescription("Give other programs tokens of these accounts, over a socket or a port."))

const proxy = Command.make(
  "proxy",
  {
    account: Options.text("account").pipe(
      Options.withPseudoName("ACCOUNT"),
      Options.withDescription("The account whose token the requests get.")
    ),
    to: Options.text("to").pipe(
      Options.withPseudoName("URL"),
      Options.withDescription("The server that the requests go to, such as https://api.example.com.")
    ),
    port,
    secretFile,
    json
  },
  (options) =>
    does(
      () => import("./commands/Proxy.js"),
      (Proxy) => Proxy.run(options)
    )
).pipe(Command.withDescription("Forward requests of this machine to a server, with a valid token."))

const subcommands = [
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
  mcp,
  setup,
  credential,
  agent,
  proxy
] as const

const root = Command.make("latchkey").pipe(
  Command.withDescription(
    "OAuth tokens that are never stale. Shell completions: latchkey --completions bash, fish, sh or zsh."
  ),
  Command.withSubcommands(subcommands)
)

type Described = { readonly descriptor: CommandDescriptor.Command<unknown> }

const nameOf = ({ descriptor }: Described): string => [...CommandDescriptor.getNames(descriptor)].join()

const commands = subcommands.map(nameOf)

/** The options of a command as they are typed, from its help. */
const optionsOf = (name: string): ReadonlyArray<string> => {
  const meant: ReadonlyArray<Described> =
    name === nameOf(mcp) ? mcpCommands : subcommands.filter((command) => nameOf(command) === name)
  return meant.flatMap(({ descriptor }) => {
    const help = plain(HelpDoc.toAnsiText(CommandDescriptor.getHelp(descriptor, CliConfig.defaultConfig)))
    return [...help.matchAll(/^ *(--[a-z-]+)/gm)].map(([, option]) => option!)
  })
}

/**
 * Runs the command in `argv`, which excludes the names of program and script.
 *
 * @since 0.1.0
 * @category running
 */
export const run = (argv: ReadonlyArray<string>): Effect.Effect<number, Failure.Failure, Output.Output> =>
  Effect.gen(function* () {
    const { own, rest } = splitRest(argv)
    if (rest !== undefined && own[0] !== "exec") {
      return yield* Failure.usage("Only exec takes a command after --.", "latchkey --help")
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

/** What the parser prints as it is. Everything else that it prints is help. */
const printedAsIs = ["--version", "--completions"]

/**
 * Help goes to the same output as everything else. A problem with the arguments is reported once, at the end.
 */
const consoleOf = (
  base: Console.Console,
  { stdout, write }: Context.Tag.Service<Output.Output>,
  own: ReadonlyArray<string>
): Console.Console => ({
  ...base,
  log: (...lines) => {
    const text = lines.map((line) => (stdout.colors ? String(line) : plain(String(line)))).join(" ")
    const isHelp = !own.some((argument) => printedAsIs.includes(argument))
    return write(`${(isHelp ? tidy(text, own[0]) : text).trimEnd()}\n`)
  },
  error: () => Effect.void
})

const meant = (typed: string, words: ReadonlyArray<string>): string => {
  const word = nearest(typed, words)
  return word === undefined ? "" : ` Did you mean ${word}?`
}

/** Names a command or an option that does not exist, and the nearest that does; undefined if all exist. */
const mistyped = (own: ReadonlyArray<string>): string | undefined => {
  const name = own.find((argument) => !argument.startsWith("-")) ?? ""
  if (own[0] === name && !commands.includes(name)) {
    const list = commands.join(", ")
    return `There is no command ${quoted(name)}.${meant(name, commands) || ` There are ${list}.`}`
  }
  const known = ["--help", ...printedAsIs, ...optionsOf(name)]
  const unknown = own
    .map((argument) => argument.replace(/=.*/s, ""))
    .find((argument) => /^--?[a-z]/i.test(argument) && argument !== "-h" && !known.includes(argument))
  return unknown === undefined ? undefined : `There is no option ${quoted(unknown)}.${meant(unknown, known)}`
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 80))

const misread = (error: ValidationError.ValidationError, own: ReadonlyArray<string>): Failure.Failure => {
  const words = mistyped(own) ?? plain(HelpDoc.toAnsiText(error.error)).replace(/\s+/g, " ").trim()
  if (own[0] === "--completions") {
    return Failure.usage("Completions exist for bash, fish, sh and zsh.", "latchkey --completions SHELL")
  }
  const command = own.find((argument) => !argument.startsWith("-"))
  return Failure.usage(
    words,
    command !== undefined && commands.includes(command) ? `latchkey ${command} --help` : "latchkey --help"
  )
}
