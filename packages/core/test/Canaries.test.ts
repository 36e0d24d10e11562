import { describe, expect, it } from "vitest"
import { Canaries } from "./support/Canaries.js"

describe("a canary is found", () => {
  const canaries = new Canaries(100, 1)
  const secret = canaries.secrets[7]!
  const around = (text: string) => `{"log":"before ${text} after"}`

  it.each<readonly [string, string]>([
    ["as it is", secret],
    ["in a piece of 12", secret.slice(9, 21)],
    ["in a URL", encodeURIComponent(secret)],
    ["in a form", new URLSearchParams({ token: secret }).toString()],
    ["in base64", btoa(secret)],
    ["in base64, one byte later", btoa(`:${secret}`)],
    ["in base64, two bytes later", btoa(`id${secret}`)],
    ["in base64url", Buffer.from(`app:${secret}`).toString("base64url")],
    ["in hex", Buffer.from(secret).toString("hex")],
    ["backwards", [...secret].reverse().join("")]
  ])("%s", (_, shape) => {
    expect(canaries.find(around(shape)).map((f) => f.secret)).toEqual([7])
  })

  it("and where none is, none is found", () => {
    expect(canaries.find(around(secret.slice(9, 20)))).toEqual([])
    expect(canaries.find(around("a".repeat(100)))).toEqual([])
  })
})
