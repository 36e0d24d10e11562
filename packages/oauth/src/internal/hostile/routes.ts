/** The honest responses of the hostile server: what a correct server would send. */
import { json, type Reply } from "../../testing/Fault.js"
import type { Endpoint } from "./model.js"
import { metadata, verificationUri } from "./endpoints.js"
import type { Devices } from "./devices.js"
import type { AccessToken, Grants, Pair } from "./grants.js"

export interface Incoming {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly form: URLSearchParams
}

export interface Site {
  readonly grants: Grants
  readonly devices: Devices
  readonly client: { readonly clientId: string; readonly secret: string | undefined } | undefined
  /** The lifetime that the token endpoint states, in milliseconds. */
  readonly toldLifetime: number
  /** How far the server's clock is ahead, in milliseconds. */
  readonly skew: () => number
}

export const respond = (site: Site, endpoint: Endpoint, request: Incoming, now: number): Reply => {
  switch (endpoint) {
    case "discovery":
      return json(200, metadata)
    case "userinfo":
      return protectedBy(site, request, now, ({ subject }) => ({ sub: subject }))
    case "resource":
      return protectedBy(site, request, now, ({ scopes, subject }) => ({
        sub: subject,
        scope: scopes.join(" ")
      }))
    default:
      return request.method === "POST"
        ? asClient(site, request, () => posts[endpoint](site, request, now))
        : error(405, "invalid_request", "POST only (RFC 6749 §3.2)")
  }
}

const error = (status: number, code: string, description?: string): Reply =>
  json(status, { error: code, error_description: description })

/** RFC 6749 §2.3: `none`, `client_secret_basic` and `client_secret_post`. */
const asClient = ({ client }: Site, request: Incoming, answer: () => Reply): Reply => {
  if (client === undefined) return answer()
  const [scheme, credentials = ""] = (request.headers["authorization"] ?? "").split(" ", 2)
  const basic = scheme === "Basic" ? atob(credentials).split(":", 2).map(decodeForm) : undefined
  const [id, secret] = basic ?? [
    request.form.get("client_id"),
    request.form.get("client_secret") ?? undefined
  ]
  return id === client.clientId && secret === client.secret ? answer() : error(401, "invalid_client")
}

const decodeForm = (text: string): string => new URLSearchParams(`x=${text}`).get("x") ?? ""

const token = (site: Site, { form }: Incoming, now: number): Reply => {
  const scopes = form.get("scope")?.split(" ").filter(Boolean)
  switch (form.get("grant_type")) {
    case "refresh_token": {
      const pair = site.grants.redeem(form.get("refresh_token") ?? "", scopes, now)
      if (pair === "InvalidScope") return error(400, "invalid_scope")
      return pair === undefined ? error(400, "invalid_grant") : tokens(site, pair, now)
    }
    case "client_credentials":
      return tokens(
        site,
        site.grants.issueToClient(form.get("client_id") ?? "client", scopes ?? [], now),
        now
      )
    case "urn:ietf:params:oauth:grant-type:device_code": {
      const polled = site.devices.poll(form.get("device_code") ?? "", now)
      return typeof polled === "string"
        ? error(400, polled)
        : tokens(site, site.grants.begin(undefined, polled, now), now)
    }
    default:
      return error(400, "unsupported_grant_type")
  }
}

const tokens = (site: Site, pair: Pair, now: number): Reply =>
  json(200, {
    access_token: pair.accessToken,
    token_type: "Bearer",
    expires_in: Math.max(0, Math.floor((pair.obtainedAt + site.toldLifetime - now) / 1000)),
    refresh_token: pair.refreshToken,
    scope: pair.scopes.length === 0 ? undefined : pair.scopes.join(" ")
  })

const posts = {
  token,
  /** RFC 7009 §2.2: an unknown token counts as revoked. */
  revocation: ({ grants }: Site, { form }: Incoming): Reply => {
    grants.revoke(form.get("token") ?? "")
    return { status: 200, headers: {}, body: "" }
  },
  introspection: ({ grants, skew }: Site, { form }: Incoming, now: number): Reply => {
    const asked = form.get("token") ?? ""
    const access = grants.accepted(asked, now)
    const family = grants.canRefresh(asked, now) ? grants.family(asked) : access?.family
    const { scopes, subject } = access ?? family ?? { scopes: [], subject: undefined }
    return json(200, {
      active: access !== undefined || family !== undefined,
      sub: subject,
      scope: subject === undefined ? undefined : scopes.join(" "),
      exp: access === undefined ? undefined : Math.floor((access.expiresAt + skew()) / 1000)
    })
  },
  device: ({ devices }: Site, { form }: Incoming, now: number): Reply => {
    const begun = devices.begin(form.get("scope")?.split(" ").filter(Boolean) ?? [], now)
    return json(200, {
      device_code: begun.deviceCode,
      user_code: begun.userCode,
      verification_uri: verificationUri,
      verification_uri_complete: `${verificationUri}?user_code=${begun.userCode}`,
      expires_in: begun.expiresIn,
      interval: begun.interval
    })
  }
}

/** RFC 6750 §3: without a token there is no error code; with a bad one it is `invalid_token`. */
const protectedBy = (
  { grants }: Site,
  request: Incoming,
  now: number,
  body: (access: AccessToken) => Readonly<Record<string, unknown>>
): Reply => {
  const [scheme = "", value = ""] = (request.headers["authorization"] ?? "").split(" ", 2)
  const access = scheme.toLowerCase() === "bearer" ? grants.accepted(value, now) : undefined
  if (access !== undefined) return json(200, body(access))
  const challenge = value === "" ? "Bearer" : 'Bearer error="invalid_token"'
  return { ...error(401, "invalid_token"), headers: { "www-authenticate": challenge } }
}
