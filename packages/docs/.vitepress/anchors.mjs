/* The links to headings, which VitePress does not check: each leads to an element that is in the built page. */
import { readFileSync, readdirSync } from "node:fs"
import { join, posix } from "node:path"

const decode = (text) => decodeURIComponent(text.replaceAll("&amp;", "&"))

export const checkAnchors = (folder) => {
  const files = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(".html"))
  const built = new Map(
    files.map((name) => [name.replaceAll("\\", "/"), readFileSync(join(folder, name), "utf8")])
  )
  const ids = new Map(
    [...built].map(([name, html]) => [
      name,
      new Set([...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))
    ])
  )
  const dead = [...built].flatMap(([name, html]) =>
    [...html.matchAll(/<a [^>]*?href="([^"#:]*)#([^"]+)"/g)]
      .filter(([, path, anchor]) => {
        const target =
          path === ""
            ? name
            : posix.join(
                path.startsWith("/") ? "" : posix.dirname(name),
                decode(path)
                  .replace(/^\//, "")
                  .replace(/(^|\/)$/, "$1index.html")
              )
        return !ids.get(target)?.has(decode(anchor))
      })
      .map(([, path, anchor]) => `${name}: ${path}#${anchor}`)
  )
  if (dead.length > 0)
    throw new Error(`Links to headings that are not there:\n${[...new Set(dead)].join("\n")}`)
}
