import { describe, expect, it } from "@effect/vitest"
import { Credentials } from "@latchkey/core"
import { ErrorRule, RefreshToken } from "@latchkey/oauth"
import { Cause, Duration, Effect, FastCheck as fc, Option, Redacted, TestClock } from "effect"
import { inspect } from "node:util"
import { answering, type Reply } from "./Memory.js"
import { quote, withoutSecrets } from "../src/internal/text.js"

const now = 1_700_000_000_000

const previous = Credentials.make({
  accessToken: "canary-old-access",
  refreshToken: "canary-old-refresh",
  tokenType: "Bearer",
  scopes: ["read", "write"],
  accountId: "alice",
  expiresAt: now + 1000,
  extras: { kept: "yes" }
})

const good = {
  access_token: "canary-new-access",
  token_type: "Bearer",
  expires_in: 3600,
  refresh_token: "canary-new-refresh"
}

const options: RefreshToken.Options = {
  server: { tokenEndpoint: "https://auth.example.com/token" },
  client: { clientId: "client" },
  accountId: (response) =>
    Option.filter(Option.fromNullable(response["account"]), (a) => typeof a === "string")
}

const exchange = (reply: Reply, more: Partial<RefreshToken.Options> = {}) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(now)
    const refresher = yield* RefreshToken.make({ ...options, ...more })
    return yield* refresher.refresh(Option.some(previous))
  }).pipe(Effect.provide(answering(reply).layer))

const refused = (reply: Reply, more: Partial<RefreshToken.Options> = {}) =>
  Effect.map(Effect.flip(exchange(reply, more)), (error) => {
    if (error._tag !== "RefreshError") throw new Error(`not sent: ${error.message}`)
    const shown = [
      error.message,
      JSON.stringify(error),
      inspect(error, { depth: 20 }),
      Cause.pretty(Cause.fail(error))
    ]
    for (const text of shown) expect(text).not.toContain("canary")
    return error
  })

const refreshTokenOf = (credentials: Credentials.Credentials | undefined) =>
  credentials && Option.getOrNull(Option.map(credentials.refreshToken, Redacted.value))

/** With what forms, URLs and others write in other ways. */
const sent = "r~1/se+cr.et_A-b~2/se+cr.et_A-b"

