/** The index of accounts in Redis: which are due for renewal, and how many there are. */
import type { Account, DueAccount, DueOptions } from "@latchkey/core/TokenStorages"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import { accountOf } from "./AccountRow.js"
import type { Connection } from "./RedisClient.js"
import { keyOf, list, text } from "./RedisGrant.js"
import * as RedisScripts from "./RedisScripts.js"
import type { ServerProblem } from "./ServerProblem.js"

export const due = (
  { run }: Connection,
  prefix: string,
  { after, before, limit }: DueOptions
): Effect.Effect<ReadonlyArray<DueAccount>, ServerProblem> =>
  Effect.map(
    run(RedisScripts.due, `${prefix}:due`, [before, limit, after?.account ?? "", after?.dueAt ?? ""]),
    (answer) =>
      Arr.chunksOf(list(answer).map(text), 2).map(([account = "", dueAt]) => ({
        account,
        dueAt: Number(dueAt)
      }))
  )

const pageSize = 1000
const together = 128

/**
 * Returns the accounts after one, by name. Each page is one query, plus one for the place of each account.
 */
export const accounts = (
  { run }: Connection,
  prefix: string,
  first: string
): Stream.Stream<Account, ServerProblem> =>
  Streams.pages(first, (after) =>
    Effect.gen(function* () {
      const names = list(yield* run(RedisScripts.accounts, `${prefix}:accounts`, [after, pageSize])).map(text)
      const page = yield* Effect.forEach(names, (account) => placeOf(run, prefix, account), {
        concurrency: together
      })
      const last = names.length < pageSize ? Option.none() : Option.fromNullable(names.at(-1))
      return [page, last] as const
    })
  )

const placeOf = (
  run: Connection["run"],
  prefix: string,
  account: string
): Effect.Effect<Account, ServerProblem> =>
  Effect.map(run(RedisScripts.place, keyOf(prefix, account), []), (answer) => {
    const [state, due = ""] = list(answer).map(text)
    return accountOf(account, state, due)
  })

export const count = ({ run }: Connection, prefix: string): Effect.Effect<number, ServerProblem> =>
  Effect.map(run(RedisScripts.count, `${prefix}:accounts`, []), Number)
