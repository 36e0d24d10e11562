/** `latchkey setup`: the lines that it prints, and the files that it changes or leaves alone. */
import { Effect, Either, Exit, Option, Scope } from "effect"
import { existsSync } from "node:fs"
import { lstat, mkdir, readFile, readdir, stat, symlink, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import { describeWith } from "../../../.ci/describeWith.js"
import { git, kubectl } from "../../../.ci/programs.js"
import * as SetupPlan from "../src/SetupPlan.js"
import * as Desk from "./support/Desk.js"

const scope = Effect.runSync(Scope.make())
afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

let desk: Desk.Desk
const at = (...path: ReadonlyArray<string>) => join(desk.home, ...path)

const put = async (path: string, text: string): Promise<string> => {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, text, { mode: 0o600 })
  return path
}

beforeEach(async () => {
  desk = await Effect.runPromise(Scope.extend(Desk.make, scope))
  const claudeAiOauth = { accessToken: "canary-1", refreshToken: "canary-2", expiresAt: 4e12, scopes: [] }
  await put(at("claude", ".credentials.json"), JSON.stringify({ claudeAiOauth }))
})

const script = (protocol: string, host: string) =>
  `#!/bin/sh\n# Written by latchkey setup, which may replace this file.\nexec latchkey credential ${protocol} --for ${host}=claude/default "$@"\n`

const section = (host: string) =>
  `[credential "https://${host}"]\n\thelper =\n\thelper = !latchkey credential git --for ${host}=claude/default\n`

/** As git itself writes it. */
const written = (host: string) => section(host).replace("helper =\n", "helper = \n")

it("prints the lines on stdout and where they belong on stderr, and writes nothing", async () => {
  const before = await readdir(desk.home)
  expect(await desk.run("setup git claude --host Git.example.com")).toEqual({
    code: 0,
    stdout: section("git.example.com"),
    stderr: "Add this to ~/.gitconfig:\nOr let this command write it: --write\n"
  })
  expect(await desk.run("setup docker claude --host r.example.com:5000")).toEqual({
    code: 0,
    stdout: `${script("docker", "r.example.com:5000")}{\n\t"credHelpers": {\n\t\t"r.example.com:5000": "latchkey-r.example.com-5000"\n\t}\n}\n`,
    stderr:
      "Save this as ~/.local/bin/docker-credential-latchkey-r.example.com-5000, executable:\nAdd this to ~/.docker/config.json:\nOr let this command write it: --write\n"
  })
  expect(await desk.run("setup bazel claude --host cache.example.com")).toMatchObject({
    code: 0,
    stdout: `${script("bazel", "cache.example.com")}common --credential_helper=cache.example.com=${desk.data}/helpers/bazel-cache.example.com\n`
  })
  expect(await desk.run("setup kubectl claude")).toEqual({
    code: 0,
    stdout: [
      "users:",
      "  - name: latchkey-claude-default",
      "    user:",
      "      exec:",
      "        apiVersion: client.authentication.k8s.io/v1",
      "        command: latchkey",
      '        args: ["token", "claude/default", "--format", "kubectl"]',
      "        interactiveMode: Never",
      ""
    ].join("\n"),
    stderr:
      "Add this to ~/.kube/config:\nThen run: kubectl config set-context --current --user=latchkey-claude-default\nOr let this command write it: --write\n"
  })
  expect(JSON.parse((await desk.run("setup git claude --host a.example --json")).stdout)).toMatchObject({
    files: [{ path: at(".gitconfig"), executable: false }]
  })
  expect(await readdir(desk.home)).toEqual(before)
})

it.each([
  ["localhost", "http"],
  ["127.1.2.3:8080", "http"],
  ["[::1]:8080", "http"],
  ["localhost.example.com", "https"],
  ["127.example.com", "https"],
  ["127.0.0.1.example.com", "https"],
  ["[::1:2]", "https"]
])("git reads %s by %s: without TLS from this machine alone", async (host, scheme) => {
  const { stdout } = await desk.run(`setup git claude --host ${host}`)
  expect(stdout).toContain(`[credential "${scheme}://${host}"]`)
})

it.each([
  ["setup svn claude --host a.example", /no setup for "svn"/],
  ["setup git claude", /needs the host/],
  ["setup git claude --host https://a.example", /is not a host/],
  ["setup git nobody --host a.example", /no account "nobody"/],
  ["setup git claude --host a.example --username a;b", /special in settings/],
  ["setup docker claude --host a.example --bearer", /for git only/]
])("%s is refused, and says what to do", async (line, words) => {
  const { code, stderr, stdout } = await desk.run(`${line} --write`)
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" })
  expect(stderr).toMatch(words)
  expect(stderr).toContain("next: ")
})

