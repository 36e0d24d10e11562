/**
 * `latchkey agent`: one process that refreshes for all programs of this machine, and returns access tokens to
 * them over a Unix socket or a loopback port. It never returns a refresh token.
 *
 * @since 3.1.0
 */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as TokenManager from "@latchkey/core/TokenManager"
import * as PrivateDirectory from "@latchkey/storage/PrivateDirectory"
import * as EffectConfig from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as RcMap from "effect/RcMap"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import * as Account from "../Account.js"
import * as AgentPolicy from "../AgentPolicy.js"
import * as Failure from "../Failure.js"
import * as PrivateText from "../internal/PrivateText.js"
import * as LocalGate from "../LocalGate.js"
import * as LocalSecret from "../LocalSecret.js"
import * as LocalServer from "../LocalServer.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import { Workspace } from "../Workspace.js"
import * as Token from "./Token.js"

/**
 * The accounts, and where to listen for their client; or the `config` of several clients. Without a place, the
 * agent listens on the socket that systemd has opened, or else on `agent.sock` in the runtime directory.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly accounts: ReadonlyArray<string>
  readonly scopes: ReadonlyArray<string>
  readonly socket: Option.Option<string>
  readonly port: Option.Option<number>
  readonly secretFile: Option.Option<string>
  readonly config: Option.Option<string>
  readonly json: boolean
}

/** How long an account stays in memory after its last request. */
const idle = "10 minutes"

/** A rejected token is never longer. */
const longestToken = 65_536

/**
 * Serves until it is interrupted.
 *
 * @since 3.1.0
 * @category commands
 */
export const run = (options: Options): Effect.Effect<never, Failure.Failure, Services> =>
  Effect.gen(function* () {
    const listeners = yield* listenersOf(options)
    const sessions = yield* RcMap.make({
      lookup: (account: string) =>
        Effect.gen(function* () {
          const session = yield* Session.open(yield* Session.find(account))
          return { session, manager: yield* Session.manager(session) }
        }),
      idleTimeToLive: idle
    })
    const opened = yield* Effect.forEach(listeners, (listener) =>
      Effect.map(serve(listener, sessions), (address) => ({ address, accounts: listener.client.accounts }))
    )
    if (options.json) yield* Output.printJson({ listeners: opened })
    else {
      for (const { accounts, address } of opened) {
        yield* Output.print(address)
        yield* Output.say(`Clients of ${address} may use ${accounts.join(", ")}.`)
      }
    }
    return yield* Effect.never
  }).pipe(Effect.scoped)

interface Listener {
  readonly place: LocalServer.Place
  readonly client: AgentPolicy.Client
  readonly secretFile: string
}

const listenersOf = (options: Options): Effect.Effect<ReadonlyArray<Listener>, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    const { paths } = yield* Workspace
    const standard = Path.join(paths.data, "agent.secret")
    if (Option.isSome(options.config)) {
      if (options.accounts.length > 0) {
        return yield* Failure.usage("--config was given with --account.", "give only one of both")
      }
      const path = options.config.value
      const text = yield* Effect.mapError(PrivateText.read(path), (problem) =>
        Failure.storage("AgentConfig", PrivateText.describe(problem))
      )
      const { clients } = yield* AgentPolicy.parse(
        path,
        Option.getOrElse(text, () => "")
      )
      return yield* Effect.forEach(clients, (client) =>
        Effect.map(withNames(client), (named) => ({
          place: client.socket === undefined ? { port: client.port ?? 0 } : { socket: client.socket },
          client: named,
          secretFile: client.secretFile ?? standard
        }))
      )
    }
    const [first, ...others] = options.accounts
    if (first === undefined) {
      return yield* Failure.usage("No account was named.", "latchkey agent --account PROVIDER/NAME")
    }
    const client = {
      accounts: [first, ...others] as const,
      ...(options.scopes.length > 0 && { scopes: options.scopes })
    }
    return [
      {
        place: yield* placeOf(options),
        client: yield* withNames(client),
        secretFile: Option.getOrElse(options.secretFile, () => standard)
      }
    ]
  })

/** Clients name accounts in full, so that a new account cannot change what a short name means. */
const withNames = (
  client: AgentPolicy.Client
): Effect.Effect<AgentPolicy.Client, Failure.Failure, Workspace> =>
  Effect.map(
    Effect.forEach(client.accounts, (name) => Effect.map(Session.find(name), Account.idOf)),
    ([first = "", ...others]) => ({ ...client, accounts: [first, ...others] })
  )

const variable = (name: string) =>
  Effect.orElseSucceed(EffectConfig.withDefault(EffectConfig.string(name), ""), () => "")

