import { describe, expect, it } from "vitest"
import { manifestFor } from "./manifests.js"

const three = {
  name: "@latchkey/storage",
  version: "3.2.1",
  description: "Where Latchkey keeps credentials and leases",
  engines: { node: ">=20.19" },
  dependencies: { "@latchkey/core": "3.2.1", "fs-native-extensions": "1.5.1" },
  peerDependencies: {
    "@effect/platform": "^0.97.0",
    "@effect/sql": "^0.52.0",
    "@effect/sql-pg": "^0.53.0",
    effect: "^3.22.0",
    pg: "^8.16.3"
  },
  peerDependenciesMeta: {
    "@effect/sql": { optional: true },
    "@effect/sql-pg": { optional: true },
    pg: { optional: true }
  },
  devDependencies: { "@effect/sql-pg": "0.53.0", "@latchkey/oauth": "3.2.1", pg: "8.23.1" }
}

describe("a manifest for Effect 4", () => {
  it("has the same minor and patch, peers that Effect 3 fails, and no package that is part of effect now", () => {
    expect(manifestFor(three)).toEqual({
      name: "@latchkey/storage",
      version: "4.2.1",
      description: "Where Latchkey keeps credentials and leases",
      engines: { node: ">=22.19" },
      dependencies: { "@latchkey/core": "4.2.1", "fs-native-extensions": "1.5.1" },
      peerDependencies: { "@effect/sql-pg": "^4.0.5", effect: "^4.1.0", pg: "^8.16.3" },
      peerDependenciesMeta: { "@effect/sql-pg": { optional: true }, pg: { optional: true } },
      devDependencies: { "@effect/sql-pg": "4.0.5", "@latchkey/oauth": "4.2.1", pg: "8.23.1" }
    })
  })

  it("is not made where the major is not that of Effect, or a peer of Effect has no known counterpart", () => {
    expect(() => manifestFor({ ...three, version: "0.1.0" })).toThrow(/version 0\.1\.0/)
    const peerDependencies = { "@effect/cluster": "^0.60.0" }
    expect(() => manifestFor({ ...three, peerDependencies })).toThrow(/@effect\/cluster/)
  })
})
