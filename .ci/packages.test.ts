/**
 * The packages as a reader of a registry sees them: their origin, links that work there, and package names
 * that belong to this project.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs"
import { join, normalize } from "node:path"
import { describe, expect, it } from "vitest"
import * as BuiltIn from "../packages/providers/src/BuiltIn.js"

const root = join(import.meta.dirname, "..")
const read = (path: string): string => readFileSync(join(root, path), "utf8")

interface Settings {
  readonly client?: { readonly id?: string }
}

interface Manifest {
  readonly name: string
  readonly private?: boolean
  readonly description?: string
  readonly license?: string
  readonly keywords?: ReadonlyArray<string>
  readonly homepage?: string
  readonly bugs?: { readonly url: string }
  readonly repository?: { readonly type: string; readonly url: string; readonly directory?: string }
  readonly files?: ReadonlyArray<string>
  readonly exports?: Readonly<Record<string, unknown>>
}

const manifestOf = (folder: string): Manifest => JSON.parse(read(`${folder}/package.json`)) as Manifest
const address = manifestOf(".").repository?.url.replace(/^git\+|\.git$/g, "") ?? ""
const packages = readdirSync(join(root, "packages"))
  .map((name) => ({ folder: `packages/${name}`, manifest: manifestOf(`packages/${name}`) }))
  .filter(({ manifest }) => manifest.private !== true)

/** The targets of the links and images of a page, outside its code. */
const linksOf = (markdown: string): ReadonlyArray<string> =>
  [...markdown.replace(/^```[^]*?^```$/gm, "").matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)

/**
 * Returns the problem with a link of a package's page, for a reader outside the repository. Undefined if
 * there is none.
 */
