import { HttpClient, HttpClientError, HttpClientResponse } from "@effect/platform"
import { describe, expect, it } from "@effect/vitest"
import type { Credentials } from "@latchkey/core"
import { DeviceLogin, type LoginError } from "@latchkey/oauth"
import { Clock, Effect, Exit, Fiber, Inspectable, Option, Redacted, TestClock } from "effect"

const start = 1_700_000_000_000

interface Reply {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: unknown
}

/** Not answered at all, or not within any time. */
type Silence = "refused" | "reset" | "never"

const device = (over: Record<string, unknown> = {}): Reply => ({
  body: {
    device_code: "dc-secret-1",
    user_code: "WDJB-MJHT",
    verification_uri: "https://example.com/device",
    verification_uri_complete: "https://example.com/device?user_code=WDJB-MJHT",
    expires_in: 1800,
    ...over
  }
})

const refusal = (error: string, over: Reply = {}): Reply => ({ status: 400, body: { error }, ...over })
const pending = refusal("authorization_pending")
const granted: Reply = {
  body: { access_token: "at-1", refresh_token: "rt-1", token_type: "bearer", expires_in: 3600, extra: "kept" }
}

/** A server that answers its device endpoint with `first` and each poll by the script. */
const bench = (first: Reply | Silence, polls: ReadonlyArray<Reply | Silence> = []) => {
  const asked: Array<{ readonly url: string; readonly body: URLSearchParams; readonly at: number }> = []
  const client = HttpClient.make((request, url) =>
    Effect.gen(function* () {
      const body = request.body._tag === "Uint8Array" ? new TextDecoder().decode(request.body.body) : ""
      const isPoll = url.pathname === "/token"
      const script = isPoll ? polls[asked.filter((a) => a.url.endsWith("/token")).length] : first
      asked.push({
        url: url.href,
        body: new URLSearchParams(body),
        at: (yield* Clock.currentTimeMillis) - start
      })
      if (script === "never") return yield* Effect.never
      if (script === undefined || typeof script === "string") {
        const code = script === "refused" ? "ECONNREFUSED" : "ECONNRESET"
        const cause = Object.assign(new Error(script), { code })
        return yield* new HttpClientError.RequestError({ request, reason: "Transport", cause })
      }
      const text = typeof script.body === "string" ? script.body : JSON.stringify(script.body)
      return HttpClientResponse.fromWeb(
        request,
        new Response(text, {
          status: script.status ?? 200,
          headers: { "content-type": "application/json", ...script.headers }
        })
      )
    })
  )
  return {
    client,
    asked,
    polledAt: () => asked.filter((a) => a.url.endsWith("/token")).map((a) => a.at)
  }
}

const options = {
  server: {
    tokenEndpoint: "https://example.com/token",
    deviceAuthorizationEndpoint: "https://example.com/device_authorization"
  },
  client: { clientId: "the-client" },
  scopes: ["read", "write"],
  prompt: () => Effect.void
}

/** Waits for what happens in real promises, until the clock is all that is waited for. */
const eventually = (what: string, condition: Effect.Effect<boolean>) =>
  Effect.gen(function* () {
    for (let turn = 0; turn < 10_000; turn++) {
      if (yield* condition) return
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    }
    return yield* Effect.dieMessage(`It did not come to this: ${what}.`)
  })

/**
 * Runs a login and moves the clock to each time at which something is due, one after the other; nothing
 * may happen a millisecond before.
 */
const through = <E>(
  login: Effect.Effect<Credentials.Credentials, E, HttpClient.HttpClient>,
  server: ReturnType<typeof bench>,
  times: ReadonlyArray<number>
) =>
  Effect.gen(function* () {
    yield* TestClock.setTime(start)
    const fiber = yield* Effect.fork(Effect.provideService(login, HttpClient.HttpClient, server.client))
    for (const time of times) {
      yield* eventually(
        `something is due at ${time}, after polls at ${server.polledAt()}`,
        Effect.map(TestClock.sleeps(), (sleeps) => [...sleeps].includes(start + time))
      )
      const before = server.asked.length
      yield* TestClock.setTime(start + time - 1)
      yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      expect(server.asked.length).toBe(before)
      yield* TestClock.setTime(start + time)
    }
    return yield* Fiber.await(fiber)
  })