describe("a bad answer to a refresh: a typed error, and the new refresh token is saved", () => {
  const without = (name: keyof typeof good) => {
    const { [name]: _, ...rest } = good
    return rest
  }
  it.effect.each<readonly [string, unknown, string]>([
    ["19 no access_token", without("access_token"), "access_token is missing"],
    ["20 access_token a number", { ...good, access_token: 12 }, "access_token is a number"],
    ["20 access_token null", { ...good, access_token: null }, "access_token is null"],
    [
      "21 a token with CR and LF",
      { ...good, access_token: "canary\r\nX: y" },
      "access_token has a control character"
    ],
    ["21 a token with NUL", { ...good, access_token: "canary\0" }, "access_token has a control character"],
    ["22 no token_type", without("token_type"), "token_type is missing"],
    ["22 a token_type not understood", { ...good, token_type: "mac" }, "token_type is not one"],
    ["22 DPoP where no proof was given", { ...good, token_type: "DPoP" }, "token_type is not one"],
    ["30 another account", { ...good, account: "mallory" }, "another account"],
    ["32 a 200 with error", { ...good, error: "server_error" }, "holds the error server_error"],
    [
      "32 a 200 with invalid_grant",
      { error: "invalid_grant", refresh_token: good.refresh_token },
      "invalid_grant"
    ],
    ["33 over 1 MiB", { ...good, filler: "x".repeat(2 ** 20) }, "broke off"],
    [
      "33 nested 10,000 deep",
      `${JSON.stringify(good).slice(0, -1)},"a":${"[".repeat(10_000)}${"]".repeat(10_000)}}`,
      "nested too deeply"
    ],
    ["cut off", `{"refresh_token":"${good.refresh_token}","access_tok`, "is not JSON"],
    ["in an array", [good], "not an object"],
    ["after a warning", `<b>Warning</b>: {x} in /srv/a.php\n${JSON.stringify(good)}`, "is not JSON"],
    ["trailing data", `${JSON.stringify(good)} trailing`, "is not JSON"]
  ])("%s", ([, body, problem]) =>
    Effect.gen(function* () {
      const error = yield* refused({ body })
      expect(error.reason).toBe("Malformed")
      expect(error.status).toBe(200)
      expect(error.message).toContain(problem)
      expect(error.message).toContain("https://auth.example.com/token")
      expect(refreshTokenOf(error.salvaged)).toBe("canary-new-refresh")
      expect(Credentials.sameAccessToken(error.salvaged!, previous)).toBe(true)
      expect(error.salvaged!.scopes).toEqual(previous.scopes)
    })
  )

  const nested = (response: Readonly<Record<string, unknown>>) =>
    (response["user"] as { readonly id: string }).id
  it.effect.each<readonly [string, Partial<RefreshToken.Options>]>([
    ["accountId", { accountId: (response) => Option.some(nested(response)) }],
    ["adapt", { adapt: (response) => ({ ...response, scope: nested(response) }) }]
  ])("that the %s of the settings cannot read", ([setting, more]) =>
    Effect.gen(function* () {
      const error = yield* refused({ body: good }, more)
      expect(error.reason).toBe("Malformed")
      expect(error.message).toContain(setting)
      expect(refreshTokenOf(error.salvaged)).toBe("canary-new-refresh")
    })
  )

  it.effect.each<readonly [string, object, string]>([
    ["21 an id_token with LF", { id_token: "canary\n" }, "id_token"],
    ["23 expires_in soon", { expires_in: "soon" }, "expires_in"],
    ["24 expires_in 3600abc", { expires_in: "3600abc" }, "expires_in"],
    ["25 expires_in negative", { expires_in: -1 }, "expires_in"],
    ["26 expires_in 1e308", { expires_in: 1e308 }, "expires_in"],
    ["27 expires_in null", { expires_in: null }, "expires_in"],
    ["28 expires_in an epoch", { expires_in: 1_700_003_600 }, "expires_in"],
    ["a scope that is a number", { scope: 7 }, "scope"]
  ])("%s: the tokens are used, with a warning (F9)", ([, fields, warned]) =>
    Effect.gen(function* () {
      const brought = yield* exchange({ body: { ...good, ...fields } })
      expect(refreshTokenOf(brought)).toBe("canary-new-refresh")
      expect(Credentials.warnings(brought).map(({ field }) => field)).toEqual([warned])
      if (warned === "expires_in") expect(brought.expiresAt).toEqual(Option.none())
    })
  )

  it.effect("whose tokens are where only the settings know", () =>
    Effect.gen(function* () {
      const adapt: RefreshToken.Options["adapt"] = ({ user }) => user as typeof good
      const brought = yield* exchange({ body: { user: good } }, { adapt })
      expect(refreshTokenOf(brought)).toBe("canary-new-refresh")
      const error = yield* refused({ body: { user: { ...good, token_type: "mac" } } }, { adapt })
      expect(error.reason).toBe("Malformed")
      expect(refreshTokenOf(error.salvaged)).toBe("canary-new-refresh")
    })
  )

  const json = JSON.stringify(good)
  const form =
    "access_token=canary-new-access&expires_in=3600&token_type=soon&refresh_token=canary-new-refresh"
  const types = [
    "text/plain",
    "text/html; charset=utf-8",
    "application/octet-stream",
    "application/json",
    "application/x-www-form-urlencoded",
    "text/xml; charset=iso-8859-1",
    "nonsense",
    ""
  ]
  const bodies: ReadonlyArray<readonly [string, string | Uint8Array]> = [
    ["a form with a wrong token type", form],
    ["a form with nothing but a refresh token", "refresh_token=canary-new-refresh"],
    ["a form of a URL's fragment", `#${form}`],
    ["a form after blank lines", `\r\n\r\n${form}\r\n`],
    ["a form escaped for HTML", form.replaceAll("&", "&amp;")],
    ["a form, a pair a line", form.replaceAll("&", "\r\n")],
    ["a form with a stray bracket", `${form.replace("soon", "<soon>")}`],
    ["JSON behind a guard", `)]}',\n${json}`],
    ["JSON in a callback", `/**/callback(${json});`],
    ["JSON as a string of JSON", JSON.stringify(json)],
    ["JSON in a page", `<pre>${json.replaceAll('"', "&quot;")}</pre>`],
    ["an event stream", `data: ${json}\n\n`],
    ["JSON with NULs after it", `${json}\0\0`]
  ]
  it.effect.each(bodies.flatMap(([name, body]) => types.map((type) => [name, type, body] as const)))(
    "%s, sent as %s (F8)",
    ([, type, body]) =>
      Effect.gen(function* () {
        const error = yield* refused({ headers: { "content-type": type }, body })
        expect(error.reason).toBe("Malformed")
        expect(refreshTokenOf(error.salvaged)).toBe("canary-new-refresh")
      })
  )

  it.effect("but not the half of a token of a form that was cut off", () =>
    Effect.gen(function* () {
      const filler = "x".repeat(2 ** 20 - 25)
      const half = yield* refused({ body: `state=${filler}&refresh_token=canary-new-refresh` })
      expect(half.salvaged).toBeUndefined()
      const whole = yield* refused({ body: `refresh_token=canary-new-refresh&state=${filler}` })
      expect(refreshTokenOf(whole.salvaged)).toBe("canary-new-refresh")
    })
  )

  it.effect("a plus sign of a form that nobody declared belongs to the token", () =>
    Effect.gen(function* () {
      const headers = { "content-type": "text/plain" }
      const error = yield* refused({ headers, body: "token_type=mac&refresh_token=a+b%2Fc%3D=&x=1" })
      expect(refreshTokenOf(error.salvaged)).toBe("a+b/c==")
    })
  )

  it.effect.each<readonly [string, Reply, string]>([
    [
      "31 HTML with 200",
      { headers: { "content-type": "text/html" }, body: "<html>canary</html>" },
      "is not JSON but text/html"
    ],
    ["empty", { body: "" }, "is empty"],
    ["204", { status: 204 }, "is empty"],
    [
      "a refresh token with NUL",
      { body: { ...good, refresh_token: "canary\0" } },
      "refresh_token has a control character"
    ],
    [
      "the word undefined",
      { body: { ...good, refresh_token: "undefined" } },
      'refresh_token is the word "undefined"'
    ],
    [
      "a refresh token that is a number",
      { body: { ...good, refresh_token: 7 } },
      "refresh_token is a number"
    ],
    ["only in an inner object", { body: { data: good } }, "access_token is missing"]
  ])("nothing to save: %s", ([, reply, problem]) =>
    Effect.gen(function* () {
      const error = yield* refused(reply)
      expect(error.reason).toBe("Malformed")
      expect(error.message).toContain(problem)
      expect(error.salvaged).toBeUndefined()
    })
  )
})

