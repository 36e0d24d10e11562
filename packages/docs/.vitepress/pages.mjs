/*
 * Which files are pages of the site, and where they stand in it. The sources keep their places in the repository,
 * where a code host shows them with the same links.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs"
import { basename, join, posix } from "node:path"

const root = join(import.meta.dirname, "../../..")
const packages = join(root, "packages")
const published = ["core", "oauth", "storage", "providers", "mcp", "cli"]

const markdownIn = (folder) =>
  readdirSync(join(packages, folder))
    .filter((name) => name.endsWith(".md"))
    .map((name) => `${folder}/${name}`)

const api = existsSync(join(packages, "docs/api")) ? markdownIn("docs/api") : []
if (api.length === 0) throw new Error("There is no API reference yet: run npm run docs at the root.")

/** `core.Namespace.Entry.md` is `api/core/Entry.md`; a module that has namespaces is the index of their folder. */
const addressOfApi = (path) => {
  const name = basename(path, ".md")
  if (name === "README") return "api/index.md"
  const [module, namespace] = name.split(".Namespace.")
  const folder = `api/${module.replaceAll(".", "/")}`
  if (namespace !== undefined) return `${folder}/${namespace}.md`
  return api.some((other) => basename(other).startsWith(`${name}.`) && other !== path)
    ? `${folder}/index.md`
    : `${folder}.md`
}

/** From each source, a path under `packages`, to its page, a path in the site. */
export const pages = new Map([
  ["docs/index.md", "index.md"],
  ...markdownIn("docs/guide").map((path) => [path, `guide/${basename(path).replace("README", "index")}`]),
  ...markdownIn("core/docs").map((path) => [path, `guide/${basename(path)}`]),
  ...published.map((name) => [`${name}/README.md`, `packages/${name}.md`]),
  ...api.map((path) => [path, addressOfApi(path)])
])
if (new Set(pages.values()).size < pages.size) throw new Error("Two sources are the same page of the site.")

/** What VitePress would take for a page although it is none. */
export const noPages = ["bench/**", "*/CHANGELOG.md", "*/{src,test,site}/**", "docs/README.md"]

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))
export const { description } = manifest
/** Where the repository can be read. */
export const repository = manifest.repository.url.replace(/^git\+|\.git$/g, "")

const elsewhere = /^(?:[a-z][a-z+.-]*:|\/\/)/i
const inRepository = new RegExp(`^${RegExp.escape?.(repository) ?? repository}/(?:blob|tree)/main/`)

/**
 * A link as the site has it. `source` is the file that has the link, a path under `packages`. Pages lead to pages, all
 * else that is in the repository leads there.
 */
export const linkOf = (href, source) => {
  const isOurs = inRepository.test(href)
  if (href.startsWith("#") || (!isOurs && elsewhere.test(href))) return href
  const [, target, anchor] = /^([^#]*)(#.*)?$/.exec(href.replace(inRepository, ""))
  const path = posix.normalize(isOurs ? target : posix.join("packages", posix.dirname(source), target))
  const file = path.replace(/\/$/, "")
  for (const candidate of [file, `${file}/README.md`]) {
    const page = pages.get(candidate.replace(/^packages\//, ""))
    if (page !== undefined) return `/${page.replace(/(^|\/)index\.md$/, "$1")}${anchor ?? ""}`
  }
  if (!existsSync(join(root, file))) throw new Error(`packages/${source}: ${href} leads nowhere`)
  return `${repository}/blob/main/${file}${anchor ?? ""}`
}

const titleOf = (path) => /^# (.+)$/m.exec(readFileSync(join(packages, path), "utf8"))[1].replaceAll("`", "")
const address = (source) => linkOf(posix.basename(source), source).replace(/\.md$/, "")

/** The guides in the order of the table in their README, then those that it does not name, then the packages. */
const guides = () => {
  const readme = "docs/guide/README.md"
  const rows = [...readFileSync(join(packages, readme), "utf8").matchAll(/^\| (.*?\]\(.*?) +\|/gm)]
  const items = rows.map(([, cell]) => {
    const links = [...cell.matchAll(/\[([^\]]+)\]\(([^)]+)\)/g)].map(([, text, href]) => ({
      text: text.replaceAll("`", ""),
      link: linkOf(href, readme).replace(/\.md$/, "")
    }))
    if (links.length === 1) return links[0]
    return { text: cell.replace(/:? *\[.*/, ""), items: links }
  })
  const named = new Set(items.flatMap((item) => item.items ?? item).map(({ link }) => link))
  const others = [...pages]
    .filter(([, page]) => page.startsWith("guide/") && page !== "guide/index.md")
    .map(([source]) => ({ text: titleOf(source), link: address(source) }))
    .filter(({ link }) => !named.has(link))
  return [...items, ...others]
}

/** The modules in the order of the reference, each with its namespaces. */
const reference = () => {
  const modules = [...readFileSync(join(packages, "docs/api/README.md"), "utf8").matchAll(/\]\((.+?)\.md\)/g)]
  return modules.map(([, name]) => {
    const source = `docs/api/${name}.md`
    const items = api
      .filter((path) => path.startsWith(`docs/api/${name}.Namespace.`))
      .map((path) => ({ text: titleOf(path), link: address(path) }))
    const own = { text: titleOf(source), link: address(source) }
    return items.length === 0 ? own : { ...own, collapsed: true, items }
  })
}

const guideSidebar = [
  { text: "Guides", link: "/guide/", items: guides() },
  {
    text: "Packages",
    items: published.map((name) => ({ text: `@latchkey/${name}`, link: `/packages/${name}` }))
  },
  { text: "API reference", link: "/api/" }
]

export const sidebar = {
  "/guide/": guideSidebar,
  "/packages/": guideSidebar,
  "/api/": [{ text: "API reference", link: "/api/", items: reference() }]
}
