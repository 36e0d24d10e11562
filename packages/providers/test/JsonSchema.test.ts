/** The JSON Schema for editors, which this package ships. */
import { describe, expect, it } from "@effect/vitest"
import { ProviderSettings } from "@latchkey/providers"
import { JSONSchema } from "effect"
import * as fs from "node:fs"
import * as Path from "node:path"
import * as prettier from "prettier"

describe("the JSON Schema for editors", () => {
  const schema = JSONSchema.make(ProviderSettings.File)

  it("that ships is the current one: vitest -u writes it", async () => {
    const text = await prettier.format(JSON.stringify(schema), { parser: "json", printWidth: 110 })
    await expect(text).toMatchFileSnapshot("../providers.schema.json")
    const { exports, files } = JSON.parse(
      fs.readFileSync(Path.join(import.meta.dirname, "..", "package.json"), "utf8")
    )
    expect(files).toContain("providers.schema.json")
    expect(exports["./providers.schema.json"]).toBe("./providers.schema.json")
  })

  it("describes every setting", () => {
    const undescribed: Array<string> = []
    const walk = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null) return
      for (const [key, inner] of Object.entries(value as Record<string, unknown>)) {
        if (key === "properties") {
          for (const [name, property] of Object.entries(inner as Record<string, object>)) {
            if (!("description" in property) && name !== "providers") undescribed.push(`${path}.${name}`)
            walk(property, `${path}.${name}`)
          }
        } else walk(inner, path)
      }
    }
    walk(schema, "")
    expect(undescribed).toEqual([])
  })
})