describe("what is accepted", () => {
  const form =
    "access_token=canary-new-access&token_type=bearer&refresh_token=canary-new-refresh&expires_in=3600"
  const utf16 = (text: string, isSwapped = false): Uint8Array => {
    const bytes = Buffer.from(text, "utf16le")
    return new Uint8Array(isSwapped ? bytes.swap16() : bytes)
  }

  it.effect("29 an empty refresh_token keeps the old one", () =>
    Effect.gen(function* () {
      const credentials = yield* exchange({ body: { ...good, refresh_token: "" } })
      expect(refreshTokenOf(credentials)).toBe("canary-old-refresh")
    })
  )

  it.effect("an omitted one too; the account, the scopes and the unknown fields stay", () =>
    Effect.gen(function* () {
      const { refresh_token: _, ...rest } = good
      const credentials = yield* exchange({ body: { ...rest, tier: 3 } })
      expect(refreshTokenOf(credentials)).toBe("canary-old-refresh")
      expect(credentials.accountId).toEqual(Option.some("alice"))
      expect(credentials.scopes).toEqual(["read", "write"])
      expect(Redacted.value(credentials.extras)).toEqual({ kept: "yes", tier: 3 })
    })
  )

  it.effect("a lifetime as text; an absent one is unknown", () =>
    Effect.gen(function* () {
      const text = yield* exchange({ body: { ...good, expires_in: "3600" } })
      expect(text.expiresAt).toEqual(Option.some(now + 3_600_000))
      const { expires_in: _, ...rest } = good
      expect((yield* exchange({ body: rest })).expiresAt).toEqual(Option.none())
    })
  )

  it.effect.each<readonly [string, Reply]>([
    ["any case of token_type", { body: { ...good, token_type: "bEARER" } }],
    ["201", { status: 201, body: good }],
    ["another content type", { headers: { "content-type": "text/plain" }, body: JSON.stringify(good) }],
    ["a byte order mark", { body: `\ufeff${JSON.stringify(good)}` }],
    [
      "a form",
      {
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: form
      }
    ],
    ...["text/plain", "text/html", "application/octet-stream", "application/json", ""].map(
      (type): readonly [string, Reply] => [
        `a form sent as ${JSON.stringify(type)} (F8)`,
        { headers: { "content-type": type }, body: form }
      ]
    ),
    ["UTF-16 with a byte order mark", { body: utf16(`\ufeff${JSON.stringify(good)}`) }],
    ["UTF-16", { body: utf16(JSON.stringify(good)) }],
    [
      "UTF-16, high bytes first, with a byte order mark",
      { body: utf16(`\ufeff${JSON.stringify(good)}`, true) }
    ],
    ["UTF-16, high bytes first", { body: utf16(JSON.stringify(good), true) }],
    ["a form in UTF-16", { headers: { "content-type": "text/plain;charset=utf-16" }, body: utf16(form) }]
  ])("%s", ([, reply]) =>
    Effect.gen(function* () {
      const credentials = yield* exchange(reply)
      expect(refreshTokenOf(credentials)).toBe("canary-new-refresh")
      expect(credentials.expiresAt).toEqual(Option.some(now + 3_600_000))
    })
  )
})

