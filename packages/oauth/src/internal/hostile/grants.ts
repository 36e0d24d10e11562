/**
 * The grants of the hostile server: families, their refresh tokens, the access tokens. All in memory and
 * synchronous, with the time as an argument.
 */
import * as Fingerprint from "@latchkey/core/Fingerprint"
import * as Redacted from "effect/Redacted"
import type { Redemption } from "./model.js"
import type { Rotation } from "../../testing/Rotation.js"

/** The tokens that come from one login. */
export interface Family {
  readonly number: number
  readonly subject: string
  readonly scopes: ReadonlyArray<string>
  alive: boolean
}

interface RefreshToken {
  readonly family: Family
  readonly expiresAt: number
  /** When it was first redeemed. */
  spentAt: number | undefined
  /** The pairs it brought, oldest first. */
  readonly brought: Array<Pair>
}

export interface AccessToken {
  /** None for a client's own token. */
  readonly family: Family | undefined
  readonly subject: string
  readonly scopes: ReadonlyArray<string>
  readonly expiresAt: number
  revoked: boolean
}

/** The tokens of a response. `refreshToken` is set if a new one is given. */
export interface Pair {
  readonly accessToken: string
  readonly refreshToken: string | undefined
  readonly scopes: ReadonlyArray<string>
  readonly obtainedAt: number
}

export interface Lifetimes {
  /** How long the resource accepts an access token, in milliseconds. */
  readonly accessToken: number
  readonly refreshToken: number
}

export class Grants {
  readonly redemptions: Array<Redemption> = []
  familiesRevoked = 0
  private families = 0
  private readonly refreshTokens = new Map<string, RefreshToken>()
  private readonly accessTokens = new Map<string, AccessToken>()

  constructor(
    private readonly rotation: Rotation,
    private readonly lifetimes: Lifetimes,
    /** Never returns the same token twice. */
    private readonly newToken: (kind: "at" | "rt") => string
  ) {}

  /** Begins a family after a login. */
  begin(subject: string | undefined, scopes: ReadonlyArray<string>, now: number): Pair {
    const number = ++this.families
    return this.issue({ number, subject: subject ?? `user-${number}`, scopes, alive: true }, scopes, now)
  }

  /** Issues a token for the client itself. */
  issueToClient(subject: string, scopes: ReadonlyArray<string>, now: number): Pair {
    return this.issueAccess(undefined, subject, scopes, now)
  }

  /** RFC 6749 §6. None if the redemption is refused. `scopes` narrows the access token, never the grant. */
  redeem(
    token: string,
    scopes: ReadonlyArray<string> | undefined,
    now: number
  ): Pair | "InvalidScope" | undefined {
    const held = this.refreshTokens.get(token)
    if (held === undefined) return undefined
    const { family } = held
    if (!family.alive || now >= held.expiresAt) return this.note(token, held, "Refused", now)
    if (scopes?.some((scope) => !family.scopes.includes(scope)) === true) return "InvalidScope"
    const first = held.spentAt === undefined
    if (!first && !this.mayReplay(held, now)) {
      if (this.rotation._tag !== "Reusable" && this.rotation.onReuse === "Revoke") this.end(family)
      return this.note(token, held, "Reused", now)
    }
    const last = held.brought.at(-1)
    const again = this.rotation._tag === "SamePair" ? last : undefined
    const pair = again ?? this.issue(family, scopes ?? family.scopes, now, this.rotation._tag !== "Reusable")
    if (this.rotation._tag !== "Reusable") {
      held.spentAt ??= now
      if (again === undefined) held.brought.push(pair)
    }
    return this.note(token, held, first ? "Granted" : "Replayed", now, pair)
  }

  /** Whether a refresh with this token would succeed now. */
  canRefresh(token: string, now: number): boolean {
    const held = this.refreshTokens.get(token)
    if (held === undefined || !held.family.alive || now >= held.expiresAt) return false
    return held.spentAt === undefined || this.mayReplay(held, now)
  }

  family(refreshToken: string): Family | undefined {
    return this.refreshTokens.get(refreshToken)?.family
  }

  /** Returns the access token, if it is accepted now. */
  accepted(token: string, now: number): AccessToken | undefined {
    const held = this.accessTokens.get(token)
    return held !== undefined && !held.revoked && held.family?.alive !== false && now < held.expiresAt
      ? held
      : undefined
  }

  end(family: Family): void {
    if (family.alive) this.familiesRevoked++
    family.alive = false
  }

  /** RFC 7009: a refresh token ends its family, an access token only itself. */
  revoke(token: string): void {
    const family = this.family(token)
    if (family !== undefined) this.end(family)
    const access = this.accessTokens.get(token)
    if (access !== undefined) access.revoked = true
  }

  private mayReplay(held: RefreshToken, now: number): boolean {
    const used = held.brought.some(
      ({ refreshToken }) =>
        refreshToken !== undefined && this.refreshTokens.get(refreshToken)?.spentAt !== undefined
    )
    switch (this.rotation._tag) {
      case "Reusable":
        return true
      case "Strict":
        return false
      case "NewPair":
        return now - (held.spentAt ?? now) < this.rotation.window
      case "SamePair":
        return now - (held.spentAt ?? now) < this.rotation.window && !used
      case "PredecessorValid":
        return !used
    }
  }

  private issue(family: Family, scopes: ReadonlyArray<string>, now: number, rotates = true): Pair {
    const access = this.issueAccess(family, family.subject, scopes, now)
    if (!rotates) return access
    const refreshToken = this.newToken("rt")
    this.refreshTokens.set(refreshToken, {
      family,
      expiresAt: now + this.lifetimes.refreshToken,
      spentAt: undefined,
      brought: []
    })
    return { ...access, refreshToken }
  }

  private issueAccess(
    family: Family | undefined,
    subject: string,
    scopes: ReadonlyArray<string>,
    now: number
  ): Pair {
    const accessToken = this.newToken("at")
    this.accessTokens.set(accessToken, {
      family,
      subject,
      scopes,
      expiresAt: now + this.lifetimes.accessToken,
      revoked: false
    })
    return { accessToken, refreshToken: undefined, scopes, obtainedAt: now }
  }

  private note(
    token: string,
    held: RefreshToken,
    outcome: Redemption["outcome"],
    at: number,
    pair?: Pair
  ): Pair | undefined {
    const redeemed = fingerprint(token)
    this.redemptions.push({
      at,
      family: held.family.number,
      redeemed,
      outcome,
      brought: pair && (pair.refreshToken === undefined ? redeemed : fingerprint(pair.refreshToken))
    })
    return pair
  }
}

const fingerprint = (token: string): Fingerprint.Fingerprint => Fingerprint.of(Redacted.make(token))