const failureOf = <A, E>(exit: Exit.Exit<A, E>): E =>
  Exit.isFailure(exit) && exit.cause._tag === "Fail"
    ? exit.cause.error
    : expect.fail(`It should have failed: ${String(exit)}`)

describe("asking for a code", () => {
  it.effect("shows the user what to do, and polls with the device code", () =>
    Effect.gen(function* () {
      const server = bench(device(), [granted])
      const shown: Array<DeviceLogin.Prompt> = []
      const exit = yield* through(
        DeviceLogin.login({ ...options, prompt: (prompt) => Effect.sync(() => shown.push(prompt)) }),
        server,
        [5000]
      )
      expect(shown).toEqual([
        {
          userCode: "WDJB-MJHT",
          verificationUri: new URL("https://example.com/device"),
          verificationUriComplete: Option.some(new URL("https://example.com/device?user_code=WDJB-MJHT")),
          expiresAt: start + 1_800_000
        }
      ])
      expect(Object.fromEntries(server.asked[0]!.body)).toEqual({
        client_id: "the-client",
        scope: "read write"
      })
      expect(Object.fromEntries(server.asked[1]!.body)).toEqual({
        client_id: "the-client",
        grant_type: "urn:ietf:params:oauth:grant-type:device_code",
        device_code: "dc-secret-1"
      })
      const credentials = Exit.isSuccess(exit) ? exit.value : expect.fail(String(exit))
      expect(Redacted.value(credentials.accessToken)).toBe("at-1")
      expect(Option.map(credentials.refreshToken, Redacted.value)).toEqual(Option.some("rt-1"))
      // RFC 6749 §5.1: the response left the scope out.
      expect(credentials.scopes).toEqual(["read", "write"])
      expect(credentials.obtainedAt).toEqual(Option.some(start + 5000))
      expect(credentials.expiresAt).toEqual(Option.some(start + 5000 + 3_600_000))
      expect(Redacted.value(credentials.extras)).toEqual({ extra: "kept" })
    })
  )

  it.effect(
    "takes the scopes that were granted, the account that the provider names, and its parameters",
    () =>
      Effect.gen(function* () {
        const server = bench(device({ interval: 1 }), [
          { body: { access_token: "at", token_type: "Bearer", scope: "read", user: "u-1" } }
        ])
        const exit = yield* through(
          DeviceLogin.login({
            ...options,
            resource: "https://api.example.com",
            deviceParameters: { tenant: "t-1" },
            accountId: (response) => Option.some(String(response["user"]))
          }),
          server,
          [1000]
        )
        const credentials = Exit.isSuccess(exit) ? exit.value : expect.fail(String(exit))
        expect(credentials.scopes).toEqual(["read"])
        expect(credentials.accountId).toEqual(Option.some("u-1"))
        expect(server.asked.map((a) => a.body.get("resource"))).toEqual([
          "https://api.example.com",
          "https://api.example.com"
        ])
        expect(server.asked[0]!.body.get("tenant")).toBe("t-1")
      })
  )

  it.effect("takes what servers write in its place", () =>
    Effect.gen(function* () {
      const server = bench(
        device({
          verification_uri: undefined,
          verification_url: "https://example.com/old",
          verification_uri_complete: null,
          expires_in: "900",
          interval: "2"
        }),
        [granted]
      )
      const shown: Array<DeviceLogin.Prompt> = []
      const prompt = (p: DeviceLogin.Prompt) => Effect.sync(() => shown.push(p))
      expect(Exit.isSuccess(yield* through(DeviceLogin.login({ ...options, prompt }), server, [2000]))).toBe(
        true
      )
      expect(shown[0]).toMatchObject({
        verificationUri: new URL("https://example.com/old"),
        verificationUriComplete: Option.none(),
        expiresAt: start + 900_000
      })
    })
  )

  it.effect.each([
    ["no device code", { device_code: "" }, "device_code is blank"],
    ["a device code that is not a string", { device_code: 5 }, "device_code is a number"],
    ["no user code", { user_code: undefined }, "user_code is missing"],
    ["a user code that would move the cursor", { user_code: "A\u001b[2J" }, "user_code has a control"],
    ["no page", { verification_uri: undefined }, "verification_url is not an https URL"],
    [
      "a page that an opener would run",
      { verification_uri: "file:///bin/sh" },
      "verification_uri is not an https"
    ],
    ["a script for a page", { verification_uri_complete: "javascript:1" }, "verification_uri_complete is no"],
    ["plain http", { verification_uri: "http://example.com/" }, "verification_uri is not an https"],
    ["no lifetime", { expires_in: undefined }, "expires_in is not a number of seconds"],
    ["a negative lifetime", { expires_in: -1 }, "expires_in is not a number"],
    ["an absolute time", { expires_in: 1_700_000_000_000 }, "expires_in is not a number"],
    ["an interval in words", { interval: "soon" }, "interval is not a number"],
    ["an interval of years", { interval: 100_000 }, "interval is not a number"]
  ] as const)("refuses %s", ([, over, problem]) =>
    Effect.gen(function* () {
      const server = bench(device(over))
      const error = failureOf(yield* through(DeviceLogin.login(options), server, []))
      expect(error).toMatchObject({ _tag: "LoginError", reason: "Malformed" })
      expect(error.message).toContain(problem)
      expect(server.asked).toHaveLength(1)
    })
  )

  it.effect.each([
    ["the client is refused", refusal("invalid_client", { status: 401 }), "Misconfigured"],
    ["it is refused with 200", { body: { error: "unauthorized_client" } }, "Misconfigured"],
    ["there is no such endpoint", { status: 404, body: "<h1>Not found</h1>" }, "Misconfigured"],
    ["the server cannot now", { status: 503, body: { error: "temporarily_unavailable" } }, "ServerError"],
    ["the answer is a page", { body: "<html>" }, "Malformed"],
    ["the server is not there", "refused", "Unreachable"]
  ] as const)("says so where %s", ([, first, reason]) =>
    Effect.gen(function* () {
      const error = failureOf(yield* through(DeviceLogin.login(options), bench(first), []))
      expect(error).toMatchObject({ _tag: "LoginError", reason })
    })
  )

  it.effect("a server without the endpoint is a matter of its settings, and nothing is sent", () =>
    Effect.gen(function* () {
      const server = bench(device())
      const { tokenEndpoint } = options.server
      const error = failureOf(
        yield* through(DeviceLogin.login({ ...options, server: { tokenEndpoint } }), server, [])
      )
      expect(error).toMatchObject({ reason: "Misconfigured" })
      expect(error.message).toContain("server.deviceAuthorizationEndpoint")
      expect(server.asked).toEqual([])
    })
  )

  it.effect("a prompt that fails ends the login", () =>
    Effect.gen(function* () {
      const server = bench(device(), [granted])
      const login = DeviceLogin.login({ ...options, prompt: () => Effect.fail("no terminal" as const) })
      expect(failureOf(yield* through(login, server, []))).toBe("no terminal")
      expect(server.polledAt()).toEqual([])
    })
  )
})