describe("an error answer is sorted", () => {
  const oauth = (error: unknown, more: object = {}): Reply => ({ status: 400, body: { error, ...more } })
  it.effect.each<readonly [string, Reply, string]>([
    ["invalid_grant", oauth("invalid_grant"), "GrantDead"],
    ["invalid_grant with 401", { ...oauth("invalid_grant"), status: 401 }, "GrantDead"],
    ["invalid_grant in a 200", { ...oauth("invalid_grant"), status: 200 }, "GrantDead"],
    [
      "a code that the server is known for",
      oauth({ code: "refresh_token_reused", message: "used" }),
      "GrantDead"
    ],
    ["invalid_grant with 500", { ...oauth("invalid_grant"), status: 500 }, "Transient"],
    ["invalid_client", { ...oauth("invalid_client"), status: 401 }, "Misconfigured"],
    ["unauthorized_client", oauth("unauthorized_client"), "Misconfigured"],
    ["invalid_scope", oauth("invalid_scope"), "Misconfigured"],
    ["invalid_request", oauth("invalid_request"), "Misconfigured"],
    ["unsupported_grant_type", oauth("unsupported_grant_type"), "Misconfigured"],
    ["invalid_target", oauth("invalid_target"), "Misconfigured"],
    ["a code that nobody knows", oauth("grue_in_the_dark"), "Misconfigured"],
    ["404 in HTML", { status: 404, body: "<html>" }, "Misconfigured"],
    ["temporarily_unavailable", oauth("temporarily_unavailable"), "Transient"],
    ["server_error with 400", oauth("server_error"), "Transient"],
    ["slow_down", oauth("slow_down"), "Transient"],
    ["429", { status: 429, body: "" }, "Transient"],
    ["429 with a code", { ...oauth("rate_limit_error"), status: 429 }, "Transient"],
    ["408", { status: 408, body: "" }, "Transient"],
    ["503 with a code", { ...oauth("temporarily_unavailable"), status: 503 }, "Transient"],
    ["500 with a code", { ...oauth("server_error"), status: 500 }, "Transient"],
    ["500 in HTML", { status: 500, body: "<html>" }, "MaybeSent"],
    ["502 of a proxy", { status: 502, body: "Bad gateway" }, "MaybeSent"],
    ["504 of a proxy", { status: 504, body: "" }, "MaybeSent"]
  ])("%s", ([, reply, reason]) =>
    Effect.gen(function* () {
      const error = yield* refused(reply, { deadCodes: ["refresh_token_reused"] })
      expect(error.reason).toBe(reason)
      expect(error.status).toBe(reply.status)
      expect(error.salvaged).toBeUndefined()
    })
  )

  it.effect.each([
    ["interaction_required", { error_codes: [50076], suberror: "basic_action" }],
    ["login_required", {}],
    ["consent_required", {}],
    ["account_selection_required", {}],
    ["insufficient_user_authentication", {}],
    ["mfa_required", {}]
  ] as const)("%s asks for a login (F27)", ([code, more]) =>
    Effect.gen(function* () {
      const error = yield* refused(oauth(code, more))
      expect(error).toMatchObject({ reason: "GrantDead", oauthError: code })
      expect(error.message).toContain("log in again")
    })
  )

  const rules = ErrorRule.matching([
    { means: "dead", status: [400], path: ["status"], values: ["BAD_REFRESH_TOKEN", "7"] },
    { means: "dead", path: ["error", "info", "code"], values: ["token_expired"] },
    { means: "dead", path: ["errors", "code"], values: ["50173"] },
    { means: "dead", path: ["ok"], values: ["false"] },
    { means: "dead", status: [400, 401], contains: "session is gone" },
    { means: "transient", status: [404] },
    { means: "misconfigured", path: ["blocked"] },
    { means: "dead" },
    { means: "dead", contains: "" }
  ])
  it.effect.each<readonly [string, Reply, string]>([
    ["a field", { status: 400, body: { status: "BAD_REFRESH_TOKEN" } }, "GrantDead"],
    ["a field that is a number", { status: 400, body: { status: 7 } }, "GrantDead"],
    ["a field with another status", { status: 403, body: { status: "BAD_REFRESH_TOKEN" } }, "Misconfigured"],
    ["a field with another value", { status: 400, body: { status: "BAD_CLIENT" } }, "Misconfigured"],
    ["a nested field", { status: 401, body: { error: { info: { code: "token_expired" } } } }, "GrantDead"],
    ["a field in an array", { status: 400, body: { errors: [{ code: 1 }, { code: 50173 }] } }, "GrantDead"],
    ["a field of a 500", { status: 500, body: { errors: [{ code: 50173 }] } }, "GrantDead"],
    ["a 200", { body: { ok: false, error: "invalid_refresh_token" } }, "GrantDead"],
    ["a 200 without an error", { body: { ok: false } }, "GrantDead"],
    ["a text", { status: 401, body: "Your session is gone." }, "GrantDead"],
    ["a status alone", { status: 404, body: { error: "invalid_grant" } }, "Transient"],
    [
      "a field that is there",
      { status: 400, body: { error: "invalid_grant", blocked: true } },
      "Misconfigured"
    ],
    ["a field that is null", { status: 400, body: { error: "invalid_grant", blocked: null } }, "GrantDead"],
    ["nothing", { status: 400, body: { error: "invalid_grant" } }, "GrantDead"],
    ["nothing, in a page", { status: 400, body: "<html>BAD_REFRESH_TOKEN</html>" }, "Misconfigured"]
  ])("rules of the settings are asked first: %s (F22)", ([, reply, reason]) =>
    Effect.gen(function* () {
      expect((yield* refused(reply, { adaptError: rules })).reason).toBe(reason)
    })
  )

  it.effect(
    "so is a function, whose words are shown like the server's; one that fails says nothing (F22)",
    () =>
      Effect.gen(function* () {
        const reply = { status: 418, headers: { "x-why": "asleep" }, body: "canary" }
        const error = yield* refused(reply, {
          adaptError: ({ headers, status, text }) =>
            Option.some({
              means: status === 418 ? "transient" : "dead",
              code: `${headers["x-why"]}\n`,
              description: `${text}-old-refresh`
            })
        })
        expect(error).toMatchObject({ reason: "Transient", oauthError: "asleep\\u000a", status: 418 })
        expect(error.message).toContain("(<redacted>)")
        const adaptError = () => {
          throw new Error("canary")
        }
        expect((yield* refused(oauth("invalid_grant"), { adaptError })).reason).toBe("GrantDead")
      })
  )

  it.effect(
    "a success with tokens is no error, whatever the rules say; a rotation in an error is saved",
    () =>
      Effect.gen(function* () {
        const credentials = yield* exchange({ body: { ...good, ok: false } }, { adaptError: rules })
        expect(refreshTokenOf(credentials)).toBe("canary-new-refresh")
        const body = { ok: false, refresh_token: good.refresh_token }
        const error = yield* refused({ body }, { adaptError: rules })
        expect(error.reason).toBe("Malformed")
        expect(refreshTokenOf(error.salvaged)).toBe("canary-new-refresh")
      })
  )

  it.effect.each<readonly [string, unknown, string]>([
    ["a message", { message: "No access to Copilot" }, "(No access to Copilot)"],
    ["a description", { error_description: "No seat" }, "(No seat)"],
    ["a problem (RFC 9457)", { type: "about:blank", title: "Forbidden", detail: "No seat" }, "(No seat)"],
    ["a title alone", { title: "Forbidden" }, "(Forbidden)"],
    ["an inner message", { error: { code: 403, message: "No seat" } }, "(No seat)"],
    ["the first of several", { errors: [{ message: "No seat" }, { message: "2" }] }, "(No seat)"],
    ["a word", { status: "NO_SEAT" }, "(NO_SEAT)"],
    ["beside a code", { error: "no_seat", message: "Buy one" }, "no_seat (Buy one)"],
    ["plain text", "  No access to Copilot\n", "(No access to Copilot)"],
    ["with control characters", { message: "No\u001b[2J\u202eseat" }, "(No\\u001b[2J\\u202eseat)"],
    ["too long", { message: "No ".repeat(200) }, "…)"],
    ["with our token", { message: "no such canary-old-refresh here" }, "(no such <redacted> here)"],
    [
      "a page",
      "<!doctype html><title>canary</title>",
      "without an OAuth error: check that this is the right"
    ],
    [
      "a page after a comment",
      "\n<!-- x --><HTML>canary",
      "without an OAuth error: check that this is the right"
    ],
    ["nothing", "", "without an OAuth error: check that this is the right"],
    ["nothing to read", [[[[["canary"]]]]], "without an OAuth error: check that this is the right"]
  ])("the server's reason is shown: %s (F21)", ([, body, shown]) =>
    Effect.gen(function* () {
      const error = yield* refused({ status: 403, body })
      expect(error.reason).toBe("Misconfigured")
      expect(error.message).toContain(shown)
      expect(error.message.length).toBeLessThan(500)
    })
  )

  it.effect("the server's own words are cut, escaped and stripped of what looks like a token", () =>
    Effect.gen(function* () {
      const error = yield* refused(
        oauth("invalid_client\u001b[31m", {
          error_description: `\r\nsecond line \u202e ${"word ".repeat(200)} canary-old-refresh`
        })
      )
      expect(error.oauthError).toBe("invalid_client\\u001b[31m")
      expect(error.message).toContain("\\u000d\\u000asecond line \\u202e word")
      expect(error.message.length).toBeLessThan(500)
      expect(error.message).toMatch(/^[\x20-\x7e…]*$/)

      const long = yield* refused(oauth("x", { error_description: `no ${"A1b2".repeat(20)} here` }))
      expect(long.message).toContain("(no <redacted> here)")
    })
  )

  it.each([
    ["as it was sent", sent],
    ["as a form has it", new URLSearchParams({ s: sent }).toString().slice(2)],
    ["as a URL has it", encodeURIComponent(sent)],
    ["in part", sent.slice(5, 20)],
    ["twice, the second one in part", `${sent} ${sent.slice(0, 14)}`]
  ])("a secret that comes back is masked: %s", (_, echoed) => {
    const said = quote(`token=${echoed}&scope=openid`, [sent])
    for (let at = 0; at + 12 <= echoed.length; at++) expect(said).not.toContain(echoed.slice(at, at + 12))
    expect(said).toContain("<redacted>")
    expect(said).toMatch(/&scope=openid$/)
  })

  const whole = "canary-refresh-token"
  it.each([
    ["a secret in another", `no ${whole} here`, [whole.slice(0, 14), whole], "no <redacted> here"],
    ["the same, the longer one first", `no ${whole} here`, [whole, whole.slice(0, 14)], "no <redacted> here"],
    ["two that overlap", "no abcdefghijkl here", ["abcdefghi", "efghijkl"], "no <redacted> here"],
    ["a part of the mask", `no ${whole} here`, [whole, "redacted"], "no <redacted> here"],
    ["the mask itself", `no ${whole} here`, ["<redacted>", whole], "no <redacted> here"],
    ["what is too short to be a secret", "invalid_token", ["a", "token", "inval"], "invalid_token"],
    ["a short one beside another", `invalid ${whole}`, ["red", "a", "d", whole], "invalid <redacted>"],
    ["6 characters", "no s3cr3t here", ["s3cr3t"], "no <redacted> here"],
    ["in a URL, in lower case", "no a%2fb%2bc/d here", ["a/b+c/d!"], "no a%2fb%2bc/d here"],
    ["encoded in lower case", "no a%2fb%2bc%2fd-e here", ["a/b+c/d-e"], "no <redacted> here"]
  ])("one pass masks each secret once: %s (F47)", (_, text, secrets, said) => {
    expect(quote(text, secrets)).toBe(said)
  })

  it.each([0, 1, 2])("in base64, wherever it begins: after %d bytes (F53)", (before) => {
    const text = Buffer.from("x".repeat(before) + whole).toString("base64")
    const masked = withoutSecrets(`Basic ${text} and more`, [whole])
    expect(masked).toMatch(/^Basic .{0,3}<redacted>.{0,3} and more$/)
  })

  it.each(["aB3/dE6/gH9/jK2/mN5/pQ8/sT1/vW4", `${"abcDEF123".repeat(3)}/${"abcDEF123".repeat(2)}`])(
    "what looks like one is masked, though nobody sent it: %s",
    (token) => expect(quote(`error ${token}.`, [])).toMatch(/^error <redacted>\.?$/)
  )

  it("a URL in prose stays", () => {
    const said = "see https://login.example.com/oauth2/v2.0/authorize/help for more"
    expect(quote(said, [])).toBe(said)
  })

  it.effect.each<readonly [string, Record<string, string>, Duration.Duration | undefined]>([
    ["seconds", { "retry-after": "17" }, Duration.seconds(17)],
    ["zero", { "retry-after": "0" }, Duration.zero],
    [
      "a date, by the server's clock",
      { "retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", date: "Wed, 21 Oct 2015 07:28:00 GMT" },
      Duration.seconds(30)
    ],
    ["a date, by ours", { "retry-after": new Date(now + 5000).toUTCString() }, Duration.seconds(5)],
    ["a date in the past", { "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT" }, Duration.zero],
    ["nonsense", { "retry-after": "in a while" }, undefined],
    ["negative", { "retry-after": "-5" }, undefined],
    ["none", {}, undefined]
  ])("Retry-After: %s", ([, headers, expected]) =>
    Effect.gen(function* () {
      const error = yield* refused({ status: 429, headers, body: "" })
      expect(error.retryAfter).toEqual(expected)
    })
  )
})

