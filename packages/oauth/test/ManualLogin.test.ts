import { describe, expect, it } from "@effect/vitest"
import { ManualLogin } from "@latchkey/oauth"
import { Effect, Redacted } from "effect"
import { inspect } from "node:util"
import { answering } from "./Memory.js"

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
    ["too many parts", () => "a#b#c", "Malformed", "no code"],
    ["a state alone", (state) => `#${state}`, "Malformed", "no code"],
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
