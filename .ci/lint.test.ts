import { ESLint } from "eslint"
import { expect, it } from "vitest"

const eslint = new ESLint({ cwd: new URL("..", import.meta.url).pathname })

const complaints = async (filePath: string, code: string): Promise<ReadonlyArray<string>> => {
  const [result] = await eslint.lintText(code + "\n", { filePath })
  return (result?.messages ?? []).map(({ message, ruleId }) => `${ruleId}: ${message}`)
}

const core = "packages/core/src/TokenManager.ts"
const pure = "packages/core/src/Decision.ts"
const oauth = "packages/oauth/src/Planted.ts"
const storage = "packages/storage/src/Planted.ts"
const cli = "packages/cli/src/Planted.ts"
const mcp = "packages/mcp/src/McpAuth.ts"
const mcpPure = "packages/mcp/src/Discovery.ts"
const bench = "packages/bench/src/planted.ts"
const test = "packages/core/test/Planted.test.ts"

const planted: ReadonlyArray<readonly [file: string, code: string, complaint: RegExp]> = [
  // core imports only effect
  [core, 'import * as Http from "@effect/platform/HttpClient"', /may not be imported here: core/],
  [core, 'import * as Fs from "node:fs"', /may not be imported here: core/],
  [core, 'import * as File from "@latchkey/storage/File"', /may not be imported here: core/],
  [core, 'export * from "oauth4webapi"', /may not be imported here: core/],
  [core, 'export { x } from "node:fs"', /may not be imported here: core/],
  [core, 'export const x = () => import("node:fs")', /may not be imported here: core/],
  [core, "export const x = (name: string) => import(name)", /literal name/],
  [core, 'export type X = import("node:fs").Stats', /may not be imported here: core/],
  [core, 'import fs = require("node:fs")\nexport { fs }', /may not be imported here: core/],
  // pure modules import only data modules and one another
  ...["Effect", "Layer", "Context", "Clock", "Config", "Stream", "Runtime", "Fiber", "Ref", "Random"].map(
    (name) => [pure, `import * as X from "effect/${name}"`, /this module is pure/] as const
  ),
  [pure, 'import type * as Effect from "effect/Effect"', /this module is pure/],
  [pure, 'import type { Service } from "./TokenStorage.js"', /this module is pure/],
  ...["AuthStatus", "Credentials", "Entry", "Fingerprint", "RotationPolicy", "Snapshot"].map(
    (name) =>
      [`packages/core/src/${name}.ts`, 'import * as X from "effect/Effect"', /this module is pure/] as const
  ),
  // no ambient time or chance
  ...[core, pure, oauth, storage, bench, "examples/quickstart/src/main.ts"].flatMap((file) => [
    [file, "export const x = Date.now()", /'Date.now' is restricted/] as const,
    [file, "export const { now } = Date", /'Date.now' is restricted/] as const,
    [file, "export const x = new Date()", /Use Clock or DateTime.now/] as const,
    [file, "export const x = Date()", /Use Clock or DateTime.now/] as const,
    [file, "export const x = Math.random()", /'Math.random' is restricted/] as const,
    [
      file,
      'import * as DateTime from "effect/DateTime"\nexport const x = DateTime.unsafeNow()',
      /'unsafeNow' is restricted/
    ] as const
  ]),
  ...[core, oauth, storage].flatMap((file) => [
    [file, "export const x = performance.now()", /Unexpected use of 'performance'/] as const,
    [file, "setTimeout(() => {}, 1)", /Unexpected use of 'setTimeout'/] as const,
    [file, "globalThis.setTimeout(() => {}, 1)", /Unexpected use of 'setTimeout'/] as const,
    [file, "setInterval(() => {}, 1)", /Unexpected use of 'setInterval'/] as const,
    [file, "export const x = AbortSignal.timeout(1)", /'AbortSignal.timeout' is restricted/] as const,
    [file, "export const x = process.hrtime.bigint()", /'process.hrtime' is restricted/] as const,
    [
      file,
      'import { setTimeout } from "node:timers/promises"\nexport { setTimeout }',
      /restricted from being/
    ] as const
  ]),
  // modules, not barrels; namespaces, not names
  ...[core, oauth, storage].flatMap((file) => [
    [file, 'import { Effect } from "effect"\nexport { Effect }', /No barrel in src/] as const,
    [file, 'import type { Effect } from "effect"\nexport type { Effect }', /No barrel in src/] as const,
    [file, 'import { gen } from "effect/Effect"\nexport { gen }', /Write import \* as X/] as const
  ]),
  [oauth, 'import { HttpClient } from "@effect/platform"\nexport { HttpClient }', /No barrel in src/],
  // arrows between packages
  [oauth, 'import * as File from "@latchkey/storage/File"', /may not be imported here: oauth/],
  [oauth, 'import * as Node from "@effect/platform-node/NodeHttpClient"', /may not be imported here: oauth/],
  [oauth, 'import * as client from "openid-client"', /may not be imported here: oauth/],
  [storage, 'import * as Refresh from "@latchkey/oauth/Refresh"', /may not be imported here: storage/],
  [storage, 'import * as Bench from "@latchkey/bench"', /may not be imported here: storage/],
  [cli, 'import * as Bench from "@latchkey/bench"', /may not be imported here: cli/],
  [mcp, 'import * as File from "@latchkey/storage/File"', /may not be imported here: mcp/],
  [mcp, 'import * as Fs from "node:fs"', /may not be imported here: mcp/],
  [mcpPure, 'import * as Effect from "effect/Effect"\nexport { Effect }', /this module is pure/],
  [mcpPure, 'import * as McpAuth from "./McpAuth.js"\nexport { McpAuth }', /this module is pure/],
  [cli, 'console.log("x")', /no-console/],
  [cli, "export const x = Date.now()", /'Date.now' is restricted/],
  // escapes
  ...[core, oauth, storage, bench, test].flatMap((file) => [
    [file, "export const x = 1 as any", /cast to any/] as const,
    [file, "export const x = <any>1", /cast to any/] as const,
    [file, "export const x = 1 as unknown as string", /cast through unknown/] as const,
    [file, "// @ts-ignore\nexport const x = 1", /ban-ts-comment/] as const,
    [file, "// @ts-nocheck\nexport const x = 1", /ban-ts-comment/] as const,
    [file, "// @ts-expect-error\nexport const x = 1", /ban-ts-comment/] as const,
    [file, "// eslint-disable-next-line\nexport const x = 1 as any", /cast to any/] as const
  ]),
  [core, "// @ts-expect-error because it must be so\nexport const x = 1", /ban-ts-comment/],
  [core, "export const x = (inner: object) => ({ ...inner })", /decorator over a port/],
  [storage, "export const x = (s: object) => TokenStorage.of({ ...s })", /service lists its members/],
  [storage, 'console.log("x")', /no-console/],
  // every test runs and can fail
  ...["it.only", "it.skip", "it.todo", "it.effect.only", "it.effect.skip", "describe.only", "test.skip"].map(
    (call) => [test, `${call}("x", () => {})`, /A test runs, or is removed/] as const
  ),
  [test, "expect(true)", /This cannot fail/]
]