/** LATCHKEY_ANSWERS says how many; `npm run campaign -- fuzz` has as many as wanted through the whole manager. */
describe("fuzzed answers that hold a usable refresh token", () => {
  const seed = Number(process.env["SEED"] ?? Date.now() % 2 ** 31)
  const runs = Number(process.env["LATCHKEY_ANSWERS"] ?? 1000)

  const token = fc
    .array(fc.integer({ min: 0x21, max: 0x7e }), { minLength: 1, maxLength: 40 })
    .map((codes) => String.fromCharCode(...codes))
    .filter((text) => Option.isNone(Credentials.tokenProblem(text)))
  const anything = fc.oneof(
    fc.constantFrom<unknown>("Bearer", "DPoP", "soon", "3600abc", -1, 1e308, 3600, "", null, true, [], {}),
    fc.string({ maxLength: 20 }),
    fc.jsonValue({ maxDepth: 2 })
  )
  const mostly = (arbitrary: fc.Arbitrary<unknown>) =>
    fc.oneof({ arbitrary, weight: 6 }, { arbitrary: anything, weight: 1 })
  const fields = fc
    .tuple(
      fc.record(
        {
          access_token: mostly(token),
          token_type: mostly(fc.constantFrom("Bearer", "bearer")),
          expires_in: mostly(fc.constantFrom(3600, "3600", 0)),
          scope: mostly(fc.constantFrom("a b", "")),
          id_token: mostly(token),
          account: mostly(fc.constant("alice"))
        },
        { requiredKeys: ["access_token", "token_type"] }
      ),
      fc.dictionary(
        fc.oneof(fc.constantFrom("error", "dpop_jwk", "__proto__", "toString"), fc.string({ maxLength: 12 })),
        anything,
        { maxKeys: 2 }
      )
    )
    .map(([first, second]) => ({ ...first, ...second }))
  const spoil = fc.constantFrom(
    "no",
    "no",
    "no",
    "no",
    "trailing",
    "unclosed",
    "comma",
    "before-bom",
    "html-type",
    "form-type",
    "warning",
    "array"
  )
  const answer = fc.record({
    token,
    fields,
    front: fc.boolean(),
    spoil,
    status: fc.constantFrom(200, 200, 201, 203)
  })

  const write = (given: {
    token: string
    fields: Record<string, unknown>
    front: boolean
    spoil: string
  }) => {
    // The member is written by hand among the others, so that none of them can take its place.
    const others = Object.entries(given.fields)
      .filter(([name, value]) => name !== "refresh_token" && value !== undefined)
      .map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`)
    const member = `"refresh_token" : ${JSON.stringify(given.token)}`
    const members = given.front ? [member, ...others] : [...others, member]
    const body = `{${members.join(",")}`
    switch (given.spoil) {
      case "trailing":
        return `${body}} <!-- served by proxy -->`
      case "unclosed":
        return body
      case "warning":
        return `)]}'\n<b>Notice</b>: undefined {$x}\n${body}}`
      case "array":
        return `[${body}}]`
      case "comma":
        return `${body},}`
      case "before-bom":
        return `\ufeff${body}}`
      default:
        return `${body}}`
    }
  }

  it.live(
    `are all saved, ${runs} of ${runs} (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        const tally = { accepted: 0, salvaged: 0 }
        let reply: Reply = {}
        const { layer } = answering(() => reply)
        const refresher = yield* Effect.provide(RefreshToken.make(options), layer)
        for (const given of fc.sample(answer, { numRuns: runs, seed })) {
          reply = {
            status: given.status,
            headers: {
              "content-length": "0",
              ...(given.spoil === "html-type" && { "content-type": "text/html" }),
              ...(given.spoil === "form-type" && { "content-type": "application/x-www-form-urlencoded" })
            },
            body: write(given)
          }
          const outcome = yield* Effect.either(refresher.refresh(Option.some(previous)))
          const saved = outcome._tag === "Right" ? outcome.right : outcome.left.salvaged
          if (refreshTokenOf(saved) !== given.token) {
            throw new Error(`lost, with seed ${seed}: ${String(reply.body)}: ${inspect(outcome)}`)
          }
          tally[outcome._tag === "Right" ? "accepted" : "salvaged"]++
        }
        expect(tally.accepted + tally.salvaged).toBe(runs)
        expect(tally.accepted).toBeGreaterThan(runs / 20)
        expect(tally.salvaged).toBeGreaterThan(runs / 20)
      }),
    86_400_000
  )
})