/** The first descriptor that systemd hands over (sd_listen_fds(3)). */
const firstDescriptor = 3

const placeOf = (options: Options): Effect.Effect<LocalServer.Place, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    if (Option.isSome(options.port) && Option.isSome(options.socket)) {
      return yield* Failure.usage("--port was given with --socket.", "give only one of both")
    }
    if (Option.isSome(options.port)) return { port: options.port.value }
    if (Option.isSome(options.socket)) return { socket: Path.resolve(options.socket.value) }
    const isActivated =
      (yield* variable("LISTEN_PID")) === `${process.pid}` && (yield* variable("LISTEN_FDS")) !== ""
    if (isActivated) return { descriptor: firstDescriptor }
    const runtime = yield* variable("XDG_RUNTIME_DIR")
    const { paths } = yield* Workspace
    return {
      socket: Path.isAbsolute(runtime)
        ? Path.join(runtime, "latchkey", "agent.sock")
        : Path.join(paths.data, "agent.sock")
    }
  })

/** A user who can write into the directory of a socket can put another socket in its place. */
const prepare = (place: LocalServer.Place): Effect.Effect<void, Failure.Failure> => {
  if (!("socket" in place)) return Effect.void
  const directory = Path.dirname(place.socket)
  return Effect.gen(function* () {
    yield* Effect.mapError(
      Effect.tryPromise(() => PrivateDirectory.make(directory)),
      () => Failure.storage("Socket", `${directory} cannot be created.`, "choose another with --socket")
    )
    const { mode, uid } = yield* Effect.promise(() => fs.stat(directory))
    const isShared = (mode & 0o022) !== 0
    if (isShared || (uid !== process.getuid?.() && uid !== 0)) {
      return yield* Failure.storage(
        "Socket",
        `${directory} can be changed by other users, who could put a socket of theirs there.`,
        `chmod 700 ${directory}, or choose another with --socket`
      )
    }
  })
}

interface Kept {
  readonly session: Session.Session
  readonly manager: TokenManager.Manager
}
type Sessions = RcMap.RcMap<string, Kept, Failure.Failure>

/** Returns the address that the listener has. */
const serve = (
  { client, place, secretFile }: Listener,
  sessions: Sessions
): Effect.Effect<string, Failure.Failure, Scope.Scope> =>
  Effect.gen(function* () {
    yield* prepare(place)
    const { port, server } = yield* LocalServer.listen(place)
    const gate: LocalGate.Gate =
      port === 0
        ? { hosts: [], secret: undefined }
        : { hosts: LocalGate.hostsOf(port), secret: yield* LocalSecret.make(secretFile) }
    yield* LocalServer.handle(
      server,
      Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
        answer(gate, client, sessions, request)
      )
    )
    if (port !== 0) return `http://127.0.0.1:${port}`
    return "socket" in place ? place.socket : "the socket of systemd"
  })

const answer = (
  gate: LocalGate.Gate,
  client: AgentPolicy.Client,
  sessions: Sessions,
  request: HttpServerRequest.HttpServerRequest
) => {
  const admitted = LocalGate.admit(gate, request.headers)
  if (Either.isLeft(admitted)) return Effect.succeed(LocalServer.refused(admitted.left))
  return Effect.gen(function* () {
    const isRejection = request.method === "POST"
    const question = yield* AgentPolicy.question(request.method, request.url)
    const account = yield* AgentPolicy.admit(client, question)
    const { manager, session } = yield* RcMap.get(sessions, account)
    const rejected = isRejection ? yield* bodyOf(request) : undefined
    const token = yield* Token.from(manager, session.about, question.minValidity, rejected)
    yield* AgentPolicy.checkScopes(client, account, token.scopes)
    return HttpServerResponse.unsafeJson(yield* Token.describe(token, false), {
      headers: { "cache-control": "no-store" }
    })
  }).pipe(
    Effect.scoped,
    Effect.catchAll((failure) =>
      Effect.succeed(
        HttpServerResponse.unsafeJson(
          { error: { reason: failure.reason, message: failure.message, next: failure.next ?? null } },
          { status: AgentPolicy.statusOf(failure) }
        )
      )
    )
  )
}

const bodyOf = (request: HttpServerRequest.HttpServerRequest) =>
  Number(request.headers["content-length"] ?? Infinity) > longestToken
    ? Failure.usage("The body must be the rejected token, with its Content-Length.")
    : Effect.mapBoth(request.text, {
        onFailure: () => Failure.usage("The body must be the rejected token."),
        onSuccess: (text) => Redacted.make(text.trim())
      })
