/** Installs Effect 4 and the rest that the generated workspace needs. */
import { execFile } from "node:child_process"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as path from "node:path"
import { promisify } from "node:util"
import { all } from "./packages.js"
import { output, writeWorkspace } from "./workspace.js"

export const run = async (
  command: string,
  args: ReadonlyArray<string>,
  cwd: string,
  variables: Readonly<Record<string, string>> = {}
): Promise<string> => {
  const env = { ...process.env, ...variables }
  const { stdout } = await promisify(execFile)(command, args, { cwd, env, maxBuffer: 1 << 26 })
  return stdout.trim()
}

export const npm = (args: ReadonlyArray<string>, cwd: string): Promise<string> =>
  // Its errors are read, also where npm runs this without a word.
  run("npm", [...args, "--no-audit", "--no-fund", "--loglevel=error"], cwd)

const manifests = ["package.json", ...all.map((name) => `packages/${name}/package.json`)]

/** Installs what the manifests ask for, unless they are those of the last time. */
export const install = async (): Promise<"as it was" | "new"> => {
  writeWorkspace()
  const hash = createHash("sha256")
  for (const file of manifests) hash.update(fs.readFileSync(path.join(output, file)))
  const stamp = path.join(output, "node_modules/.manifests")
  const wanted = hash.digest("hex")
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, "utf8") === wanted) return "as it was"
  await npm(["install", "--no-package-lock"], output)
  fs.writeFileSync(stamp, wanted)
  return "new"
}
