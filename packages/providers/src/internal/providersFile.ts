/** The user's file of providers. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as fs from "node:fs/promises"
import { ProviderError } from "../Provider.js"

const maxBytes = 1_048_576

/** Returns the providers in the file. Only the outer structure is checked. None if there is no file. */
export const read = (path: string): Effect.Effect<Readonly<Record<string, unknown>>, ProviderError> =>
  Effect.gen(function* () {
    const malformed = (problem: string) =>
      new ProviderError({
        reason: "Malformed",
        provider: "",
        message: `The file of providers ${path} ${problem}.`
      })
    const file = yield* Effect.tryPromise({
      try: () => readOrNone(path),
      catch: (error) => malformed(`could not be read (${codeOf(error)}): check it, or move it away`)
    })
    if (file === undefined) return {}
    const { text } = file
    if (text === undefined) return yield* malformed(`is larger than ${maxBytes} bytes`)
    const document = yield* Effect.try({
      try: (): unknown => JSON.parse(text.replace(/^\uFEFF/, "")),
      catch: () => malformed("is not JSON: repair it, or move it away")
    })
    if (!Predicate.isRecord(document))
      return yield* malformed("is not a JSON object: see providers.schema.json")
    const unexpected = Object.keys(document).find((key) => key !== "providers" && key !== "$schema")
    if (unexpected !== undefined) {
      return yield* malformed(
        `has ${JSON.stringify(unexpected.slice(0, 64))} at its top level: providers go under "providers"`
      )
    }
    const { providers } = document
    if (!Predicate.isRecord(providers)) return yield* malformed('holds no object under "providers"')
    if (file.othersMayRead && Object.values(providers).some(hasSecret)) {
      return yield* malformed("holds a client's secret, and others may read it: chmod 600 it")
    }
    return providers
  })

const readOrNone = async (path: string) => {
  const handle = await fs.open(path, "r").catch((error: unknown) => {
    if (codeOf(error) === "ENOENT") return undefined
    throw error
  })
  if (handle === undefined) return undefined
  try {
    const { mode, size } = await handle.stat()
    return {
      othersMayRead: process.platform !== "win32" && (mode & 0o077) !== 0,
      text: size > maxBytes ? undefined : await handle.readFile("utf8")
    }
  } finally {
    await handle.close()
  }
}

const hasSecret = (provider: unknown): boolean =>
  Predicate.isRecord(provider) && Predicate.isRecord(provider["client"]) && "secret" in provider["client"]

const codeOf = (error: unknown): string =>
  Predicate.isRecord(error) || error instanceof Error
    ? String((error as { readonly code?: unknown }).code ?? "unknown")
    : "unknown"
