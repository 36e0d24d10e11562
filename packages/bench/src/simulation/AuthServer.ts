/** The authorization server, and the way to it. */
import * as Credentials from "@latchkey/core/Credentials"
import {
  RefreshError,
  rotating,
  reusable,
  TokenRefresher,
  type RotationPolicy
} from "@latchkey/core/TokenRefresher"
import type { Rotation } from "@latchkey/oauth/testing"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { Grants, type Pair } from "../../../oauth/src/internal/hostile/grants.js"
import type { Mishap, Setting } from "./Plan.js"
import type { Steps, Underway } from "./Steps.js"
import type { Process, World } from "./World.js"

/** What every token of a history has in it, and nothing else may. */
export const mark = "SECRET"

/** A refresh token in the hands of the server. */
export interface Issued {
  readonly token: string
  /** The login that it goes back to. */
  readonly family: number
  /** What it was redeemed for. */
  readonly children: Array<Issued>
  readonly parent: Issued | undefined
  /** Whether a request with it was sent of which nobody knows what became of it. */
  uncertain: boolean
}

/** One request to refresh. */
export interface Request {
  readonly process: Process
  readonly token: Issued
  readonly sentAt: number
  over: boolean
  /** What it brought. */
  brought: Issued | undefined
}

/** Called as things happen between a process and the server. */
export interface Witness {
  readonly sending: (process: Process, token: string) => void
  readonly redeemed: (request: Request, outcome: "Granted" | "Replayed" | "Reused" | "Refused") => void
  readonly answered: (request: Request, answer: Either.Either<unknown, RefreshError>) => void
  readonly abandoned: (request: Request) => void
}

export class AuthServer {
  readonly grants: Grants
  readonly tokens = new Map<string, Issued>()
  /** When each access token expires, by the clock of the server. */
  readonly expiries = new Map<string, number>()
  /** The same as its clients were told, by the clock of who asked: the latest, where it was told twice. */
  readonly told = new Map<string, number>()
  /** In the order of time. */
  readonly accessTokens: Array<string> = []
  requests: Array<Request> = []
  sent = 0
  private serial = 0
  private families = 0

  constructor(
    private readonly world: World,
    private readonly steps: Steps,
    private readonly witness: Witness,
    private readonly setting: Setting
  ) {
    this.grants = new Grants(
      setting.rotation,
      { accessToken: setting.lifetime, refreshToken: Number.MAX_SAFE_INTEGER },
      (kind) => `${kind}-${mark}-${++this.serial}`
    )
  }

  /** A login, from a machine whose clock says `wall`. */
  login(wall: number): Credentials.Credentials {
    const pair = this.grants.begin(undefined, ["all"], this.world.now)
    this.families++
    this.note(pair, undefined)
    return this.tells(
      Credentials.make({
        accessToken: pair.accessToken,
        refreshToken: pair.refreshToken,
        obtainedAt: wall,
        expiresAt: wall + this.setting.lifetime
      })
    )
  }

  private tells(credentials: Credentials.Credentials): Credentials.Credentials {
    const token = Redacted.value(credentials.accessToken)
    const expiresAt = Option.getOrElse(credentials.expiresAt, () => Infinity)
    this.told.set(token, Math.max(this.told.get(token) ?? 0, expiresAt))
    return credentials
  }

  /** The user ends the grant that this refresh token is of. */
  revoke(token: string): void {
    this.world.tell?.("the user ends the grant at the server")
    this.grants.revoke(token)
  }

  /** The expiry of the newest access token. */
  get newestExpiry(): number {
    return this.expiries.get(this.accessTokens.at(-1) ?? "") ?? 0
  }

  canRefresh(token: string): boolean {
    return this.grants.canRefresh(token, this.world.now)
  }

  refresher(process: Process): Context.Tag.Service<TokenRefresher> {
    return TokenRefresher.of({
      needsRefreshToken: true,
      rotation: policyOf(this.setting.rotation),
      refresh: (previous) =>
        Option.match(
          Option.flatMap(previous, (p) => p.refreshToken),
          {
            onNone: () => Effect.dieMessage("A refresh without a refresh token."),
            onSome: (token) => this.send(process, Redacted.value(token), previous)
          }
        )
    })
  }

  private send(
    process: Process,
    token: string,
    previous: Option.Option<Credentials.Credentials>
  ): Effect.Effect<Credentials.Credentials, RefreshError> {
    return Effect.async((resume) => {
      const issued = this.tokens.get(token)!
      const request: Request = {
        process,
        token: issued,
        sentAt: this.world.now,
        over: false,
        brought: undefined
      }
      const requestedAt = process.unsafeCurrentTimeMillis()
      const underway = this.steps.next(process, "redeem")
      this.witness.sending(process, token)
      this.requests.push(request)
      this.sent++
      const answer = (told: Either.Either<Credentials.Credentials, RefreshError>, after: number) =>
        void this.world.after(after, () =>
          process.deliver(() => {
            if (request.over) return
            request.over = true
            this.requests = this.requests.filter((r) => r !== request)
            this.witness.answered(request, told)
            resume(told)
          })
        )
      this.steps.issue(process, underway, () => this.travel(request, underway, previous, requestedAt, answer))
      return Effect.sync(() => {
        if (request.over) return
        request.over = true
        this.requests = this.requests.filter((r) => r !== request)
        issued.uncertain = true
        this.witness.abandoned(request)
      })
    })
  }

