/**
 * `latchkey status --web`: the accounts as a page on a loopback port, for the browser that opens its link. It
 * refreshes nothing, and shows no token.
 *
 * @since 3.1.0
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { TokenStorages } from "@latchkey/core/TokenStorages"
import * as AccountsPage from "@latchkey/oauth/Accounts"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import { randomBytes } from "node:crypto"
import * as Account from "../Account.js"
import * as AccountIndex from "../AccountIndex.js"
import type * as Failure from "../Failure.js"
import * as LocalGate from "../LocalGate.js"
import * as LocalServer from "../LocalServer.js"
import * as Output from "../Output.js"
import type { Services } from "../Run.js"
import * as Session from "../Session.js"
import * as StatusGate from "../StatusGate.js"
import type { Workspace } from "../Workspace.js"
import * as Shown from "./Shown.js"

/**
 * Without an account, the page shows all.
 *
 * @since 3.1.0
 * @category models
 */
export interface Options {
  readonly account: Option.Option<string>
  readonly json: boolean
}

const random = (): string => randomBytes(32).toString("base64url")

/**
 * Serves the page until it is interrupted. Each request reads the accounts anew.
 *
 * @since 3.1.0
 * @category commands
 */
export const run = ({ account, json }: Options): Effect.Effect<never, Failure.Failure, Services> =>
  Effect.gen(function* () {
    // An account that does not exist is reported before the page is.
    if (Option.isSome(account)) yield* Session.find(account.value)
    const keys: StatusGate.Keys = {
      path: random(),
      ticket: Redacted.make(random()),
      session: Redacted.make(random())
    }
    const { port, server } = yield* LocalServer.listen({ port: 0 })
    let isUsed = false
    const page = HttpRouter.empty.pipe(
      HttpRouter.mount(`/${keys.path}`, AccountsPage.page({ authorize: Effect.succeed(true), advice })),
      Effect.provideServiceEffect(TokenStorages, Effect.map(read(account), AccountIndex.make)),
      Effect.catchAll((problem) =>
        Effect.succeed(refusal(503, "reason" in problem ? problem.message : "There is no such page."))
      )
    )
    yield* LocalServer.handle(
      server,
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ cookies, headers, method, originalUrl }) => {
        const asked = { method, url: originalUrl, headers, cookies, isUsed }
        const decision = StatusGate.decide(LocalGate.hostsOf(port), keys, asked)
        switch (decision._tag) {
          case "Page":
            return page
          case "SignIn":
            isUsed = true
            return Effect.succeed(signIn(keys))
          case "Refused":
            return Effect.succeed(refusal(decision.status, decision.message))
        }
      })
    )
    const url = StatusGate.linkOf(keys, port)
    if (json) yield* Output.printJson({ url })
    else {
      yield* Output.print(url)
      yield* Output.say("Open this link in a browser: the first one that does sees the page. Ctrl-C ends it.")
    }
    return yield* Effect.never
  }).pipe(Effect.scoped)

const headers = { "cache-control": "no-store", "referrer-policy": "no-referrer" }

const refusal = (status: number, message: string) =>
  HttpServerResponse.text(message, {
    status,
    headers: {
      ...headers,
      "x-content-type-options": "nosniff",
      "content-security-policy": "default-src 'none'"
    }
  })

/**
 * Redirects to the page, whose address holds no ticket. `Lax`, because the link may have been followed from a
 * terminal that is itself a web page.
 */
const signIn = ({ path, session }: StatusGate.Keys) =>
  HttpServerResponse.redirect(`/${path}/`, { status: 303, headers }).pipe(
    HttpServerResponse.unsafeSetCookie(StatusGate.cookieName, Redacted.value(session), {
      httpOnly: true,
      sameSite: "lax",
      path: `/${path}/`
    })
  )

/** How the user of an account logs in again. */
const advice = (id: string): string => {
  const [provider = "", ...name] = id.split("/")
  return Account.loginTo(provider, name.join("/"))
}

const read = (
  account: Option.Option<string>
): Effect.Effect<ReadonlyArray<AccountIndex.Known>, Failure.Failure, Workspace> =>
  Effect.gen(function* () {
    const { accounts, broken } = Option.isSome(account)
      ? { accounts: [yield* Session.find(account.value)], broken: [] }
      : yield* Session.all
    const known = yield* Effect.forEach(accounts, (one) => Effect.scoped(knownOf(one)))
    return [
      ...known,
      ...broken.map(({ message }, i) => ({
        account: `unreadable account ${i + 1}`,
        found: Either.left({ message, needsLogin: false })
      }))
    ]
  })

const knownOf = (account: Account.Account) =>
  Effect.gen(function* () {
    const session = yield* Session.open(account)
    const found = yield* Shown.read(session)
    const row = yield* Shown.rowWith(session, found)
    const problem = row.problem ?? (Option.isNone(found) ? "There is no grant yet." : undefined)
    return Option.isNone(found) || problem !== undefined
      ? Either.left({ message: problem ?? "", needsLogin: row.mustLogIn })
      : Either.right(found.value)
  }).pipe(
    Effect.catchAll(({ message }) => Effect.succeed(Either.left({ message, needsLogin: false }))),
    Effect.map((found): AccountIndex.Known => ({ account: Account.idOf(account), found }))
  )