it.each(planted)("%s: %s", async (file, code, complaint) => {
  expect((await complaints(file, code)).join("\n")).toMatch(complaint)
})

const allowed: ReadonlyArray<readonly [file: string, code: string]> = [
  [
    core,
    'import * as Effect from "effect/Effect"\nimport type { Policy } from "./Decision.js"\nexport { Effect, type Policy }'
  ],
  [core, 'import { pipe } from "effect/Function"\nexport { pipe }'],
  ["packages/core/src/testing/index.ts", 'export * as X from "../Decision.js"'],
  [
    pure,
    'import * as Option from "effect/Option"\nimport * as Entry from "./Entry.js"\nexport { Entry, Option }'
  ],
  [core, "export const x = new Date(0)"],
  [
    oauth,
    'import * as oauth from "oauth4webapi"\nimport * as Decision from "@latchkey/core/Decision"\nexport { Decision, oauth }'
  ],
  [storage, 'import * as Sql from "@effect/sql/SqlClient"\nexport { Sql }'],
  [bench, "export const x = performance.now()"],
  [test, 'import { Effect } from "effect"\nit.skipIf(Effect === undefined)("x", () => {})'],
  [test, "// @ts-expect-error a number is no policy\nexport const x: string = 1"]
]

it.each(allowed)("%s may: %s", async (file, code) => {
  expect(await complaints(file, code)).toEqual([])
})