  /** From the process to the server and back. */
  private travel(
    request: Request,
    { back, mishap, there }: Underway,
    previous: Option.Option<Credentials.Credentials>,
    requestedAt: number,
    answer: (told: Either.Either<Credentials.Credentials, RefreshError>, after: number) => void
  ): void {
    const is = (kind: Mishap["is"], when?: string): boolean =>
      mishap?.is === kind && (when === undefined || ("when" in mishap && mishap.when === when))
    const slow = (when: string): number => (mishap?.is === "slow" && mishap.when === when ? mishap.millis : 0)
    if (is("refused")) return answer(failure("NotSent", "The connection was refused."), there)
    if (is("lost") || is("silence")) request.token.uncertain = true
    if (is("silence", "before")) return
    if (is("lost", "before")) return answer(failure("MaybeSent", "The connection was reset."), there + back)
    if (mishap?.is === "busy") {
      const retryAfter = Duration.millis(mishap.millis)
      return answer(failure("Transient", "Too many requests.", { status: 429, retryAfter }), there + back)
    }
    if (is("odd")) return answer(failure("Misconfigured", "invalid_client", { status: 401 }), there + back)
    this.world.after(there + slow("before"), () => {
      const response = this.redeem(request)
      this.steps.befall(request.process, mishap, "after")
      if (!request.process.alive) request.token.uncertain = true
      if (is("silence")) return
      if (is("lost")) return answer(failure("MaybeSent", "The connection was reset."), back)
      if (response === undefined) {
        return answer(
          failure("GrantDead", "invalid_grant", { status: 400, oauthError: "invalid_grant" }),
          back
        )
      }
      if (mishap?.is === "spoiled" && !mishap.salvage) {
        request.brought = undefined
        request.token.uncertain = true
        return answer(failure("Malformed", "No JSON.", { status: 200 }), back)
      }
      const body = mishap?.is === "spoiled" ? { ...response, access_token: "" } : response
      const merged = Either.mapLeft(
        Credentials.fromResponse(body, previous, { requestedAt }),
        ({ field, problem, salvaged }) =>
          new RefreshError({
            reason: "Malformed",
            message: `${field} ${problem}`,
            ...(Option.isSome(salvaged) && { salvaged: salvaged.value })
          })
      )
      if (Either.isRight(merged)) this.tells(merged.right)
      if (Either.isLeft(merged) && merged.left.salvaged === undefined) request.token.uncertain = true
      answer(merged, back + slow("after"))
    })
  }

  private redeem(request: Request): Record<string, unknown> | undefined {
    const { token } = request.token
    const pair = this.grants.redeem(token, undefined, this.world.now)
    if (typeof pair === "string") throw new Error("The simulation asks for no scopes.")
    const outcome = this.grants.redemptions.at(-1)!.outcome
    if (pair !== undefined) request.brought = this.note(pair, request.token)
    this.world.tell?.(
      `the server: ${token} of ${request.process.name} ${outcome}` +
        (pair === undefined ? "" : `, brings ${pair.refreshToken ?? "no refresh token"}, ${pair.accessToken}`)
    )
    this.witness.redeemed(request, outcome)
    return (
      pair && {
        access_token: pair.accessToken,
        token_type: "Bearer",
        expires_in: Math.max(0, this.expiries.get(pair.accessToken)! - this.world.now) / 1000,
        ...(pair.refreshToken !== undefined && { refresh_token: pair.refreshToken })
      }
    )
  }

  private note(pair: Pair, parent: Issued | undefined): Issued {
    if (!this.expiries.has(pair.accessToken)) this.accessTokens.push(pair.accessToken)
    this.expiries.set(pair.accessToken, pair.obtainedAt + this.setting.lifetime)
    if (pair.refreshToken === undefined) return parent!
    const known = this.tokens.get(pair.refreshToken)
    if (known !== undefined) return known
    const issued: Issued = {
      token: pair.refreshToken,
      family: parent?.family ?? this.families,
      children: [],
      parent,
      uncertain: false
    }
    parent?.children.push(issued)
    this.tokens.set(issued.token, issued)
    return issued
  }
}

/** What a user tells the manager of such a server. */
export const policyOf = (rotation: Rotation.Rotation): RotationPolicy => {
  switch (rotation._tag) {
    case "Reusable":
      return reusable
    case "Strict":
      return rotating()
    case "NewPair":
    case "SamePair":
      return rotating(rotation.window)
    case "PredecessorValid":
      return rotating("1000 days")
  }
}

const failure = (
  reason: RefreshError["reason"],
  message: string,
  more: Partial<Pick<RefreshError, "status" | "oauthError" | "retryAfter">> = {}
): Either.Either<never, RefreshError> => Either.left(new RefreshError({ reason, message, ...more }))
