/** `@aws-sdk/token-providers`: the token of a login by `aws sso login`, from the files of that command. */
import { fromSso } from "@aws-sdk/token-providers"
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Open } from "../src/Peer.js"

const config = `[profile bench]
sso_session = bench
[sso-session bench]
sso_start_url = https://sso.example/start
sso_region = eu-central-1
`

export const open: Open = async (_, held) => {
  const home = mkdtempSync(join(tmpdir(), "latchkey-aws-"))
  process.once("exit", () => rmSync(home, { recursive: true, force: true }))
  const cache = join(home, ".aws/sso/cache")
  mkdirSync(cache, { recursive: true })
  writeFileSync(join(home, ".aws/config"), config)
  const token = { accessToken: held.accessToken, expiresAt: new Date(held.expiresAt).toISOString() }
  const name = createHash("sha1").update("bench").digest("hex")
  writeFileSync(join(cache, `${name}.json`), JSON.stringify(token), { mode: 0o600 })
  process.env["HOME"] = home
  const provider = fromSso({ profile: "bench" })
  const get = async () => (await provider()).token
  await get()
  return { get, refresh: get, held: () => held }
}
