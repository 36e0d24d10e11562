/**
 * npm run edition:test: generates the edition, compiles it strictly, runs its tests, builds and packs it, installs the
 * tarballs as a user does, and runs the first snippet of each page there. Then a process of each edition shares a grant.
 * It wants Node 24.
 */
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { promisify } from "node:util"
import { postgres } from "../../.ci/programs.js"
import * as PostgresServer from "../../packages/storage/test/support/PostgresServer.js"
import { cross } from "./crossing.js"
import { all, ready, shared } from "./packages.js"
import { output as edition, root, writeWorkspace } from "./workspace.js"

const scratch = fs.mkdtempSync(path.join(tmpdir(), "latchkey-edition-"))
/** At most this share of the time that a fresh token takes on Effect 3. */
const fastEnough = 0.7
const expiries = 20

const [major = 0] = process.versions.node.split(".").map(Number)
if (major < 24) throw new Error(`Effect 4's tests run on Node 24, this is ${process.version}`)

const run = async (command: string, args: ReadonlyArray<string>, cwd: string): Promise<string> => {
  const { stdout } = await promisify(execFile)(command, args, { cwd, maxBuffer: 1 << 26 })
  return stdout.trim()
}

const failed: Array<string> = []
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
const npm = (args: ReadonlyArray<string>, cwd: string): Promise<string> =>
  run("npm", [...args, "--no-audit", "--no-fund"], cwd)

const lastLine = (text: string): string => text.split("\n").at(-1) ?? ""

const generate = async (): Promise<string> => {
  const args = ["--import", "tsx", path.join(import.meta.dirname, "generate.ts")]
  try {
    return lastLine(await run(process.execPath, args, root))
  } catch (error) {
    // Of what is not ready, problems are known.
    const { stderr = "", stdout = "" } = error as { stdout?: string; stderr?: string }
    const isOthers = (line: string) =>
      all.some((name) => !ready.includes(name) && line.startsWith(`packages/${name}/`))
    if (stdout === "" || stderr.split("\n").some((line) => line !== "" && !isOthers(line))) throw error
    return lastLine(stdout)
  }
}

const manifests = ["package.json", ...all.map((name) => `packages/${name}/package.json`)]

/** Installs what the manifests ask for, unless they are those of the last time. */
const install = async (): Promise<string> => {
  writeWorkspace()
  const hash = createHash("sha256")
  for (const file of manifests) hash.update(fs.readFileSync(path.join(edition, file)))
  const stamp = path.join(edition, "node_modules/.manifests")
  const wanted = hash.digest("hex")
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === wanted) return "as it was"
  await npm(["install", "--no-package-lock"], edition)
  fs.writeFileSync(stamp, wanted)
  return "new"
}

const compile = async (): Promise<undefined> => {
  for (const name of ready) await run(bin("tsc"), ["-p", `tsconfig.${name}.json`, "--noEmit"], edition)
  // The pages use all packages.
  if (ready.length === all.length)
    await run(bin("tsc"), ["-p", "tsconfig.snippets.json", "--noEmit"], edition)
}

const tests = async (): Promise<string> => {
  const folders = ready.map((name) => `packages/${name}/test`)
  const report = path.join(scratch, "tests.json")
  await run(
    bin("vitest"),
    ["run", ...folders, "--reporter=default", "--reporter=json", `--outputFile.json=${report}`],
    edition
  )
  const { numPassedTests, numPendingTests } = JSON.parse(fs.readFileSync(report, "utf8")) as Record<
    string,
    number
  >
  return `${numPassedTests} passed, ${numPendingTests} skipped`
}

const build = async (): Promise<undefined> => {
  await run(bin("tsc"), ["-b", ...ready.map((name) => `packages/${name}`)], edition)
}

/** Packs the packages of an edition; the paths of their tarballs. */
const pack = async (from: string, folder: string): Promise<ReadonlyArray<string>> => {
  fs.mkdirSync(folder, { recursive: true })
  const files: Array<string> = []
  for (const name of ready) {
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

const useSnippets = async (folder: string): Promise<string> => {
  fs.writeFileSync(path.join(folder, "tsconfig.json"), JSON.stringify(settings))
  const programs: Array<string> = []
  for (const name of ready) {
    const page = fs.readFileSync(path.join(edition, "packages", name, "README.md"), "utf8")
    const snippet = /^```ts\n([^]*?)^```$/m.exec(page)?.[1]
    if (snippet === undefined) continue
    programs.push(`${name}.ts`)
    fs.writeFileSync(path.join(folder, `${name}.ts`), snippet)
  }
  await run(bin("tsc"), ["-p", "."], folder)
  const said: Array<string> = []
  for (const program of programs) said.push(await run(process.execPath, [program], folder))
  return said.join("; ")
}

const programs: readonly [string, string] = [
  path.join(import.meta.dirname, "programs"),
  path.join(edition, "programs")
]

const compareSpeed = async (): Promise<string> => {
  const times: Array<number> = []
  for (const folder of programs) {
    const args = ["--import", "tsx", "--conditions=@latchkey/source", "hot.ts"]
    const { nanoseconds } = JSON.parse(await run(process.execPath, args, folder)) as { nanoseconds: number }
    times.push(nanoseconds)
  }
  const [three = NaN, four = NaN] = times
  const said = `${three} ns on Effect 3, ${four} ns on Effect 4: ${(four / three).toFixed(2)}`
  if (!(four / three <= fastEnough)) throw new Error(`${said}, at most ${fastEnough} is due`)
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

const inTurn = async (): Promise<void> => {
  if (!(await step("install the workspace", install))) return
  if (!(await step("generate", generate))) return
  await step(`compile ${ready.join(", ")}`, compile)
  await step("run the tests", tests)
  let tarballs: ReadonlyArray<string> = []
  const isPacked =
    (await step("build", build)) &&
    (await step("pack", async () => {
      tarballs = await pack(edition, path.join(scratch, "four"))
      return tarballs.map((file) => path.basename(file)).join(", ")
    }))
  if (isPacked) {
    const folder = emptyProject("latest")
    const isInstalled = await step("install beside effect@latest, in an empty folder", async () => {
      await npm(
        ["install", ...tarballs, "effect@latest", "@effect/platform-node@latest", "@types/node@24"],
        folder
      )
      return undefined
    })
    if (isInstalled) await step("compile and run the snippets of the pages", () => useSnippets(folder))
    await step("refuse Effect 3 beside the packages for Effect 4", () => refused("old", tarballs, "effect@3"))
    await step("refuse Effect 4 beside the packages for Effect 3", async () =>
      refused("new", await pack(root, path.join(scratch, "three")), "effect@4")
    )
  }
  for (const kind of shared) await step(`share a grant between the editions: ${kind}`, () => share(kind))
  await step("a fresh token in a fiber", compareSpeed)
}

await inTurn()
fs.rmSync(scratch, { recursive: true, force: true })
console.log(failed.length === 0 ? "The Effect 4 edition works" : `${failed.length} failed`)
process.exitCode = failed.length === 0 ? 0 : 1