const problemOf = (link: string, folder: string, files: ReadonlyArray<string>): string | undefined => {
  if (link.startsWith("#")) return undefined
  if (link.startsWith(`${address}/`)) {
    const path = /^\/(?:blob|tree)\/main\/([^#]+)/.exec(link.slice(address.length))?.[1]
    return path !== undefined && existsSync(join(root, path)) ? undefined : `${link} is not in the repository`
  }
  if (/^[a-z]+:/.test(link)) return undefined
  const path = normalize(link.replace(/#.*/, ""))
  const isPacked =
    !path.startsWith("..") &&
    [...files, "LICENSE"].some((file) => path === file || path.startsWith(`${file}/`))
  if (!isPacked) return `${link} leads out of the package: write ${address}/blob/main/…`
  return existsSync(join(root, folder, path)) ? undefined : `${link} does not exist`
}

it("six packages are published", () => {
  expect(packages.map(({ manifest }) => manifest.name).sort()).toEqual(
    ["cli", "core", "mcp", "oauth", "providers", "storage"].map((name) => `@latchkey/${name}`)
  )
})

describe.each(packages)("$manifest.name", ({ folder, manifest }) => {
  it("says where it comes from, by the one address of the repository", () => {
    expect(manifest).toMatchObject({
      homepage: `${address}/tree/main/${folder}#readme`,
      bugs: { url: `${address}/issues` },
      repository: { type: "git", url: `git+${address}.git`, directory: folder },
      license: "MIT"
    })
    expect(manifest.description).toMatch(/\w/)
    expect(manifest.keywords?.length).toBeGreaterThan(2)
    expect(existsSync(join(root, folder, "LICENSE"))).toBe(true)
  })

  it("has a page whose links work outside of the repository, and names the Effect that it is for", () => {
    const page = read(`${folder}/README.md`)
    const problems = linksOf(page).flatMap((link) => problemOf(link, folder, manifest.files ?? []) ?? [])
    expect(problems).toEqual([])
    if (manifest.name !== "@latchkey/cli") expect(page.slice(0, 1000)).toContain("Effect 3")
  })
})

it("nothing can be imported from a folder inside a package, which is in another file when it is published", () => {
  const open = packages
    .filter(({ manifest }) => manifest.exports?.["./*"] !== undefined)
    .flatMap(({ folder, manifest }) =>
      readdirSync(join(root, folder, "src"), { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && manifest.exports?.[`./${entry.name}/*`] !== null)
        .map((entry) => `${folder}/src/${entry.name}`)
    )
  expect(open).toEqual([])
})

it("a link that leads nowhere is noticed", () => {
  const problems = [
    "../providers",
    "src/Absent.ts",
    "docs/x.md",
    `${address}/blob/main/absent.md`,
    "#here",
    "https://effect.website"
  ]
  expect(problems.map((link) => problemOf(link, "packages/cli", ["src"]) !== undefined)).toEqual([
    true,
    true,
    true,
    true,
    false,
    false
  ])
})

/**
 * Text that readers see: the pages, and the sources with their messages. Not from git, which may be missing.
 */
const tracked = ["README.md", ".ci", ".github", ".changeset", "packages", "examples"]
  .flatMap((top) =>
    top.endsWith(".md")
      ? [top]
      : readdirSync(join(root, top), { recursive: true, encoding: "utf8" }).map((path) => `${top}/${path}`)
  )
  .filter((path) => /\.(?:md|ts|mjs|js|json)$/.test(path))
  .filter((path) => !/(?:^|\/)(?:node_modules|dist|site|docs\/api|fixtures|results)\/|lock\.json$/.test(path))
  .filter((path) => path !== ".ci/packages.test.ts")

/** A package name that does not belong to this project, in a place where a reader would run or install it. */
const foreign =
  /(?:\bnpx|\bbunx|\bdlx|\bnpm exec|\binstall|\bnpm i|\badd)(?: +-{1,2}\S+)* +latchkey(?:@\S+)?(?=$|[\s`"'])/m

it("nobody is sent to the package that is called latchkey, which is not ours", () => {
  expect(tracked.filter((path) => foreign.test(read(path)))).toEqual([])
  for (const line of [
    "npx latchkey login",
    "npx --yes latchkey",
    "npm install -g latchkey",
    "pnpm dlx latchkey@1 x"
  ]) {
    expect(line).toMatch(foreign)
  }
  for (const line of ["npx @latchkey/cli login", "npm install --global @latchkey/cli", "latchkey login"]) {
    expect(line).not.toMatch(foreign)
  }
})

/** A login with the command, and its line: with a provider's name, not with a placeholder. */
const loginOf = /(?:\blatchkey|@latchkey\/cli) login +([a-z][a-z0-9-]*)([^`\n]*)/g

/** What a reader who pastes it must add: a server that is not built in is known only by its issuer. */
const incompleteLogins = (markdown: string): ReadonlyArray<string> =>
  [...markdown.matchAll(loginOf)].flatMap(([line, provider, rest]) => {
    const client = (BuiltIn.providers as Readonly<Record<string, Settings>>)[provider!]
    const needed =
      client === undefined
        ? ["--issuer", "--client-id"]
        : client.client?.id === undefined
          ? ["--client-id"]
          : []
    return needed.every((option) => rest!.includes(`${option} `)) ? [] : [line]
  })

it("a login that a page prints names the server and the client where the provider has none", () => {
  const found = tracked
    // Except the change logs, which quote the output of the command.
    .filter((path) => path.endsWith(".md") && !/CHANGELOG\.md$|^\.changeset\//.test(path))
    .flatMap((path) => incompleteLogins(read(path)))
  expect(found).toEqual([])
  for (const line of [
    "npx @latchkey/cli login acme --scope openid",
    "latchkey login acme --manual",
    "latchkey login acme --issuer https://id.example.com",
    "latchkey login github"
  ])
    expect(incompleteLogins(line)).toHaveLength(1)
  for (const line of [
    "latchkey login acme --issuer https://id.example.com --client-id my-app",
    "latchkey login github --client-id MY-APP",
    "latchkey login claude",
    "latchkey login PROVIDER --replace"
  ])
    expect(incompleteLogins(line)).toEqual([])
})

it("an install line pins what is not ours, so that it goes on working", () => {
  const lines = tracked
    .filter((path) => path.endsWith(".md") && !path.endsWith("CHANGELOG.md"))
    .flatMap((path) =>
      [...read(path).matchAll(/^ *(?:npm (?:install|i)|pnpm add) +([^&#\n]+)/gm)].map(([, rest]) => rest!)
    )
  expect(lines.length).toBeGreaterThan(5)
  const loose = lines.flatMap((line) =>
    line
      .trim()
      .split(/\s+/)
      .filter((word) => !/^-|^@latchkey\//.test(word) && !/.@\d/.test(word))
  )
  expect(loose).toEqual([])
})

it("a page whose snippets await at the top makes the reader's folder one of ES modules", () => {
  const needing = tracked.filter((path) => {
    if (!path.endsWith(".md")) return false
    const page = read(path)
    return /^npm install .*@latchkey\//m.test(page) && /^```ts\n(?:(?!```)[^])*?\bawait /m.test(page)
  })
  expect(needing).toEqual(expect.arrayContaining(["README.md", "packages/docs/guide/start.md"]))
  expect(needing.filter((path) => !/^npm pkg set type=module\b/m.test(read(path)))).toEqual([])
})
