/** Where a provider's own program keeps its credentials, by a setting in that program's TOML file. */
import * as Effect from "effect/Effect"
import { readFileSync } from "node:fs"
import * as Path from "node:path"
import { type Provider, ProviderError } from "../Provider.js"

/** `file`; `keyring`; both, in the order of `auto`; or `ephemeral`: in the memory of its process. */
export type Choice = "file" | "keyring" | "auto" | "ephemeral"

const choices: ReadonlyArray<Choice> = ["file", "keyring", "auto", "ephemeral"]

/** Returns the setting. The program's own default if there is no such file, or no setting in it. */
export const read = (provider: Provider, directory: string): Effect.Effect<Choice, ProviderError> => {
  const setting = provider.credentials?.storeSetting
  if (setting === undefined) return Effect.succeed("file")
  const path = Path.join(directory, setting.file)
  const malformed = (problem: string) =>
    new ProviderError({
      reason: "Malformed",
      provider: provider.id,
      message: `${path} says where ${provider.displayName} keeps its credentials, and ${problem}.`
    })
  return Effect.gen(function* () {
    const text = yield* Effect.try({
      try: () => readOrNone(path),
      catch: () => malformed("could not be read: check its permissions")
    })
    // The parser is loaded only if there is something to parse.
    if (!text.includes(setting.key)) return "file"
    const { parse } = yield* Effect.promise(() => import("smol-toml"))
    const document = yield* Effect.try({
      try: () => parse(text),
      catch: () => malformed("is not TOML: repair it")
    })
    const value = Object.hasOwn(document, setting.key) ? document[setting.key] : "file"
    const choice = choices.find((known) => known === value)
    return choice ?? (yield* malformed(`its ${setting.key} is not one of ${choices.join(", ")}`))
  })
}

const readOrNone = (path: string): string => {
  try {
    return readFileSync(path, "utf8")
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined
    if (code === "ENOENT" || code === "ENOTDIR") return ""
    throw error
  }
}
