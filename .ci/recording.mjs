/*
 * The output of npm start that the site plays, against what npm start prints now: the same lines, but for figures,
 * names and times. With --write it records it anew.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"

const root = join(import.meta.dirname, "..")
const file = join(root, "packages/docs/recording.txt")
const { status, stdout } = spawnSync("npm", ["start", "--silent"], {
  cwd: root,
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"]
})
process.stdout.write(stdout)
if (status !== 0) process.exit(1)

/**
 * A line without what differs from run to run: fingerprints, numbers, the plural that a number has, and, if the wait of
 * an earlier attempt still ran when the token expired, the sentence about that wait.
 */
const shapeOf = (text) =>
  text.split("\n").map((line) =>
    line
      .replace(/\b[0-9a-f]{12}\b/g, "FINGERPRINT")
      .replace(/\d[\d,.]*/g, "N")
      .replace(/ +N s {2}/, " N s  ")
      .replace(/\brequests\b/g, "request")
      .replace("The last refresh failed; nothing is sent before the retry time. ", "")
  )

if (process.argv.includes("--write")) writeFileSync(file, stdout)
else {
  const now = shapeOf(stdout)
  const then = shapeOf(readFileSync(file, "utf8"))
  const index = now.findIndex((line, at) => line !== then[at])
  if (index >= 0 || now.length !== then.length) {
    const at = index < 0 ? now.length : index
    console.error(
      `packages/docs/recording.txt is not what npm start prints. Line ${at + 1}:\n  now:      ${now[at]}\n  recorded: ${then[at]}\nRecord it again: npm run docs:record`
    )
    process.exitCode = 1
  }
}
