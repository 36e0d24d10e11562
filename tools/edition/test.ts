/**
 * npm run edition:test: generates the edition, compiles it strictly, runs its tests, builds and packs it, installs the
 * tarballs as a user does, and runs the first snippet of each page there. Then a process of each edition shares a grant.
 * It wants Node 24.
 */
import * as Effect from "effect/Effect"
import * as fs from "node:fs"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { postgres } from "../../.ci/programs.js"
import { fiberOf } from "../../packages/bench/src/candidates/Edition.js"
import { compare } from "../../packages/bench/src/Measure.js"
import * as PostgresServer from "../../packages/storage/test/support/PostgresServer.js"
import { cross } from "./crossing.js"
import { install, npm, run } from "./install.js"
import { all as packages, shared } from "./packages.js"
import { output as edition, root } from "./workspace.js"

const scratch = fs.mkdtempSync(path.join(tmpdir(), "latchkey-edition-"))
/** At most this share of the time that a fresh token takes on Effect 3. */
const fastEnough = 0.7
const expiries = 20

const [major = 0] = process.versions.node.split(".").map(Number)
if (major < 24) throw new Error(`Effect 4's tests run on Node 24, this is ${process.version}`)

const failed: Array<string> = []
/** Runs a part, and prints how long it took. */
const step = async (what: string, work: () => Promise<string | undefined>): Promise<boolean> => {
  const began = performance.now()
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`
  try {
    const said = await work()
    console.log(`ok   ${what.padEnd(52)} ${seconds()}  ${said ?? ""}`)
    return true
  } catch (error) {
    failed.push(what)
    const { message, stderr = "", stdout = "" } = error as Error & { stdout?: string; stderr?: string }
    console.log(`FAIL ${what} ${seconds()}\n${stdout || message}\n${stderr}`)
    return false
  }
}

const bin = (name: string): string => path.join(edition, "node_modules/.bin", name)
const lastLine = (text: string): string => text.split("\n").at(-1) ?? ""

const generate = async (): Promise<string> => lastLine(await run("npm", ["run", "-s", "edition"], root))

const compile = async (): Promise<undefined> => {
  await run(bin("tsc"), ["-p", "tsconfig.json"], edition)
}

const tests = async (): Promise<string> => {
  const report = path.join(scratch, "tests.json")
  await run(
    bin("vitest"),
    ["run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    edition,
    // Properties hold for many values on Effect 3; here a part of them is tried.
    { LATCHKEY_RUNS: "0.2" }
  )
  const { numPassedTests, numPendingTests } = JSON.parse(fs.readFileSync(report, "utf8")) as Record<
    string,
    number
  >
  return `${numPassedTests} passed, ${numPendingTests} skipped`
}

/** Types are checked already. The pages are compiled with what is built, as by a user. */
const build = async (): Promise<undefined> => {
  await run(bin("tsc"), ["-b", "--noCheck", ...packages.map((name) => `packages/${name}`)], edition)
  await run(process.execPath, [path.join(root, ".ci/bundle.mjs"), path.join(edition, "packages")], edition)
  await run(bin("tsc"), ["-p", "tsconfig.snippets.json"], edition)
}

/** Packs the packages of an edition; the paths of their tarballs. */
const pack = async (from: string, folder: string): Promise<ReadonlyArray<string>> => {
  fs.mkdirSync(folder, { recursive: true })
  const files: Array<string> = []
  for (const name of packages) {
    const args = ["pack", "--silent", "--pack-destination", folder]
    files.push(path.join(folder, lastLine(await run("npm", args, path.join(from, "packages", name)))))
  }
  return files
}

const emptyProject = (name: string): string => {
  const folder = path.join(scratch, name)
  fs.mkdirSync(folder, { recursive: true })
  fs.writeFileSync(path.join(folder, "package.json"), JSON.stringify({ name, private: true, type: "module" }))
  return folder
}

/** A wrong mix of editions: npm has to refuse it, and for that reason. */
const refused = async (name: string, tarballs: ReadonlyArray<string>, effect: string): Promise<string> => {
  const folder = emptyProject(name)
  try {
    await npm(["install", ...tarballs, effect], folder)
  } catch (error) {
    const { stderr = "" } = error as { stderr?: string }
    if (stderr.includes("ERESOLVE")) return "ERESOLVE"
    throw error
  }
  throw new Error(`${effect} is accepted`)
}

const settings = {
  compilerOptions: {
    target: "ES2022",
    module: "NodeNext",
    moduleResolution: "NodeNext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    noEmit: true
  },
  include: ["*.ts"]
}

/** An authorization server for the program of the first page. */
const startIssuer = async () => {
  const server = createServer((request, response) => {
    const issuer = `http://${request.headers.host}`
    const answer =
      request.method === "POST"
        ? { access_token: "from the issuer", token_type: "Bearer", expires_in: 3600 }
        : { issuer, token_endpoint: `${issuer}/token`, response_types_supported: [] }
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const stop = () => {
    server.close()
    server.closeAllConnections()
  }
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, stop }
}

