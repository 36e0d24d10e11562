import * as Keyring from "@latchkey/storage/Keyring"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as ChildProcess from "node:child_process"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import * as Path from "node:path"
import { describeWith } from "../../../.ci/describeWith.js"
import { keychain } from "../../../.ci/programs.js"
import { keyringProgram } from "./fixtures.js"
import { type Suite, suites } from "./keyring.js"

/** A session bus on which nothing can be started. */
const emptyBus = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>`

type Bus = "session" | "empty" | "none"

/** Runs suites in a session with a home of its own; how each of their checks went. */
const runIn = async (
  bus: Bus,
  names: ReadonlyArray<Suite>
): Promise<ReadonlyMap<string, string | undefined>> => {
  const home = fs.mkdtempSync(Path.join(tmpdir(), "latchkey-keyring-"))
  try {
    fs.writeFileSync(Path.join(home, "bus.conf"), emptyBus)
    fs.mkdirSync(Path.join(home, "run"), { mode: 0o700 })
    const node = [process.execPath, await Effect.runPromise(keyringProgram), names.join()]
    const session = ["dbus-run-session", ...(bus === "empty" ? [`--config-file=${home}/bus.conf`] : []), "--"]
    const [command, ...args] = bus === "none" ? node : [...session, ...node]
    const child = ChildProcess.spawn(command!, args, {
      // Nothing of the session that the tests are run in, where somebody's own keychain is.
      env: {
        PATH: process.env["PATH"],
        HOME: home,
        XDG_RUNTIME_DIR: Path.join(home, "run"),
        XDG_DATA_HOME: Path.join(home, "data"),
        XDG_CONFIG_HOME: Path.join(home, "config"),
        XDG_CACHE_HOME: Path.join(home, "cache")
      },
      stdio: ["pipe", "pipe", "pipe"]
    })
    let output = ""
    let errors = ""
    child.stdout.on("data", (chunk) => (output += chunk))
    child.stderr.on("data", (chunk) => (errors += chunk))
    const code = await new Promise((resolve) => child.on("close", resolve))
    if (code !== 0) throw new Error(`The child ended with ${code}: ${errors}`)
    // What the session starts writes there too.
    const said = output
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as { name: string; problem?: string })
    return new Map(said.map(({ name, problem }) => [name, problem]))
  } finally {
    fs.rmSync(home, { recursive: true, force: true })
  }
}

const sessions: ReadonlyArray<{
  readonly title: string
  readonly bus: Bus
  readonly names: ReadonlyArray<Suite>
}> = [
  { title: "a keychain", bus: "session", names: ["untouched", "open", "restarted", "locked", "hanging"] },
  { title: "a bus without a keychain", bus: "empty", names: ["none"] },
  { title: "no bus", bus: "none", names: ["none"] }
]

for (const { bus, names, title } of sessions) {
  describeWith(keychain, title, () => {
    let outcomes: ReadonlyMap<string, string | undefined>
    beforeAll(async () => {
      outcomes = await runIn(bus, names)
    })
    const checks = names.flatMap((suite) => suites[suite].checks.map(({ name }) => `${suite}: ${name}`))
    it.each(checks)("%s", (name) => {
      assert.isTrue(outcomes.has(name), "it did not run")
      assert.isUndefined(outcomes.get(name))
    })
  })
}

describe("a keychain item", () => {
  it.effect.each([
    { account: "" },
    { account: "a\0b" },
    { account: "me", service: " " },
    { account: "latchkey: is the keychain open?" },
    { account: "me", timeout: 0 },
    { account: "me", timeout: Number.POSITIVE_INFINITY },
    { account: "me", timeout: -1 },
    { account: "me", timeout: JSON.parse('"soon"') as "1 second" },
    { account: "me", maxBytes: 0 }
  ])("is refused where its options cannot work: %o", (options) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Keyring.make(options))
      assert.strictEqual(error.reason, "Malformed")
    })
  )
})
