/** Many accounts in one store: their names, their tokens, and the storages and leases of them all. */
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as RefreshLease from "@latchkey/core/RefreshLease"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as TokenStorages from "@latchkey/core/TokenStorages"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { type Backend, dieOfConfiguration } from "./Backend.js"
import { wallClock } from "./Campaign.js"

const lifetime = 3_600_000

/** In one piece, as a parser would give it: pieces put together take four times the memory. */
const inOnePiece = (text: string): string => Buffer.from(text).toString()

/** Names of the length of a UUID. */
export const accountsOf = ({ account }: Backend, n: number): ReadonlyArray<string> =>
  Array.from({ length: n }, (_, i) => inOnePiece(`${account.slice(-6)}-${String(i).padStart(29, "0")}`))

/** Tokens of 64 characters, opaque to all but the campaign's server: the account and the generation. */
const credentialsOf = (account: string, generation: number, expiresAt: number): Credentials.Credentials => {
  const tokenOf = (kind: string) => inOnePiece(`${kind}.${account}.${generation}.`.padEnd(64, "x"))
  return Credentials.make({
    accessToken: tokenOf("at"),
    refreshToken: tokenOf("rt"),
    obtainedAt: expiresAt - lifetime,
    expiresAt
  })
}

/** The next generation, which lives for an hour. */
export const successorOf = (refreshToken: string): Credentials.Credentials => {
  const { account, generation } = redeemed(refreshToken)
  return credentialsOf(account, generation + 1, Math.round(wallClock()) + lifetime)
}

/** What a refresh token says. */
export const redeemed = (refreshToken: string): { readonly account: string; readonly generation: number } => {
  const [, account = "", generation = ""] = refreshToken.split(".")
  return { account, generation: Number(generation) }
}

/** What each account begins with: the first `due` are within a minute of their expiry. */
function* entries(backend: Backend, n: number, due: number): Generator<readonly [string, Entry.Entry]> {
  const now = Math.round(wallClock())
  for (const [i, account] of accountsOf(backend, n).entries())
    yield [account, Entry.first(credentialsOf(account, 1, now + (i < due ? 60_000 : lifetime)))]
}

/** One client for all accounts. A store in memory begins with them. */
export const layer = (
  backend: Backend,
  n: number,
  due: number
): Layer.Layer<TokenStorages.TokenStorages | RefreshLease.RefreshLease, StorageError> =>
  dieOfConfiguration(
    Layer.unwrapEffect(
      Effect.promise(async () => {
        const { kind, location } = backend
        switch (kind) {
          case "sqlite":
            return (await import("@latchkey/storage/Sqlite")).layerAccounts({ filename: location })
          case "postgres":
            return (await import("@latchkey/storage/Postgres")).layerAccounts({
              client: { url: Redacted.make(location), maxConnections: 20 }
            })
          case "redis":
            return (await import("@latchkey/storage/Redis")).layerAccounts({ server: location })
          default:
            return Layer.merge(
              Layer.effect(TokenStorages.TokenStorages, TokenStorages.makeMemory(entries(backend, n, due))),
              RefreshLease.layerProcess
            )
        }
      })
    )
  )

/** Puts all accounts into the store. */
export const seed = (backend: Backend, n: number, due: number): Promise<void> =>
  backend.kind === "memory"
    ? Promise.resolve()
    : Effect.flatMap(TokenStorages.TokenStorages, (storages) =>
        Effect.forEach(
          entries(backend, n, due),
          ([account, entry]) =>
            Effect.flatMap(storages.of(account), (storage) => storage.commit(entry, Option.none())),
          { concurrency: 256, discard: true }
        )
      ).pipe(Effect.provide(layer(backend, n, due)), Effect.runPromise)
