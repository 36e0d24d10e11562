/** What there is for Effect 4. */

/** The packages, each after those that it needs. */
export const all = ["core", "oauth", "storage", "providers"] as const

/** Those whose tests pass in Effect 4. */
export const ready: ReadonlyArray<string> = ["core"]

/** The storages that a process of each edition shares. */
export const shared: ReadonlyArray<"file" | "sqlite" | "postgres"> = ["file"]

/** The pages whose snippets are translated, besides the page of each package. */
export const pages = [
  "README.md",
  "packages/docs/guide/start.md",
  "packages/docs/guide/storages.md",
  "packages/docs/guide/effect-3-and-4.md"
]
