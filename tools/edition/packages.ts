/** What there is for Effect 4. */

/** The packages, each after those that it needs. */
export const all = ["core", "oauth", "storage", "providers", "mcp"] as const

/** The storages that a process of each edition shares. */
export const shared: ReadonlyArray<"file" | "sqlite" | "postgres"> = ["file", "sqlite", "postgres"]

/** The pages whose snippets are translated, besides the page of each package. */
export const pages = [
  "README.md",
  "packages/docs/guide/start.md",
  "packages/docs/guide/storages.md",
  "packages/docs/guide/extending.md",
  "packages/docs/guide/mcp.md",
  "packages/docs/guide/effect-3-and-4.md"
]
