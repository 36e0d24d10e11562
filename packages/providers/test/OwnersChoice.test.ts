/** A setting of Codex decides where it keeps its credentials: the file, the keychain, or its memory. */
import { describe, expect, it } from "@effect/vitest"
import { Entry } from "@latchkey/core"
import { OwnStorage } from "@latchkey/providers"
import { Effect, Option } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import * as Path from "node:path"
import { beforeEach, vi } from "vitest"
import { atNow, codex, files, home } from "./support/world.js"
import * as Edition from "../../core/test/support/Edition.js"

/** The keychain of the operating system, in memory: by service and account. */
const keychain = vi.hoisted(() => ({ items: new Map<string, string>(), locked: false }))

vi.mock("@napi-rs/keyring", () => ({
  AsyncEntry: class {
    readonly name: string
    constructor(service: string, account: string) {
      this.name = `${service}/${account}`
    }
    getPassword = async () => (this.open(), keychain.items.get(this.name))
    setPassword = async (text: string) => (this.open(), void keychain.items.set(this.name, text))
    deletePassword = async () => (this.open(), keychain.items.delete(this.name))
    open() {
      if (keychain.locked) throw new Error("Couldn't access platform storage: locked")
    }
  }
}))

beforeEach(() => {
  keychain.items.clear()
  keychain.locked = false
})

/** A directory of Codex with this in its settings, and what it keeps in its file. */
const codexHome = (config: string | undefined, file?: unknown) =>
  Effect.map(home(), ({ folder }) => {
    if (config !== undefined) fs.writeFileSync(Path.join(folder, "config.toml"), config)
    const path = Path.join(folder, "auth.json")
    if (file !== undefined) fs.writeFileSync(path, JSON.stringify(file), { mode: 0o600 })
    const digest = createHash("sha256").update(fs.realpathSync(folder)).digest("hex")
    const within = Edition.withVariables({ CODEX_HOME: folder })
    return { folder, path, within, item: `Codex Auth/cli|${digest.slice(0, 16)}` }
  })

const store = (choice: string) => `model = "gpt"\ncli_auth_credentials_store = "${choice}"\n[profiles.x]\n`

const refreshTokenOf = (path: string) => JSON.parse(fs.readFileSync(path, "utf8")).tokens.refresh_token

describe("cli_auth_credentials_store", () => {
  it.effect(
    "keyring: the item of this directory is found, written and removed; the file is not read (F15)",
    () =>
      Effect.gen(function* () {
        yield* atNow
        const stale = files.codex()
        stale.tokens.refresh_token = "spent"
        const { item, path, within } = yield* codexHome(store("keyring"), stale)
        keychain.items.set(item, JSON.stringify(files.codex()))
        expect(yield* within(OwnStorage.exists(codex))).toBe(true)
        const { storage } = yield* within(OwnStorage.make(codex))
        const { entry, version } = Option.getOrThrow(yield* storage.load)
        yield* storage.commit(Entry.refreshed(entry, entry.credentials), Option.some(version))
        const written = JSON.parse(keychain.items.get(item)!)
        expect(written).toMatchObject({ tokens: files.codex().tokens, latchkey: { generation: 1 } })
        // As Codex does it: no token stays in the file.
        expect(JSON.parse(fs.readFileSync(path, "utf8"))).toEqual({ OPENAI_API_KEY: "sk-theirs" })
        expect(yield* storage.remove).toBe(true)
        expect(JSON.parse(keychain.items.get(item)!)).toEqual({ OPENAI_API_KEY: "sk-theirs" })
      }).pipe(Effect.scoped)
  )

  it.effect("a link to the directory leads to the same item", () =>
    Effect.gen(function* () {
      yield* atNow
      const { folder, item } = yield* codexHome(store("keyring"))
      const link = `${folder}-link`
      fs.symlinkSync(folder, link)
      const located = yield* OwnStorage.locate(codex).pipe(
        Edition.withVariables({ CODEX_HOME: link }),
        Effect.ensuring(Effect.sync(() => fs.rmSync(link)))
      )
      const { account, service } = Option.getOrThrow(Option.getOrThrow(located).keychain)
      expect(`${service}/${account}`).toBe(item)
    }).pipe(Effect.scoped)
  )

  it.effect("auto: the keychain, and the file where it has no item or cannot be asked (F15)", () =>
    Effect.gen(function* () {
      yield* atNow
      const { item, path, within } = yield* codexHome(store("auto"), files.codex())
      const { storage } = yield* within(OwnStorage.make(codex))
      expect(Option.isSome(yield* storage.load)).toBe(true)
      keychain.locked = true
      expect(Option.isSome(yield* storage.load)).toBe(true)
      expect(yield* within(OwnStorage.exists(codex))).toBe(true)
      keychain.locked = false
      const live = files.codex()
      live.tokens.refresh_token = "live"
      keychain.items.set(item, JSON.stringify(live))
      const { entry, version } = Option.getOrThrow(yield* storage.load)
      yield* storage.commit(Entry.refreshed(entry, entry.credentials), Option.some(version))
      expect(JSON.parse(keychain.items.get(item)!).tokens.refresh_token).toBe("live")
      expect(JSON.parse(fs.readFileSync(path, "utf8"))).not.toHaveProperty("tokens")
    }).pipe(Effect.scoped)
  )

  it.effect("ephemeral: is told, with the setting that says so (F15)", () =>
    Effect.gen(function* () {
      const { folder, within } = yield* codexHome(store("ephemeral"), files.codex())
      const error = yield* Effect.flip(within(OwnStorage.make(codex)))
      expect(error).toMatchObject({ _tag: "ProviderError", reason: "NotOffered" })
      expect(error.message).toContain(Path.join(folder, "config.toml"))
      expect(error.message).toContain("cli_auth_credentials_store")
      expect(yield* within(OwnStorage.exists(codex))).toBe(false)
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    [undefined],
    [""],
    ['model = "gpt"\n'],
    ['# cli_auth_credentials_store = "keyring"\n'],
    ['[profiles.x]\ncli_auth_credentials_store = "keyring"\n'],
    [store("file")]
  ])("%j: the file", ([config]) =>
    Effect.gen(function* () {
      yield* atNow
      const { item, path, within } = yield* codexHome(config, files.codex())
      keychain.items.set(item, "{}")
      const { storage } = yield* within(OwnStorage.make(codex))
      expect(storage.location).toBe(path)
      expect(Option.isSome(yield* storage.load)).toBe(true)
      expect(refreshTokenOf(path)).toBe("codex-rt-1")
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    [store("vault"), "not one of file, keyring, auto, ephemeral"],
    ["cli_auth_credentials_store = 7", "not one of file, keyring, auto, ephemeral"],
    ["cli_auth_credentials_store = ", "is not TOML"]
  ])("%j is told by its place", ([config, words]) =>
    Effect.gen(function* () {
      const { folder, within } = yield* codexHome(config, files.codex())
      const error = yield* Effect.flip(within(OwnStorage.make(codex)))
      expect(error).toMatchObject({ _tag: "ProviderError", reason: "Malformed" })
      expect(error.message).toContain(Path.join(folder, "config.toml"))
      expect(error.message).toContain(words)
    }).pipe(Effect.scoped)
  )

  it.effect("another file that is given is that file, whatever Codex says of its own", () =>
    Effect.gen(function* () {
      yield* atNow
      const { within } = yield* codexHome(store("ephemeral"))
      const { path } = yield* home(files.codex())
      const { storage } = yield* within(OwnStorage.make(codex, { path }))
      expect(Option.isSome(yield* storage.load)).toBe(true)
    }).pipe(Effect.scoped)
  )
})
