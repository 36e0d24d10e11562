import { defineConfig } from "vitepress"
import { checkAnchors } from "./anchors.mjs"
import { configure, renderForSearch, slugify } from "./markdown.mjs"
import { description, noPages, pages, repository, sidebar } from "./pages.mjs"

const icon =
  "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32' fill='none' stroke='#0d9488' stroke-width='4'>" +
  "<circle cx='11' cy='16' r='7'/><path d='M18 16h12v6M25 16v5'/></svg>"

export default defineConfig({
  title: "Latchkey",
  description,
  lang: "en",
  srcDir: "..",
  outDir: "site",
  srcExclude: noPages,
  rewrites: Object.fromEntries(pages),
  head: [
    ["link", { rel: "icon", href: `data:image/svg+xml,${encodeURIComponent(icon)}` }],
    ["meta", { name: "theme-color", content: "#0d9488" }]
  ],
  markdown: {
    anchor: { slugify },
    // Braces in a page are text, on a code host too.
    attrs: { disable: true },
    config: configure
  },
  vite: {
    // The index of the search, which is loaded when somebody searches.
    build: { chunkSizeWarningLimit: 1500 },
    plugins: [
      {
        // Pages lie outside of this folder, where Vue is not found; what is built of them lies inside.
        name: "latchkey-vue",
        enforce: "pre",
        resolveId: (id, _, { ssr }) =>
          ssr && /^vue(?:\/server-renderer)?$/.test(id) ? { id, external: true } : undefined
      }
    ]
  },
  themeConfig: {
    nav: [
      { text: "Guides", link: "/guide/", activeMatch: "^/(?:guide|packages)/" },
      { text: "API", link: "/api/", activeMatch: "^/api/" },
      { text: "Repository", link: repository }
    ],
    sidebar,
    outline: [2, 3],
    editLink: { pattern: `${repository}/edit/main/packages/:path`, text: "Edit this page" },
    search: { provider: "local", options: { _render: renderForSearch } },
    footer: { message: "MIT licensed" }
  },
  transformPageData: ({ filePath, frontmatter }) => {
    // Made from the docstrings: there is no file to edit.
    if (filePath.startsWith("docs/api/")) frontmatter.editLink = false
  },
  buildEnd: ({ outDir, pages: found }) => {
    const strange = found.filter((page) => !pages.has(page))
    if (strange.length > 0) throw new Error(`Pages that have no place in the site: ${strange.join(", ")}`)
    checkAnchors(outDir)
  }
})
