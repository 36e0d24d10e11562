/* What the site does differently from VitePress with a page, so that it reads as it does on a code host. */
import { renderMermaidSVG } from "beautiful-mermaid"
import { join, relative } from "node:path"
import { linkOf } from "./pages.mjs"

const packages = join(import.meta.dirname, "../..")

/** A heading's anchor, as code hosts make it. */
export const slugify = (heading) =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .trim()
    .replace(/\s/g, "-")

/** A Mermaid diagram as a picture whose colours follow the page: its style sheet is the site's own. */
const diagram = (text) => {
  const kind = /^\s*(\w+)/.exec(text)[1].replace(/([a-z])([A-Z])/g, "$1 $2").replace(/(?<=^(?:state|flowchart|sequence)\b).*/i, " diagram")
  const svg = renderMermaidSVG(text)
    .replace(/<style>[^]*?<\/style>/, "")
    .replace(/<svg ([^>]*?) style="[^"]*"/, `<svg $1 role="img" aria-label="${kind}"`)
  return `<div class="diagram" tabindex="0" v-pre>${svg}</div>\n`
}

export const configure = (md) => {
  md.core.ruler.push("latchkey-links", ({ env, tokens }) => {
    // Without a path it is the text of a landing page's field, which has no link.
    const file = env.realPath ?? env.path
    if (file === undefined) return
    const source = relative(packages, file).replaceAll("\\", "/")
    for (const token of tokens.flatMap(({ children }) => children ?? []))
      if (token.type === "link_open") token.attrSet("href", linkOf(token.attrGet("href"), source))
  })
  const { fence } = md.renderer.rules
  md.renderer.rules.fence = (tokens, index, options, env, self) => {
    const { content, info } = tokens[index]
    if (env.forSearch) return info === "mermaid" || env.path.includes("/docs/api/") ? "" : `<pre>${md.utils.escapeHtml(content)}</pre>`
    return info === "mermaid" ? diagram(content) : fence(tokens, index, options, env, self)
  }
}

/** What the search knows of a page: without colours and diagrams, and of the reference without signatures. */
export const renderForSearch = (text, env, md) => md.render(text, Object.assign(env, { forSearch: true }))
