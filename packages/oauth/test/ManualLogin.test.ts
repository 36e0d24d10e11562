import { describe, expect, it } from "@effect/vitest"
import { ManualLogin } from "@latchkey/oauth"
import { Effect, FastCheck, Redacted } from "effect"
import { inspect } from "node:util"
import { answering } from "./Memory.js"
import * as Properties from "../../core/test/support/Properties.js"

const redirectUri = "https://console.example.com/oauth/code/callback"

/** Logs in with what a user pastes who was sent to a URL with this state. */
const pasting = (
  paste: (state: string, url: URL) => string | Redacted.Redacted,
  over: Partial<ManualLogin.Options> = {}
) => {
  const { asked, layer } = answering({ body: { access_token: "at-1", token_type: "bearer" } })
  const login = Effect.provide(
    ManualLogin.login({
      server: {
        authorizationEndpoint: "https://example.com/authorize",
        tokenEndpoint: "https://example.com/token"
      },
      client: { clientId: "the-client" },
      redirectUri,
      ask: (url) => Effect.sync(() => paste(url.searchParams.get("state")!, url)),
      ...over
    }),
    layer
  )
  return { asked, login }
}

/** What a code may hold (RFC 6749 §A.11), without spaces; quotes around it are taken for a quotation. */
const code = FastCheck.string({
  unit: FastCheck.integer({ min: 0x21, max: 0x7e }).map((c) => String.fromCharCode(c)),
  minLength: 1
}).filter((text) => !/^["'`<]|["'`>]$/.test(text))

describe("what is pasted", () => {
  it.effect.each<readonly [string, (state: string) => string | Redacted.Redacted]>([
    ["the URL of the answer", (state) => `${redirectUri}?code=the-code&state=${state}`],
    [
      "the URL, in brackets and wrapped by a terminal",
      (state) => `  <${redirectUri}?code=the-\n  code&state=${state}>\n`
    ],
    ["the URL's query", (state) => `?code=the-code&state=${state}`],
    ["a code and the state", (state) => `the-code#${state}`],
    ["a code and the state, as a secret", (state) => Redacted.make(`the-code#${state}`)],
    ["a bare code", () => "the-code"],
    ["a bare code in quotes", () => '"the-code"\r\n']
  ])("may be %s", ([, paste]) =>
    Effect.gen(function* () {
      const { asked, login } = pasting(paste)
      const credentials = yield* login
      expect(Redacted.value(credentials.accessToken)).toBe("at-1")
      const sent = new URLSearchParams(asked[0]!.body)
      expect(sent.get("code")).toBe("the-code")
      expect(sent.get("redirect_uri")).toBe(redirectUri)
      expect(sent.get("code_verifier")).toMatch(/^[\w-]{43}$/)
    })
  )

  const google = "4/0Ab-c_d.e~f+g="
  const encoded = "4%2F0Ab-c_d.e~f%2Bg%3D"
  it.effect.each<readonly [string, (state: string) => string, string]>([
    ["an encoded code", () => encoded, google],
    ["one in lower case", () => encoded.toLowerCase(), google.toLowerCase()],
    ["one that is partly encoded", () => "4/0Ab%2Bg", "4/0Ab+g"],
    [
      "one with whitespace around and in it",
      () => ` \t${encoded.slice(0, 5)}\n  ${encoded.slice(5)} \r\n`,
      google
    ],
    ["one in quotes", () => `'${encoded}'`, google],
    ["one in backticks", () => `\`${encoded}\``, google],
    ["one in curly quotes", () => `“${encoded}”`, google],
    ["one with a state", (state) => `${encoded}#${state}`, google],
    ["one with a state, all of it encoded", (state) => `${encoded}%23${state}`, google],
    ["one in a query", (state) => `code=${encoded}&state=${state}`, google],
    ["one in a query that was escaped for a page", (state) => `?code=${encoded}&amp;state=${state}`, google],
    ["one in a query with a fragment", (state) => `?code=${encoded}&state=${state}#_=_`, google],
    ["one in the URL", (state) => `${redirectUri}?state=${state}&code=${encoded}`, google],
    ["one in the URL with a fragment", (state) => `${redirectUri}?state=${state}&code=${encoded}#`, google],
    ["one in a URL that is encoded", (s) => encodeURIComponent(`${redirectUri}?state=${s}&code=c-1`), "c-1"],
    ["a plain plus in the URL", (state) => `${redirectUri}?state=${state}&code=a+b`, "a+b"],
    ["a plain plus", () => "a+b/c=", "a+b/c="],
    ["one that was encoded twice, once", () => "4%252F0A", "4%2F0A"],
    ["a code with a percent sign", () => "100%", "100%"],
    ["a code with a percent sign and no hex digits", () => "a%zz%2", "a%zz%2"],
    ["a code with a percent sign beside what looks encoded", () => "a%2Fb%zz", "a%2Fb%zz"],
    ["a code in which no encoder wrote that", () => "a%41%2F", "a%41%2F"],
    ["what would decode to no text", () => "a%ff%2F", "a%ff%2F"],
    ["what would decode to a control character", () => "a%0d%0ab", "a%0d%0ab"],
    ["an encoded space", () => "a%20b", "a b"],
    ["what would decode to a letter that no code has", () => "a%C3%A9b", "a%C3%A9b"]
  ])("is sent as the server gave it: %s (F32)", ([, paste, code]) =>
    Effect.gen(function* () {
      const { asked, login } = pasting(paste)
      yield* login
      expect(asked.map(({ body }) => new URLSearchParams(body).get("code"))).toEqual([code])
    })
  )

  Properties.propEffect("any code comes through, bare, encoded, and in a URL", [code], ([given]) =>
    Effect.gen(function* () {
      const pastes: ReadonlyArray<(state: string) => string> = [
        () => encodeURIComponent(given),
        (state) => `${encodeURIComponent(given)}#${state}`,
        (state) => `${redirectUri}?${new URLSearchParams({ code: given, state })}`,
        (state) => `${redirectUri}?code=${encodeURIComponent(given)}&state=${state}`
      ]
      for (const paste of pastes) {
        const { asked, login } = pasting(paste)
        yield* login
        expect(new URLSearchParams(asked[0]!.body).get("code")).toBe(given)
      }
    })
  )

  it.effect.each<readonly [string, (state: string, url: URL) => string, string, string]>([
    ["nothing", () => " \n", "Cancelled", "Nothing was pasted"],
    ["a code with another state", () => "the-code#x", "StateMismatch", "another login"],
    ["a code with an empty state", () => "the-code#", "StateMismatch", "another login"],
    ["a URL with another state", () => `${redirectUri}?code=c&state=x`, "StateMismatch", "another login"],
    ["a URL without a state", () => `${redirectUri}?code=c`, "StateMismatch", "no state"],
    ["a denial", (state) => `${redirectUri}?error=access_denied&state=${state}`, "Denied", "denied"],
    ["the URL where it began", (_, url) => url.href, "Malformed", "where the login begins"],
    ["a URL elsewhere", (state) => `https://evil.example/?code=c&state=${state}`, "Malformed", redirectUri],
    ["the path of another", (state) => `${redirectUri}/x?code=c&state=${state}`, "Malformed", redirectUri],
    ["the URL without an answer", () => redirectUri, "Malformed", redirectUri],
    ["too many parts", () => "a#b#c", "Malformed", "not a code"],
    ["a state alone", (state) => `#${state}`, "Malformed", "not a code"],
    ["keys of the terminal", () => "\u001b[A\u001b[B", "Malformed", "neither a URL nor a code"],
    ["a book", () => "x".repeat(20_000), "Malformed", "neither a URL nor a code"]
  ])("%s is refused", ([, paste, reason, words]) =>
    Effect.gen(function* () {
      const { asked, login } = pasting(paste)
      const error = yield* Effect.flip(login)
      expect(error).toMatchObject({ _tag: "LoginError", reason })
      expect(error.message).toContain(words)
      expect(asked).toEqual([])
    })
  )

  it.effect("is not repeated in an error", () =>
    Effect.gen(function* () {
      const { login } = pasting((state) => `https://console.example.com/?code=secret-code&state=${state}`)
      const error = yield* Effect.flip(login)
      expect(`${inspect(error, { depth: 9 })}${JSON.stringify(error)}`).not.toContain("secret-code")
    })
  )
})

it.effect("leads to a loopback address unless told otherwise, where the address bar keeps the answer", () =>
  Effect.gen(function* () {
    const { asked, login } = pasting((state) => `http://127.0.0.1/callback?code=c&state=${state}`, {
      redirectUri: undefined
    })
    yield* login
    expect(new URLSearchParams(asked[0]!.body).get("redirect_uri")).toBe("http://127.0.0.1/callback")
  })
)

it.effect("ends with the failure of who was to ask", () =>
  Effect.gen(function* () {
    const { asked, layer } = answering({})
    const login = ManualLogin.login({
      server: { authorizationEndpoint: "https://example.com/a", tokenEndpoint: "https://example.com/t" },
      client: { clientId: "the-client" },
      ask: () => Effect.fail("no terminal" as const)
    })
    expect(yield* Effect.flip(Effect.provide(login, layer))).toBe("no terminal")
    expect(asked).toEqual([])
  })
)
