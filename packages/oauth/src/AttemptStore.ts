/**
 * Keeps a web login between the redirect to the authorization server and the way back, so that any instance of
 * the application can finish it. A ticket in a cookie of the browser leads to it.
 *
 * - {@link layerStored}: in a `OneTimeStore` that all instances share. A login is finished once, whatever the
 *   browser sends again. What is stored is sealed with a key that only the ticket has: the store's readers can
 *   neither use nor forge a login.
 * - {@link layerSealed}: in the cookie itself, sealed with `LoginKeys`. No shared store is needed, and a visitor
 *   costs no memory. **Its limits:** an instance refuses a login that it finished itself, but does not know what
 *   other instances finished. There, single use rests on two things: the browser deletes the cookie, and the
 *   server refuses a code that was redeemed (RFC 6749 §4.1.2). A thief who copied the cookie can finish the
 *   login only with a code that was issued for it and is not yet redeemed.
 * - {@link layerMemory}: in the memory of one process.
 *
 * @since 0.1.0
 */
import { OneTimeStore } from "@latchkey/core/OneTimeStore"
import * as OneTimeStores from "@latchkey/core/OneTimeStore"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { notUnderWay } from "./internal/loginProblem.js"
import * as Sealing from "./internal/sealing.js"
import * as LoginAttempt from "./LoginAttempt.js"
import { LoginError } from "./LoginError.js"
import { LoginKeys } from "./LoginKeys.js"

/**
 * The port.
 *
 * @since 0.1.0
 * @category tags
 */
export class AttemptStore extends Context.Tag("@latchkey/oauth/AttemptStore")<
  AttemptStore,
  {
    /**
     * Keeps a login until it expires. Returns the ticket for the browser's cookie, at most 3,800 characters of
     * base64url and dots. Fails with `Misconfigured` if it would be longer.
     */
    readonly keep: (
      login: LoginAttempt.LoginAttempt
    ) => Effect.Effect<Redacted.Redacted, StorageError | LoginError>
    /**
     * Returns the login of a ticket, once. Fails with `StateMismatch` if the ticket is unknown, was used, or was
     * changed; with `TimedOut` if the login expired and the store still knows it; with `Malformed` if its record
     * cannot be read.
     */
    readonly take: (
      ticket: Redacted.Redacted
    ) => Effect.Effect<LoginAttempt.LoginAttempt, StorageError | LoginError>
  }
>() {}

/** Browsers accept cookies of 4,096 bytes, with their name and attributes (RFC 6265bis §5.6). */
const longestTicket = 3800

/** How many finished logins an instance remembers. Beyond that, the oldest are forgotten. */
const mostFinished = 10_000

/**
 * Keeps logins in their cookies, sealed with the keys in context. Remembers the last 10,000 logins that this
 * instance finished, until they expire.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerSealed: Layer.Layer<AttemptStore, never, LoginKeys> = Layer.effect(
  AttemptStore,
  Effect.map(LoginKeys, (keys) => {
    // By state, in the order in which they were finished.
    const finished = new Map<string, number>()
    const finish = (state: string, expiresAt: number, now: number): boolean => {
      if (finished.has(state)) return false
      finished.set(state, expiresAt)
      for (const [old, until] of finished) {
        if (until > now && finished.size <= mostFinished) break
        finished.delete(old)
      }
      return true
    }
    return {
      keep: (login) =>
        Effect.flatMap(Sealing.seal(keys, "attempt", LoginAttempt.toJson(login)), (ticket) =>
          ticket.length > longestTicket ? Effect.fail(tooLong) : Effect.succeed(Redacted.make(ticket))
        ),
      take: (ticket) =>
        Effect.gen(function* () {
          const text = yield* Effect.mapError(
            Sealing.open(keys, "attempt", Redacted.value(ticket)),
            () => notUnderWay
          )
          const login = yield* LoginAttempt.fromJson(text)
          const now = yield* Clock.currentTimeMillis
          const late = LoginAttempt.expiry(login, now)
          if (Option.isSome(late)) return yield* late.value
          return finish(Redacted.value(login.state), login.expiresAt, now) ? login : yield* notUnderWay
        })
    }
  })
)

/**
 * Keeps logins in the `OneTimeStore` in context, sealed with a key that is derived from the ticket.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerStored: Layer.Layer<AttemptStore, never, OneTimeStore> = Layer.effect(
  AttemptStore,
  Effect.map(OneTimeStore, (store) => ({
    keep: (login) =>
      Effect.gen(function* () {
        const ticket = yield* Sealing.newTicket
        const locker = yield* Effect.orDie(Sealing.lockerOf(ticket))
        const now = yield* Clock.currentTimeMillis
        const late = LoginAttempt.expiry(login, now)
        if (Option.isSome(late)) return yield* late.value
        const sealed = yield* locker.seal(LoginAttempt.toJson(login))
        yield* store.put(locker.place, sealed, login.expiresAt - now)
        return Redacted.make(ticket)
      }),
    take: (ticket) =>
      Effect.gen(function* () {
        const locker = yield* Effect.mapError(Sealing.lockerOf(Redacted.value(ticket)), () => notUnderWay)
        const sealed = yield* store.take(locker.place)
        if (Option.isNone(sealed)) return yield* notUnderWay
        const text = yield* Effect.mapError(locker.open(sealed.value), () => notUnderWay)
        const login = yield* LoginAttempt.fromJson(text)
        const late = LoginAttempt.expiry(login, yield* Clock.currentTimeMillis)
        return Option.isSome(late) ? yield* late.value : login
      })
  }))
)

/**
 * Keeps logins in the memory of this process, at most 50,000. Beyond that, the oldest are dropped.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerMemory: Layer.Layer<AttemptStore> = Layer.provide(layerStored, OneTimeStores.layerMemory)

const tooLong = new LoginError({
  reason: "Misconfigured",
  message:
    "The login does not fit into a cookie: shorten the return address or the scopes, or use `AttemptStore.layerStored`."
})
