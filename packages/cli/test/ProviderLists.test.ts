/** Lists of the providers, for people: each names every provider that comes with the packages. */
import { BuiltIn } from "@latchkey/providers"
import { Effect, Scope } from "effect"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { describe, expect, it } from "vitest"
import * as Desk from "./support/Desk.js"

const ids = Object.keys(BuiltIn.providers)
const root = fileURLToPath(new URL("../../", import.meta.url))

/** The runs of names in backticks, comma after comma, as a list in a sentence has them. */
const listsIn = (text: string): ReadonlyArray<ReadonlyArray<string>> =>
  [...text.matchAll(/(?:`[a-z][\w-]*`,?(?: and)?\s+){3,}`[a-z][\w-]*`/g)]
    .map(([list]) => [...list.matchAll(/`([\w-]+)`/g)].flatMap(([, name]) => name ?? []))
    .filter((names) => names.filter((name) => ids.includes(name)).length >= 3)

describe("every provider that is built in is named", () => {
  it.each(["cli/README.md", "providers/README.md", "docs/guide/providers.md"])("in %s", (file) => {
    const lists = listsIn(readFileSync(`${root}${file}`, "utf8"))
    expect(lists).not.toEqual([])
    for (const list of lists) expect(list).toEqual(ids)
  })

  it.each(["login", "import"])("by %s --help", async (command) => {
    const scope = Effect.runSync(Scope.make())
    const desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
    const { stdout } = await desk.run(`${command} --help`)
    expect(stdout.replace(/\s+/g, " ")).toContain(`A provider: ${ids.join(", ")}, or one of your own.`)
  })
})
