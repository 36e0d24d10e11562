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
    "literals of a list",
    'import * as Schema from "effect/Schema"\nexport const a = <A extends ReadonlyArray<string>>(all: A) => Schema.Literal(...all)\n',
    'import * as Schema from "effect/Schema"\nexport const a = <A extends ReadonlyArray<string>>(all: A) => Schema.Literals([...all])\n'
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
    "routers whose routes may fail",
    'import { HttpRouter } from "@effect/platform"\nexport type A<E, R> = HttpRouter.HttpRouter<E, HttpRouter.HttpRouter.ExcludeProvided<R> | number>\n',
    'import * as Layer from "effect/Layer"\nimport * as HttpRouter from "effect/http/HttpRouter"\nexport type A<E, R> = Layer.Layer<never, never, HttpRouter.HttpRouter | HttpRouter.Request.From<"Requires", Exclude<R, HttpRouter.Provided> | number> | HttpRouter.Request.From<"Error", E>>\n'
  ],
  [
    "routes whose paths are known later",
    'import { HttpRouter } from "@effect/platform"\nexport const a = HttpRouter.empty.pipe(HttpRouter.get(from, b), HttpRouter.post(to, c))\n',
    'import * as Layer from "effect/Layer"\nimport * as HttpRouter from "effect/http/HttpRouter"\nexport const a = Layer.mergeAll(HttpRouter.add("GET", from, b), HttpRouter.add("POST", to, c))\n'
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
    "results as values",
    'import { Effect, Either } from "effect"\nexport const a = Effect.as(Effect.void, Either.right(1))\n',
    'import * as Effect from "effect/Effect"\nimport * as Result from "effect/Result"\nexport const a = Effect.as(Effect.void, Result.succeed(1))\n'
  ],
  [
    "seeds",
    'import { Effect, Random } from "effect"\nexport const a = Effect.withRandom(Random.next, Random.make(7))\n',
    'import * as Random from "effect/Random"\nexport const a = Random.withSeed(Random.next, 7)\n'
  ],
  [
    "all of a queue",
    'import * as Queue from "effect/Queue"\nexport const a = Queue.takeAll\n',
    'import * as Queue from "effect/Queue"\nexport const a = Queue.clear\n'
  ],
  [
    "results of functions of ours as effects",
    'import { Effect, Either } from "effect"\nconst read = () => Either.right(1)\nexport const a = Effect.gen(function* () {\n  return yield* read()\n})\n',
    'import * as Effect from "effect/Effect"\nimport * as Result from "effect/Result"\nconst read = () => Result.succeed(1)\nexport const a = Effect.gen(function* () {\n  return yield* Effect.fromResult(read())\n})\n'
  ],
  [
    "effects that are steps of a pipe, which are no results",
    'import { Effect, Either } from "effect"\nexport const a = Effect.flatten(Effect.succeed(Either.right(1)).pipe(Effect.map(() => Effect.void)))\n',
    'import * as Effect from "effect/Effect"\nimport * as Result from "effect/Result"\nexport const a = Effect.flatten(Effect.succeed(Result.succeed(1)).pipe(Effect.map(() => Effect.void)))\n'
  ],
  [
    "tags of results",
    'import * as Either from "effect/Either"\nexport const a = (e: Either.Either<number, string>) => (e._tag === "Right" ? e.right : e.left)\n',
    'import * as Result from "effect/Result"\nexport const a = (e: Result.Result<number, string>) => (e._tag === "Success" ? e.success : e.failure)\n'
  ],
  [
    "types nested in a module, and in an interface of it",
    'import type * as Effect from "effect/Effect"\nimport type * as HttpClient from "@effect/platform/HttpClient"\nexport type A<E> = Effect.Effect.Success<E>\nexport type B = HttpClient.HttpClient.With<string>\n',
    'import * as Effect from "effect/Effect"\nimport * as HttpClient from "effect/http/HttpClient"\nexport type A<E> = Effect.Success<E>\nexport type B = HttpClient.HttpClient.With<string>\n'
  ],
  [
    "routers",
    'import * as HttpRouter from "@effect/platform/HttpRouter"\nexport const a = HttpRouter.empty.pipe(HttpRouter.get("/a", one), HttpRouter.get("/b", two), HttpRouter.get("/b/*", two))\n',
    'import * as Layer from "effect/Layer"\nimport * as HttpRouter from "effect/http/HttpRouter"\nexport const a = Layer.mergeAll(HttpRouter.add("GET", "/a", one), HttpRouter.add("GET", "/b/*", two))\n'
  ],
  [
    "types of routers",
    'import type * as HttpRouter from "@effect/platform/HttpRouter"\nexport type A = HttpRouter.HttpRouter<never, string>\n',
    'import * as Layer from "effect/Layer"\nimport * as HttpRouter from "effect/http/HttpRouter"\nexport type A = Layer.Layer<never, never, HttpRouter.HttpRouter | HttpRouter.Request.From<"Requires", string>>\n'
  ],
  [
    "spans without a stack",
    'import * as Effect from "effect/Effect"\nexport const a = Effect.makeSpan("a", { kind: "client", captureStackTrace: false, attributes: {} })\n',
    'import * as Effect from "effect/Effect"\nexport const a = Effect.makeSpan("a", { kind: "client", attributes: {} })\n'
  ],
  [
    "causes in words",
    'import * as Cause from "effect/Cause"\nexport const a = Cause.pretty(Cause.fail(1), { renderErrorCause: true })\n',
    'import * as Cause from "effect/Cause"\nexport const a = Cause.pretty(Cause.fail(1))\n'
  ]
]

describe("the rules", () => {
  it.each(cases)("translate %s", (_, before, after) => {
    expect(translated(before)).toBe(after)
  })
})
