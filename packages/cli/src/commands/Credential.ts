/**
 * `latchkey credential git|docker|bazel ACTION`: a credential helper, which those programs run. The request
 * is on stdin, and the answer on stdout.
 *
 * A token goes to stdout, and only for a host that `--for` names. Nothing secret goes to stderr.
 *
 * @since 3.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as BazelCredential from "../BazelCredential.js"
import * as DockerCredential from "../DockerCredential.js"
import { ExitCode } from "../ExitCode.js"
import * as Failure from "../Failure.js"
import * as GitCredential from "../GitCredential.js"
import * as Input from "../internal/input.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as ServedHost from "../ServedHost.js"
import * as Session from "../Session.js"
import * as Token from "./Token.js"

/**
 * `served` are the values of `--for`. `username` replaces the default user name. `bearer` is for git only.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly protocol: string
  readonly action: string
  readonly served: ReadonlyArray<string>
  readonly username: Option.Option<string>
  readonly bearer: boolean
}

interface Settings extends Omit<Options, "served"> {
  readonly served: ReadonlyArray<ServedHost.ServedHost>
}

type Ended = Effect.Effect<ExitCode, Failure.Failure, Services | Scope.Scope>

/**
 * @since 3.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<ExitCode, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const { action, protocol } = options
    if (!Object.hasOwn(protocols, protocol)) {
      return yield* Failure.usage(
        `There is no credential protocol ${JSON.stringify(protocol.slice(0, 40))}.`,
        `latchkey credential with one of ${Object.keys(protocols).join(", ")}; or latchkey token ACCOUNT --format`
      )
    }
    const served = yield* ServedHost.parseAll(options.served)
    return yield* protocols[protocol as keyof typeof protocols]({ ...options, action, served })
  }).pipe(Effect.scoped)

/** Git ignores the exit code, shows stderr, and asks the user if no helper has answered. */
const git = (settings: Settings): Ended =>
  Effect.gen(function* () {
    const { action, served } = settings
    // Git may send other actions one day, and requires that a helper ignores them.
    if (action !== "get" && action !== "erase") return ExitCode.ok
    const request = yield* GitCredential.parse(yield* Input.read(GitCredential.isComplete))
    const found = ServedHost.find(served, request.protocol, request.host)
    if (Either.isLeft(found)) {
      return found.left === "Absent" ? ExitCode.ok : yield* ServedHost.insecure(request.host)
    }
    const { account } = found.right
    if (action === "erase") {
      yield* Option.match(request.secret, {
        onNone: () => Effect.void,
        onSome: (secret) => rejected(account, secret)
      })
      return ExitCode.ok
    }
    const token = yield* Token.get(account, 0)
    yield* Output.print(...(yield* GitCredential.answer(token, request, settings)))
    return ExitCode.ok
  })

/** The server refused the token: the next request must get another one. A grant is never erased. */
const rejected = (name: string, secret: Redacted.Redacted) =>
  Effect.gen(function* () {
    const session = yield* Session.open(yield* Session.find(name))
    const fail = (error: Parameters<typeof Failure.fromToken>[0]) => Failure.fromToken(error, session.about)
    const manager = yield* Session.manager(session, { force: true, minValidity: 0 })
    const credentials = yield* Effect.mapError(manager.credentials, fail)
    const now = yield* Clock.currentTimeMillis
    const current = Option.filter(
      credentials,
      ({ accessToken }) => Redacted.value(accessToken) === Redacted.value(secret)
    )
    // Another process has replaced it already.
    if (Option.isNone(current)) return
    if (Option.exists(current.value.obtainedAt, (at) => now - at < GitCredential.youngest)) {
      return yield* Output.say(
        `latchkey: ${session.about.account}: The server refused a token that is new. Check its scopes, and whether this account may use the repository.`
      )
    }
    yield* Effect.mapError(manager.reject(secret), fail)
  })

/** Docker reads the message of a failure from stdout, and knows some of them by their words. */
const docker = (settings: Settings): Ended => {
  const { action, served, username } = settings
  const says = (message: string, code: ExitCode = ExitCode.failed) => Effect.as(Output.print(message), code)
  const get = Effect.gen(function* () {
    const server = (yield* Input.read((text) => text.includes("\n"))).trim()
    if (server === "") return yield* says(DockerCredential.messages.noServer)
    const found = DockerCredential.find(served, server)
    if (Either.isLeft(found)) {
      return found.left === "Absent"
        ? yield* says(DockerCredential.messages.notFound)
        : yield* ServedHost.insecure(server)
    }
    const token = yield* Token.get(found.right.account, 0)
    yield* Output.printJson(yield* DockerCredential.answer(token, server, username))
    return ExitCode.ok
  })
  switch (action) {
    case "get":
      return Effect.catchAll(get, ({ code, message, next }) =>
        says(next === undefined ? message : `${message} Next: ${next}`, code)
      )
    case "list":
      return Effect.as(Output.printJson(DockerCredential.list(served, username)), ExitCode.ok)
    case "store":
    case "erase":
      return says(DockerCredential.refused[action], ExitCode.usage)
    default:
      return says(`Latchkey has no action ${JSON.stringify(action.slice(0, 40))} for Docker.`, ExitCode.usage)
  }
}

/** Bazel shows stderr if the helper fails. */
const bazel = ({ action, served }: Settings): Ended =>
  Effect.gen(function* () {
    if (action !== "get") {
      return yield* Failure.usage(
        `There is no action ${JSON.stringify(action.slice(0, 40))} for Bazel.`,
        "latchkey credential bazel --for HOST=ACCOUNT get"
      )
    }
    const { host, scheme } = yield* BazelCredential.parse(yield* Input.read())
    const found = ServedHost.find(served, scheme, host)
    if (Either.isLeft(found)) {
      return yield* found.left === "Absent" ? ServedHost.absent(host, served) : ServedHost.insecure(host)
    }
    yield* Output.printJson(yield* BazelCredential.answer(yield* Token.get(found.right.account, 0)))
    return ExitCode.ok
  })

const protocols = { git, docker, bazel } as const
