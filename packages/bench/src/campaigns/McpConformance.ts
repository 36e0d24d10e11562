/**
 * `mcp`: runs the public conformance cases for the authorization of MCP clients, for one revision of the specification.
 * The client under test is the official SDK's client with `@latchkey/mcp`.
 */
import { execFile } from "node:child_process"
import { fileURLToPath } from "node:url"
import type * as Campaign from "./Campaign.js"

/** Returns the path of the suite's command. Undefined if its package is not installed. */
const findSuite = (): string | undefined => {
  try {
    return fileURLToPath(import.meta.resolve("@modelcontextprotocol/conformance/dist/index.js"))
  } catch {
    return undefined
  }
}

const client = fileURLToPath(new URL("../commands/mcp-client.ts", import.meta.url))
const root = fileURLToPath(new URL("../../../../", import.meta.url))

const both = [
  ...["metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd"],
  ...["scope-from-www-authenticate", "scope-from-scopes-supported", "scope-omitted-when-undefined"],
  ...["scope-step-up", "scope-retry-limit", "pre-registration"],
  ...["token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none"]
]

/**
 * The cases that the suite requires for each revision, and those of the extensions for logins of users. Those of 2025-03-26
 * are for old servers.
 */
const cases: Readonly<Record<string, ReadonlyArray<string>>> = {
  "2025-11-25": both,
  "2026-07-28": [
    ...both,
    ...["resource-mismatch", "offline-access-scope", "offline-access-not-supported"],
    ...["authorization-server-migration", "iss-supported", "iss-not-advertised", "iss-supported-missing"],
    ...["iss-wrong-issuer", "iss-unexpected", "iss-normalized", "metadata-issuer-mismatch"]
  ],
  "2025-03-26": ["2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback"],
  extension: ["dpop", "dpop-nonce"]
}

/** The Node version that the suite needs. */
const leastNode = 22

export const run = async (revision: string): Promise<Campaign.Figures | { readonly skipped: string }> => {
  const suite = findSuite()
  if (suite === undefined) return { skipped: "the suite is not installed: npm ci --prefix packages/bench" }
  if (Number(process.versions.node.split(".")[0]) < leastNode) return { skipped: "the suite needs Node 22" }
  const broken: Array<string> = []
  const results: Record<string, string> = {}
  for (const name of cases[revision] ?? []) {
    const { code, text } = await judge(suite, `auth/${name}`, revision)
    results[name] = /^Passed: .*$/m.exec(text)?.[0] ?? "no result"
    if (code !== 0) broken.push(`${name}: ${results[name]}`)
  }
  return { cases: Object.keys(results).length, results, broken }
}

const judge = (
  suite: string,
  scenario: string,
  revision: string
): Promise<{ readonly code: number; readonly text: string }> =>
  new Promise((resolve) => {
    const command = `${process.execPath} --conditions=@latchkey/source --import tsx ${client}`
    const isDated = revision === "2026-07-28" || revision === "2025-11-25"
    const version = isDated ? ["--spec-version", revision] : []
    const child = execFile(
      process.execPath,
      [suite, "client", "--command", command, "--scenario", scenario, ...version],
      { cwd: root, timeout: 60_000 },
      (_, stdout, stderr) => resolve({ code: child.exitCode ?? 1, text: `${stdout}${stderr}` })
    )
  })
