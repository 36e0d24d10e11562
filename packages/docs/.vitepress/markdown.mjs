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

const kinds = { flowchart: "flow chart", sequenceDiagram: "sequence diagram", xychart: "chart" }

/**
 * A Mermaid diagram as a picture whose colours follow the page: its style sheet is the site's own. It shrinks a little
 * to fit a narrow page; one that is wider still is scrolled, and stays readable.
 */
const diagram = (text) => {
  const kind = kinds[/^\s*(\w+)/.exec(text)[1]] ?? "diagram"
  const svg = renderMermaidSVG(text)
    .replace(/<style>[^]*?<\/style>/, "")
    .replace(
      /<svg ([^>]*?width="([\d.]+)"[^>]*?) style="[^"]*"/,
      (_, attributes, width) =>
        `<svg ${attributes} role="img" aria-label="${kind}" style="min-width: ${Math.ceil(0.85 * width)}px"`
    )
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
    if (env.forSearch)
      return info === "mermaid" || env.path.includes("/docs/api/")
        ? ""
        : `<pre>${md.utils.escapeHtml(content)}</pre>`
    return info === "mermaid" ? diagram(content) : fence(tokens, index, options, env, self)
  }
}

/** Headings of the reference that name no thing of ours, and what is under them. */
const formal =
  /^#{3,6} (?:(?:Type )?Parameters|Returns|Extends|Extended by|Inherited from|Overrides|Constructors?)\n(?:(?!#|---).*\n)*/gm

/** What the search knows of a page: no colours and no diagrams, and of the reference only names and sentences. */
export const renderForSearch = (text, env, md) => {
  const isReference = env.path.includes("/docs/api/")
  return md.render(isReference ? text.replace(formal, "") : text, Object.assign(env, { forSearch: true }))
}