/** What a user installs with the packages: the newest Effect 4, and what the snippets import. */
const beside = [
  "effect@latest",
  "@effect/platform-node@latest",
  "@modelcontextprotocol/client@2",
  "@types/node@24"
]

/** The first page, and that of each package. */
const firstSnippets = ["", ...packages.map((name) => `packages/${name}`)]

const useSnippets = async (folder: string): Promise<string> => {
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(settings))
  const programs = firstSnippets.map((place) => {
    const page = fs.readFileSync(path.join(edition, place, "README.md"), "utf8")
    const snippet = /^```ts\n([^]*?)^```$/m.exec(page)?.[1]
    if (snippet === undefined) throw new Error(`no snippet in ${place}/README.md`)
    const program = `${path.basename(place) || "main"}.ts`
    fs.writeFileSync(path.join(folder, program), snippet)
    return program
  })
  await run(bin("tsc"), ["-p", "."], folder)
  const { stop, url } = await startIssuer()
  const variables = {
    OAUTH_ISSUER: url,
    OAUTH_CLIENT_ID: "app",
    OAUTH_CLIENT_SECRET: "secret",
    OAUTH_GRANT: "client_credentials"
  }
  try {
    const said: Array<string> = []
    for (const program of programs) said.push(await run(process.execPath, [program], folder, variables))
    return said.filter((line) => line !== "").join("; ")
  } finally {
    stop()
  }
}

const programs: readonly [string, string] = [
  path.join(import.meta.dirname, "programs"),
  path.join(edition, "programs")
]

/** Both in one process, in turns. The bench `hot` measures them beside other libraries. */
const compareSpeed = async (): Promise<string> => {
  const folder = path.join(root, "packages")
  const [three, four] = [await fiberOf(folder, programs[0]), await fiberOf(folder, programs[1])]
  const found = await compare({ three, four }, { operations: 20_000, rounds: 41 })
  const [onThree = Number.NaN, onFour = Number.NaN] = found.map(({ nanoseconds }) => nanoseconds.median)
  const ratio = found[1]?.ratio.median ?? Number.NaN
  const said = `${onThree.toFixed(0)} ns on Effect 3, ${onFour.toFixed(0)} ns on Effect 4: ${ratio.toFixed(2)}`
  if (!(ratio <= fastEnough)) throw new Error(`${said}, at most ${fastEnough} is due`)
  return said
}

const share = async (kind: (typeof shared)[number]): Promise<string> => {
  if (kind === "postgres" && postgres.missing !== undefined) return postgres.missing
  const folder = path.join(scratch, kind)
  fs.mkdirSync(folder, { recursive: true })
  const at = (location: string) => cross(programs, { kind, location }, expiries)
  const problems =
    kind === "postgres"
      ? await Effect.runPromise(
          Effect.scoped(Effect.flatMap(PostgresServer.make, ({ url }) => Effect.promise(() => at(url))))
        )
      : await at(path.join(folder, kind === "file" ? "credentials.json" : "grants.db"))
  if (problems.length > 0) throw new Error(problems.join("\n"))
  return `${expiries} expiries, one refresh each`
}

const packAndInstall = async (): Promise<void> => {
  if (!(await step("build, compile the snippets of the pages", build))) return
  let tarballs: ReadonlyArray<string> = []
  const isPacked = await step("pack", async () => {
    tarballs = await pack(edition, path.join(scratch, "four"))
    return tarballs.map((file) => path.basename(file)).join(", ")
  })
  if (!isPacked) return
  const folder = emptyProject("latest")
  const isInstalled = await step("install beside effect@latest, in an empty folder", async () => {
    await npm(["install", ...tarballs, ...beside], folder)
    return undefined
  })
  if (isInstalled) await step("compile and run the first snippet of each README", () => useSnippets(folder))
  await step("refuse Effect 3 beside the packages for Effect 4", () => refused("old", tarballs, "effect@3"))
  await step("refuse Effect 4 beside the packages for Effect 3", async () =>
    refused("new", await pack(root, path.join(scratch, "three")), "effect@4")
  )
}

const all = async (): Promise<void> => {
  if (!(await step("install the workspace", install))) return
  if (!(await step("generate", generate))) return
  // Most of the tests, and of sharing, is waiting: for leases to lapse, and for tokens to expire.
  await Promise.all([step("compile", compile), step("run the tests", tests)])
  const shares = shared.map((kind) => step(`share a grant between the editions: ${kind}`, () => share(kind)))
  await Promise.all([packAndInstall(), ...shares])
  await step("a fresh token in a fiber", compareSpeed)
}

await all()
fs.rmSync(scratch, { recursive: true, force: true })
console.log(failed.length === 0 ? "The Effect 4 edition works" : `${failed.length} failed`)
process.exitCode = failed.length === 0 ? 0 : 1
