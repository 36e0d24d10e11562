/** The JSON Schema for editors, which this package ships: Effect 3 makes it, and the settings here are the same. */
import { expect, it } from "@effect/vitest"
import { ProviderSettings } from "@latchkey/providers"
import * as fs from "node:fs"
import * as Path from "node:path"
import * as Shapes from "../src/edition/Shapes.js"

const ofShape = (shape: Shapes.Shape, at: string): ReadonlyArray<string> => {
  switch (shape.kind) {
    case "object":
      return shape.fields.flatMap(([name, field]) => [`${at}.${name}`, ...ofShape(field, `${at}.${name}`)])
    case "list":
      return shape.items.slice(0, 1).flatMap((item) => ofShape(item, at))
    default:
      return []
  }
}

interface Json {
  readonly properties?: Readonly<Record<string, Json>>
  readonly patternProperties?: Readonly<Record<string, Json>>
  readonly items?: Json | ReadonlyArray<Json>
}

const ofJson = ({ items, properties = {} }: Json, at: string): ReadonlyArray<string> => [
  ...Object.entries(properties).flatMap(([name, inner]) => [
    `${at}.${name}`,
    ...ofJson(inner, `${at}.${name}`)
  ]),
  ...[items ?? []]
    .flat()
    .slice(0, 1)
    .flatMap((item) => ofJson(item, at))
]

it("that ships has the settings that there are", () => {
  const file = JSON.parse(
    fs.readFileSync(Path.join(import.meta.dirname, "..", "providers.schema.json"), "utf8")
  ) as Json
  const provider = file.properties?.["providers"]?.patternProperties?.[""] ?? {}
  const shipped = new Set(ofJson(provider, ""))
  shipped.delete(".extends")
  expect(shipped).toEqual(new Set(ofShape(Shapes.of(ProviderSettings.Settings), "")))
  expect(shipped.size).toBeGreaterThan(60)
})
