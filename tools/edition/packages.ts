/** What there is for Effect 4. */

/** The packages, each after those that it needs. */
export const all = ["core", "oauth", "storage", "providers"] as const

/** Those whose tests pass. */
export const ready: ReadonlyArray<string> = ["core"]

/** The pages whose snippets are translated, besides the page of each package. */
export const pages = ["README.md", "packages/docs/guide/start.md"]
