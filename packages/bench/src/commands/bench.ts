/** `npm run bench [-- --json]`: ratios against peers, all in one run. */
import { spawnSync } from "node:child_process"
import { bundleCommand } from "../Bundle.js"
import { installPeers } from "../Install.js"
import { startServer } from "../Servers.js"

installPeers()
const program = await bundleCommand("bench-process")
const server = await startServer({ accessTokenTtl: 60 })
const logins: Array<string> = []
for (let i = 0; i < 5; i++) logins.push(await server.login())
const { status } = spawnSync(
  process.execPath,
  [program, server.issuer, logins.join(" "), ...process.argv.slice(2)],
  {
    stdio: "inherit"
  }
)
server.stop()
process.exit(status ?? 1)
