/** The fixture of the campaigns: managers over one hostile server and one storage, with a simulated clock. */
import type { HttpClient } from "@effect/platform"
import { type Entry, RefreshLease, TokenConfig, TokenManager, TokenStorage } from "@latchkey/core"
import { RefreshToken } from "@latchkey/oauth"
import { HostileServer } from "@latchkey/oauth/testing"
import { Seeded } from "@latchkey/core/internal-api"
import { type ConfigError, type Context, Effect, Layer, type Scope } from "effect"
import type { OAuthConfigError } from "../../src/Endpoint.js"
import { VirtualTime } from "./time.js"
import * as Edition from "../../../core/test/support/Edition.js"

const start = 1_700_000_000_000

/** A draw of whole numbers and chances that only depends on the seed. */
export class Draw {
  private readonly random: Seeded.Seeded
  constructor(seed: number) {
    this.random = Seeded.make(seed)
  }
  upTo(max: number): number {
    return this.random.integer(max + 1)
  }
  chance(probability: number): boolean {
    return this.random.number() < probability
  }
  of<A>(choices: ReadonlyArray<A>): A {
    return choices[this.random.integer(choices.length)]!
  }
}

/** A memory storage that takes its time and remembers what was written. */
export interface Recorded {
  readonly storage: Context.Tag.Service<TokenStorage.TokenStorage>
  /** Every entry that was committed, in order. */
  readonly history: Array<Entry.Entry>
}

export const recordingStorage = (
  pause: Effect.Effect<void> = Effect.void,
  onCommit: (entry: Entry.Entry) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<Recorded> =>
  Effect.map(TokenStorage.makeMemory(), (inner) => {
    const history: Array<Entry.Entry> = []
    const storage = TokenStorage.TokenStorage.of({
      location: inner.location,
      load: Effect.zipLeft(Effect.andThen(pause, inner.load), pause),
      commit: (entry, expected) =>
        pause.pipe(
          Effect.andThen(inner.commit(entry, expected)),
          Effect.tap(() => Effect.sync(() => history.push(entry))),
          Effect.tap(() => onCommit(entry)),
          Effect.zipLeft(pause)
        ),
      remove: Effect.dieMessage("The manager removed the grant."),
      changes: inner.changes
    })
    return { history, storage }
  })

export interface ManagerOptions {
  readonly storage: Context.Tag.Service<TokenStorage.TokenStorage>
  readonly lease: Context.Tag.Service<RefreshLease.RefreshLease>
  readonly config?: TokenConfig.Options
  readonly refresher?: Partial<RefreshToken.Options>
  readonly watch?: boolean
}

/** A manager as a process of its own would have it. */
export const manager = ({
  config,
  lease,
  refresher,
  storage,
  watch
}: ManagerOptions): Effect.Effect<
  TokenManager.Manager,
  OAuthConfigError | ConfigError.ConfigError,
  HttpClient.HttpClient | Scope.Scope
> => {
  const services = Layer.mergeAll(
    Layer.succeed(TokenStorage.TokenStorage, storage),
    Layer.succeed(RefreshLease.RefreshLease, lease),
    TokenConfig.layer({ instance: "test", ...config }),
    RefreshToken.layer({ server: HostileServer.server, client: { clientId: "app" }, ...refresher })
  )
  return Effect.provide(TokenManager.make({ watch: watch ?? true }), services)
}

/** A world of its own: its time, its server, nothing shared with others. */
export const inWorld = <A, E>(
  options: HostileServer.Options,
  body: (
    server: Context.Tag.Service<HostileServer.HostileServer>,
    time: VirtualTime
  ) => Effect.Effect<A, E, HttpClient.HttpClient | Scope.Scope>
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const time = new VirtualTime(start)
    return Effect.flatMap(HostileServer.HostileServer, (server) => body(server, time)).pipe(
      Effect.scoped,
      Effect.provide(HostileServer.layer(options)),
      Edition.silent,
      (effect) => time.run(effect)
    )
  })