describeWith(git, "git", () => {
  it("adds its section once, and keeps the rest of the file byte by byte, its mode, and a link to it", async () => {
    const theirs = "# mine\n[user]\n\tname = Ada   # me\n[credential]\n\thelper = store\n"
    const real = await put(at("dotfiles", "gitconfig"), theirs)
    await symlink(real, at(".gitconfig"))
    const first = await desk.run("setup git claude --host git.example.com --write")
    expect(first).toEqual({ code: 0, stdout: "", stderr: "~/.gitconfig: written\n" })
    expect(await readFile(real, "utf8")).toBe(theirs + written("git.example.com"))
    expect((await lstat(at(".gitconfig"))).isSymbolicLink()).toBe(true)
    expect((await stat(real)).mode & 0o777).toBe(0o600)
    const again = await desk.run("setup git claude --host git.example.com --write --json")
    expect(JSON.parse(again.stdout)).toMatchObject({ files: [{ changed: false }] })
    expect(await readFile(real, "utf8")).toBe(theirs + written("git.example.com"))
    expect(await readdir(at("dotfiles"))).toEqual(["gitconfig"])
  })

  it("leaves the helper of somebody else for the same host alone", async () => {
    const theirs = '[credential "https://git.example.com"]\n\thelper = !other\n'
    await put(at(".gitconfig"), theirs)
    expect(await desk.run("setup git claude --host git.example.com --write")).toMatchObject({
      code: 6,
      stdout: "",
      stderr: expect.stringMatching(/was not changed: it has other helpers[^]*next: remove them: git config/)
    })
    expect(await readFile(at(".gitconfig"), "utf8")).toBe(theirs)
  })

  it("does not wait for git's own lock, does not break it, and leaves a file that git cannot read", async () => {
    await put(at(".gitconfig.lock"), "")
    expect(await desk.run("setup git claude --host git.example.com --write")).toMatchObject({
      code: 4,
      stderr: expect.stringContaining(".gitconfig.lock exists")
    })
    expect(existsSync(at(".gitconfig"))).toBe(false)
    expect(existsSync(at(".gitconfig.lock"))).toBe(true)
    desk.set("GIT_CONFIG_GLOBAL", await put(at("broken"), "[canary-3\n"))
    const refused = await desk.run("setup git claude --host git.example.com --write")
    expect(refused).toMatchObject({ code: 6, stderr: expect.stringContaining("could not read") })
    expect(refused.stderr).not.toContain("canary-3")
    expect(await readFile(at("broken"), "utf8")).toBe("[canary-3\n")
  })
})

it.each([
  [[], "absent"],
  [[""], "absent"],
  [["", "ours"], "present"],
  [["store", "", "ours"], "present"],
  [["ours"], "conflict"],
  [["", "ours", "store"], "conflict"],
  [["store"], "conflict"],
  [["", "store"], "conflict"]
])("the helpers %j of a URL: ours is %s", (helpers, state) => {
  expect(SetupPlan.gitState(helpers, "ours")).toBe(state)
})

describe("Docker", () => {
  const setup = "setup docker claude --host r.example.com --write"
  const config = () => at(".docker", "config.json")
  const helper = () => at(".local", "bin", "docker-credential-latchkey-r.example.com")

  it("writes the script and its entry once, and keeps the rest and its indentation", async () => {
    await put(config(), '{\n  "auths": { "a.example": {} },\n  "credHelpers": { "b.example": "pass" }\n}\n')
    expect(await desk.run(setup)).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/: written\n~\/\.docker\/config\.json: written\n.*is not in PATH/)
    })
    expect(await readFile(helper(), "utf8")).toBe(script("docker", "r.example.com"))
    expect((await stat(helper())).mode & 0o777).toBe(0o755)
    const written = await readFile(config(), "utf8")
    expect(written).toBe(
      `${JSON.stringify({ auths: { "a.example": {} }, credHelpers: { "b.example": "pass", "r.example.com": "latchkey-r.example.com" } }, null, 2)}\n`
    )
    const again = await desk.run(`${setup} --json`)
    expect(JSON.parse(again.stdout)).toMatchObject({ files: [{ changed: false }, { changed: false }] })
    expect(await readFile(config(), "utf8")).toBe(written)
  })

  it.each([
    ["another helper", '{"credHelpers":{"r.example.com":"pass"}}'],
    ["no object", "[]"],
    ["cut off", '{"auths":'],
    ["helpers of a wrong type", '{"credHelpers":[]}']
  ])("%s: writes neither file", async (_, text) => {
    await put(config(), text)
    expect(await desk.run(setup)).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("config.json was not changed")
    })
    expect(await readFile(config(), "utf8")).toBe(text)
    expect(existsSync(helper())).toBe(false)
  })

  it("a program of somebody else is not replaced", async () => {
    await put(helper(), "#!/bin/sh\nexec other\n")
    expect(await desk.run(setup)).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("another program")
    })
    expect(existsSync(config())).toBe(false)
    await put(helper(), script("docker", "old.example.com"))
    expect(await desk.run(setup)).toMatchObject({ code: 0 })
    expect(await readFile(helper(), "utf8")).toBe(script("docker", "r.example.com"))
  })
})

