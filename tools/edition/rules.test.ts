import { describe, expect, it } from "vitest"
import { Project } from "ts-morph"
import { translate } from "./translate.js"

const project = new Project({
  compilerOptions: { strict: true, module: 199, moduleResolution: 99, target: 9, noEmit: true },
  skipAddingFilesFromTsConfig: true
})

const translated = (source: string): string => {
  const file = project.createSourceFile(`${import.meta.dirname}/sample.ts`, source, { overwrite: true })
  return translate(file).text
}

const cases: ReadonlyArray<readonly [name: string, before: string, after: string]> = [
  [
    "renamed exports and modules",
    'import * as Either from "effect/Either"\nexport const a = Either.left("no")\n',
    'import * as Result from "effect/Result"\nexport const a = Result.fail("no")\n'
  ],
  [
    "tags",
    'import * as Context from "effect/Context"\nexport class A extends Context.Tag("A")<A, number>() {}\n',
    'import * as Context from "effect/Context"\nexport class A extends Context.Service<A, number>()("A") {}\n'
  ],
  [
    "literals",
    'import * as Schema from "effect/Schema"\nexport const a = Schema.Literal("a", "b")\n',
    'import * as Schema from "effect/Schema"\nexport const a = Schema.Literals(["a", "b"])\n'
  ],
  [
    "records",
    'import * as Schema from "effect/Schema"\nexport const a = Schema.Record({ key: Schema.String, value: Schema.Number })\n',
    'import * as Schema from "effect/Schema"\nexport const a = Schema.Record(Schema.String, Schema.Number)\n'
  ],
  [
    "filters",
    'import * as Schema from "effect/Schema"\nexport const a = Schema.filter((n: number) => n > 0)\n',
    'import * as Schema from "effect/Schema"\nexport const a = Schema.check(Schema.makeFilter((n: number) => n > 0))\n'
  ],
  [
    "yields without a call",
    'import { Effect } from "effect"\nexport const a = Effect.repeatN(Effect.yieldNow(), 5)\n',
    'import * as Effect from "effect/Effect"\nexport const a = Effect.repeat(Effect.yieldNow, { times: 5 })\n'
  ],
  [
    "results as effects",
    'import { Effect, Either } from "effect"\nexport const a = Effect.gen(function* () {\n  return yield* Either.right(1)\n})\n',
    'import * as Effect from "effect/Effect"\nimport * as Result from "effect/Result"\nexport const a = Effect.gen(function* () {\n  return yield* Effect.fromResult(Result.succeed(1))\n})\n'
  ],
  [
    "tags of results",
    'import * as Either from "effect/Either"\nexport const a = (e: Either.Either<number, string>) => (e._tag === "Right" ? e.right : e.left)\n',
    'import * as Result from "effect/Result"\nexport const a = (e: Result.Result<number, string>) => (e._tag === "Success" ? e.success : e.failure)\n'
  ]
]

describe("the rules", () => {
  it.each(cases)("translate %s", (_, before, after) => {
    expect(translated(before)).toBe(after)
  })
})