describe("polling", () => {
  const second = 1000
  const polls = (
    name: string,
    first: Reply,
    script: ReadonlyArray<Reply | Silence>,
    times: ReadonlyArray<number>,
    polledAt: ReadonlyArray<number> = times
  ) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        const server = bench(first, script)
        const exit = yield* through(DeviceLogin.login(options), server, times)
        expect(server.polledAt()).toEqual(polledAt)
        expect(Exit.isSuccess(exit)).toBe(true)
      })
    )

  polls("every 5 s unless the server says", device(), [pending, pending, granted], [5000, 10_000, 15_000])
  polls("at the server's interval", device({ interval: 2 }), [pending, granted], [2000, 4000])
  polls(
    "not without a pause, though the server says 0",
    device({ interval: 0 }),
    [pending, granted],
    [1000, 2000]
  )
  polls(
    "5 s more for good after slow_down, and again after the next",
    device(),
    [pending, refusal("slow_down"), pending, pending, refusal("slow_down"), pending, granted],
    [5, 10, 20, 30, 40, 55, 70].map((s) => s * second)
  )
  polls(
    "slow_down with 200, as some servers answer",
    device({ interval: 1 }),
    [{ body: { error: "slow_down", interval: 10 } }, granted],
    [1000, 7000]
  )
  polls(
    "at doubled intervals while the server is not there, and as before once it is",
    device(),
    ["refused", "reset", "refused", pending, granted],
    [5, 15, 35, 75, 80].map((s) => s * second)
  )
  polls(
    "not more rarely than once a minute by our own choice",
    device(),
    ["refused", "refused", "refused", "refused", "refused", granted],
    [5, 15, 35, 75, 135, 195].map((s) => s * second)
  )
  polls(
    "at a doubled interval after a time-out (RFC 8628 §3.5)",
    device(),
    ["never", granted],
    [5000, 35_000, 45_000],
    [5000, 45_000]
  )
  polls(
    "no sooner than the server asks, when it is busy",
    device(),
    [
      { status: 429, body: "", headers: { "retry-after": "90" } },
      { status: 503, body: { error: "temporarily_unavailable" } },
      granted
    ],
    [5, 95, 155].map((s) => s * second)
  )
  polls(
    "after slow_down, the longer interval is what doubles",
    device(),
    [refusal("slow_down"), "refused", pending, granted],
    [5, 15, 35, 45].map((s) => s * second)
  )

  const ends = (
    name: string,
    first: Reply,
    script: ReadonlyArray<Reply | Silence>,
    times: ReadonlyArray<number>,
    expected: Partial<LoginError.LoginError> & { readonly polls: number }
  ) =>
    it.effect(name, () =>
      Effect.gen(function* () {
        const server = bench(first, script)
        const error = failureOf(yield* through(DeviceLogin.login(options), server, times))
        const { polls: count, ...fields } = expected
        expect(error).toMatchObject({ _tag: "LoginError", ...fields })
        expect(server.polledAt()).toHaveLength(count)
        expect(`${Inspectable.toStringUnknown(error)} ${error.message} ${error.stack}`).not.toContain(
          "secret"
        )
        yield* TestClock.adjust("1 hour")
        expect(server.polledAt()).toHaveLength(count)
      })
    )

  ends("ends when the user denies", device(), [pending, refusal("access_denied")], [5000, 10_000], {
    reason: "Denied",
    oauthError: "access_denied",
    message: "The login was denied: start it again if that was a mistake.",
    polls: 2
  })
  ends("ends when the server says that the code expired", device(), [refusal("expired_token")], [5000], {
    reason: "Expired",
    polls: 1
  })
  ends(
    "ends when the code has expired, without asking again",
    device({ expires_in: 12 }),
    [pending, pending],
    [5000, 10_000, 12_000],
    {
      reason: "Expired",
      message: "The code expired before the login was finished: start it again for a new one.",
      polls: 2
    }
  )
  ends(
    "ends at the expiry while the server is not there",
    device({ expires_in: 8 }),
    ["refused"],
    [5000, 8000],
    {
      reason: "Expired",
      polls: 1
    }
  )
  ends("ends when the code was used already", device(), [refusal("invalid_grant")], [5000], {
    reason: "Expired",
    oauthError: "invalid_grant",
    polls: 1
  })
  ends("ends when the client is refused", device(), [refusal("unauthorized_client")], [5000], {
    reason: "Misconfigured",
    polls: 1
  })
  ends("ends when the answer is no token response", device(), [{ body: { token_type: "bearer" } }], [5000], {
    reason: "Malformed",
    polls: 1
  })
  ends(
    "does not repeat the device code that a server echoes",
    device(),
    [
      {
        status: 400,
        body: { error: "invalid_request", error_description: "bad code dc-secret-1 \u001b[31m" }
      }
    ],
    [5000],
    { reason: "Misconfigured", polls: 1 }
  )

  it.effect("stops when it is interrupted", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const server = bench(device(), [pending, granted])
      const fiber = yield* Effect.fork(
        Effect.provideService(DeviceLogin.login(options), HttpClient.HttpClient, server.client)
      )
      const due = Effect.map(TestClock.sleeps(), (sleeps) => [...sleeps].includes(start + 5000))
      yield* eventually("the first poll is due", due)
      const exit = yield* Fiber.interrupt(fiber)
      expect(Exit.isInterrupted(exit)).toBe(true)
      yield* TestClock.adjust("1 hour")
      expect(server.polledAt()).toEqual([])
    })
  )
})
