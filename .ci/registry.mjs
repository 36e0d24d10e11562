/*
 * A registry of this project's packages on this machine, so that a printed `npm install @latchkey/…` works
 * before the packages are published. It serves their tarballs. All other names come from the machine's own
 * registry.
 */
import { execFileSync } from "node:child_process"
import { createHash } from "node:crypto"
import { mkdirSync, readFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const { workspaces } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"))

/** The folders of the published packages, by their names below packages/. */
export const published = workspaces
  .filter((folder) => folder.startsWith("packages/"))
  .map((folder) => folder.slice("packages/".length))

export const manifestOf = (name) =>
  JSON.parse(readFileSync(join(root, "packages", name, "package.json"), "utf8"))

/** Packs each package as it would be published. Returns the paths of the tarballs. */
export const pack = (folder) => {
  mkdirSync(folder, { recursive: true })
  return published.map((name) => {
    const args = ["pack", "--silent", "--pack-destination", folder]
    const said = execFileSync("npm", args, { cwd: join(root, "packages", name), encoding: "utf8" })
    return join(folder, said.trim().split("\n").at(-1))
  })
}

/**
 * Serves the tarballs. Returns the line of an `.npmrc` that directs npm and pnpm to them, and a way to stop.
 */
export const serve = async (tarballs) => {
  const packages = new Map(
    published.map((name, index) => [manifestOf(name).name, { name, bytes: readFileSync(tarballs[index]) }])
  )
  const server = createServer((request, response) => {
    const [wanted, file] = decodeURIComponent(request.url.slice(1)).split("/-/")
    const found = packages.get(wanted)
    if (found === undefined) return response.writeHead(404).end()
    if (file !== undefined) return response.end(found.bytes)
    const manifest = manifestOf(found.name)
    const tarball = `${url}/${wanted}/-/${found.name}-${manifest.version}.tgz`
    const integrity = `sha512-${createHash("sha512").update(found.bytes).digest("base64")}`
    const version = { ...manifest, dist: { tarball, integrity } }
    delete version.devDependencies
    response.setHeader("content-type", "application/json")
    response.end(
      JSON.stringify({
        name: wanted,
        "dist-tags": { latest: manifest.version },
        versions: { [manifest.version]: version },
        // pnpm requests it.
        time: { [manifest.version]: "2026-01-01T00:00:00.000Z" }
      })
    )
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const url = `http://127.0.0.1:${server.address().port}`
  return {
    npmrc: `@latchkey:registry=${url}/\n`,
    stop: () => {
      server.close()
      server.closeAllConnections()
    }
  }
}