describe("Bazel", () => {
  const setup = "setup bazel claude --host cache.example.com --write"
  const line = () =>
    `common --credential_helper=cache.example.com=${desk.data}/helpers/bazel-cache.example.com\n`

  it.each([
    ["", ""],
    ["build -k\n", "build -k\n"],
    ["build -k", "build -k\n"],
    ["build \\\n", "build \\\n\n"],
    ["build \\", "build \\\n\n"],
    ["# --credential_helper=cache.example.com=x\n", "# --credential_helper=cache.example.com=x\n"]
  ])("adds its line after %j, once", async (before, kept) => {
    await put(at(".bazelrc"), before)
    expect(await desk.run(setup)).toMatchObject({ code: 0 })
    expect(await readFile(at(".bazelrc"), "utf8")).toBe(kept + line())
    expect(await desk.run(setup)).toMatchObject({ code: 0, stderr: expect.stringContaining("nothing to do") })
    expect(await readFile(at(".bazelrc"), "utf8")).toBe(kept + line())
  })

  it("leaves another helper for the host alone", async () => {
    await put(at(".bazelrc"), "build --credential_helper=cache.example.com=/bin/x\n")
    expect(await desk.run(setup)).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("was not changed")
    })
    expect(existsSync(join(desk.data, "helpers"))).toBe(false)
  })
})

describeWith(kubectl, "kubectl", () => {
  it(
    "adds its user once, keeps the others, and replaces none of the same name",
    { timeout: 60_000 },
    async () => {
      const theirs = { name: "ada", user: { token: "canary-3" } }
      const file = await put(
        at("kube"),
        JSON.stringify({ apiVersion: "v1", kind: "Config", users: [theirs], clusters: [], contexts: [] })
      )
      desk.set("KUBECONFIG", file)
      const first = await desk.run("setup kubectl claude --write")
      expect(first).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("Now run: kubectl config set-context")
      })
      const written = await readFile(file, "utf8")
      expect(written).toContain("canary-3")
      expect(written).toMatch(/interactiveMode: Never/)
      expect(await desk.run("setup kubectl claude --write")).toMatchObject({
        code: 0,
        stderr: expect.stringContaining("nothing to do")
      })
      expect(await readFile(file, "utf8")).toBe(written)
      await put(file, written.replace("interactiveMode: Never", "interactiveMode: Always"))
      const refused = await desk.run("setup kubectl claude --write")
      expect(refused).toMatchObject({ code: 6, stderr: expect.stringContaining("another user") })
      expect(JSON.stringify([first, refused])).not.toContain("canary")
      expect(await readdir(desk.home)).not.toContain("kube.lock")
    }
  )
})

it("a user of a kubeconfig is ours only if nothing in it differs", () => {
  const exec: SetupPlan.Exec = { apiVersion: "v", command: "c", args: ["a"], interactiveMode: "Never" }
  const state = (user: unknown) =>
    SetupPlan.kubectlState(JSON.stringify({ users: [{ name: "u", user }] }), "u", exec)
  expect(state({ exec: { ...exec, env: null, provideClusterInfo: false } })).toBe("present")
  expect(state({ exec: { ...exec, args: ["b"] } })).toBe("conflict")
  expect(state({ exec, token: "t" })).toBe("conflict")
  expect(state(null)).toBe("conflict")
  expect(SetupPlan.kubectlState('{"users":null}', "u", exec)).toBe("absent")
})

it("a change by another program in the same moment is not lost", async () => {
  const { edit } = await import("../src/internal/configFile.js")
  const file = await put(at("settings"), "one")
  const result = await Effect.runPromise(
    Effect.either(
      edit(file, 0o600, () =>
        Effect.as(
          Effect.promise(() => writeFile(file, "theirs")),
          Option.some("two")
        )
      )
    )
  )
  expect(Either.isLeft(result) && result.left.reason).toBe("Busy")
  expect(await readFile(file, "utf8")).toBe("theirs")
})

it.runIf(existsSync("/proc/self"))(
  "settings where nothing can be created are an error, and no wait",
  async () => {
    const { edit } = await import("../src/internal/configFile.js")
    const result = await Effect.runPromise(
      Effect.either(edit("/proc/none/config", 0o600, () => Effect.succeedSome("one")))
    )
    expect(Either.isLeft(result) && result.left.message).toContain("/proc/none")
  }
)
