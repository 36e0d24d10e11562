/**
 * How a JSON file holds a grant: as a Latchkey record, or as the credentials of another program in that
 * program's document.
 *
 * @since 0.1.0
 */
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type { StorageError } from "@latchkey/core/TokenStorage"
import * as Credentials from "@latchkey/core/Credentials"
import * as Entry from "@latchkey/core/Entry"
import * as Fingerprint from "@latchkey/core/Fingerprint"
import { journalKeys, recordKeys } from "./internal/RecordKeys.js"
import { isObject, type JsonObject as Document } from "./internal/StrictJson.js"

/**
 * An object of a document. A number with more digits than JavaScript can hold is an opaque value in it.
 *
 * @since 0.1.0
 * @category models
 */
export type JsonObject = Document

/**
 * Why a document gives no entry, or accepts none: the place in it, and the problem in words, never a value
 * from it.
 *
 * - `NoGrant`: it is sound but holds something else, for example an API key.
 * - `Incomplete`: an entry lacks what the document's own program needs.
 * - `Denied`: the document is read-only.
 *
 * @since 0.1.0
 * @category models
 */
export interface FormatProblem {
  readonly reason: Extract<
    StorageError["reason"],
    "Malformed" | "NewerFormat" | "WrongUnit" | "NoGrant" | "Incomplete" | "Denied"
  >
  readonly path: string
  readonly problem: string
}

/**
 * The codec between a document and an entry.
 *
 * @since 0.1.0
 * @category models
 */
export interface FileFormat {
  /** Returns the entry in a document, or none if it holds none. `now` is for {@link Entry.instantProblem}. */
  readonly decode: (
    document: JsonObject,
    now: number
  ) => Either.Either<Option.Option<Entry.Entry>, FormatProblem>
  /**
   * Returns the document with the entry in it. Everything that the codec does not know is kept. `revision` is
   * new for each write: put it into the document, so that no two states of a file are ever equal. `previous`
   * is the entry that the document holds.
   */
  readonly encode: (
    document: JsonObject,
    entry: Entry.Entry,
    revision: string,
    previous?: Option.Option<Entry.Entry>
  ) => JsonObject
  /**
   * Returns why an entry must not be put into a document: its program could not use it. A missing field is no
   * reason to refuse the next state of the grant that is already there, because its rotated token would be
   * lost.
   */
  readonly problem?: (
    entry: Entry.Entry,
    document: JsonObject,
    context: EncodeContext
  ) => Option.Option<FormatProblem>
  /** Returns what remains of a document without the entry. None if the file should be removed too. */
  readonly clear: (document: JsonObject) => Option.Option<JsonObject>
}

/**
 * A Latchkey record at the top level of the document.
 *
 * @since 0.1.0
 * @category formats
 */
export const native: FileFormat = {
  decode: (document, now) => Either.map(Entry.fromJson(document, now), Option.some),
  encode: (document, entry, revision) => {
    const kept = Object.entries(document).filter(([key]) => !recordKeys.has(key))
    return { ...Entry.toJson(entry), revision, ...Object.fromEntries(kept) }
  },
  clear: () => Option.none()
}

/**
 * What {@link foreign} must know about another program's file.
 *
 * @since 0.1.0
 * @category models
 */
export interface ForeignOptions {
  /** The keys that lead to the credentials in the document. Empty for its top level. */
  readonly at: ReadonlyArray<string>
  /**
   * Returns the credentials in the object found there, or none if it holds none. `path` is relative to it.
   */
  readonly decode: (
    section: JsonObject,
    now: number
  ) => Either.Either<Option.Option<Credentials.Credentials>, FormatProblem>
  /**
   * Whether the expiry is not in the file but comes from the token itself, by its server's clock. Then our
   * own expiry, which corrects for the difference of the clocks, is stored beside the journal. Default: no.
   */
  readonly derivesExpiry?: boolean
  /**
   * Returns the keys to write, and `undefined` for those to remove. Objects are merged with the existing ones
   * at every level: unnamed keys stay.
   */
  readonly encode: (
    credentials: Credentials.Credentials,
    section: JsonObject,
    context: EncodeContext
  ) => JsonObject
  /**
   * Returns why these credentials must not be put there. See {@link FileFormat}. `path` is relative to the
   * object.
   */
  readonly problem?: (
    credentials: Credentials.Credentials,
    section: JsonObject,
    context: EncodeContext
  ) => Option.Option<FormatProblem>
  /**
   * Returns the object without the credentials, or none if nothing is left of it. Default: removes the whole
   * object, and the file if the object is its top level.
   */
  readonly clear?: (section: JsonObject) => Option.Option<JsonObject>
}

/**
 * What an encoder must know besides the credentials. `sameGrant`: whether the document holds an earlier state
 * of the same grant. If not, the encoder must remove everything that belongs to the grant that was there.
 *
 * @since 0.1.0
 * @category models
 */
export interface EncodeContext {
  readonly sameGrant: boolean
}

/**
 * Whether an entry is the next state of the grant that is there.
 *
 * @since 0.1.0
 * @category predicates
 */
export const isSameGrant = (entry: Entry.Entry, previous: Option.Option<Entry.Entry>): boolean =>
  Option.exists(previous, ({ family }) => family === entry.family)

/**
 * Returns why an entry is not put into a document. See {@link FileFormat}. For implementers of storages.
 *
 * @since 0.1.0
 * @category utils
 */
export const refusal = (
  format: FileFormat,
  document: JsonObject,
  entry: Entry.Entry,
  previous: Option.Option<Entry.Entry>
): Option.Option<FormatProblem> =>
  format.problem?.(entry, document, { sameGrant: isSameGrant(entry, previous) }) ?? Option.none()

/**
 * Another program's file. What that program keeps in it stays. What Latchkey must know beyond its credentials
 * (family, generation, fence, journal, identity) is stored under a top-level key `latchkey`.
 *
 * A file without that key loads as a first entry of generation 0. So does a file whose key belongs to another
 * grant, because its own program has logged in or rotated since.
 *
 * @since 0.1.0
 * @category formats
 */
export const foreign = (options: ForeignOptions): FileFormat => ({
  decode: (document, now) =>
    Either.gen(function* () {
      const section = yield* sectionAt(document, options.at)
      if (Option.isNone(section)) return Option.none()
      const found = yield* Either.mapLeft(options.decode(section.value, now), under(options.at))
      if (Option.isNone(found)) return Option.none()
      const badType = Credentials.tokenTypeNameProblem(found.value.tokenType)
      if (Option.isSome(badType))
        return yield* Either.left(malformed([...options.at, "the token type"], badType.value))
      const journal = yield* readJournal(document["latchkey"])
      return Option.some(yield* withJournal(found.value, journal, options, now))
    }),
  encode: (document, entry, revision, previous = Option.none()) => {
    const section = sectionOr(document, options.at)
    const context = { sameGrant: isSameGrant(entry, previous) }
    const changes = options.encode(entry.credentials, section, context)
    return {
      ...put(document, options.at, merge(section, changes)),
      latchkey: makeJournal(entry, revision, options.derivesExpiry === true)
    }
  },
  ...(options.problem !== undefined && {
    problem: (entry: Entry.Entry, document: JsonObject, context: EncodeContext) =>
      Option.map(
        options.problem!(entry.credentials, sectionOr(document, options.at), context),
        under(options.at)
      )
  }),
  clear: (document) => {
    const section = Option.flatten(Either.getRight(sectionAt(document, options.at)))
    const left = Option.flatMap(section, options.clear ?? (() => Option.none<JsonObject>()))
    if (Option.isNone(left) && options.at.length === 0) return Option.none()
    const { latchkey: _, ...rest } = put(document, options.at, Option.getOrUndefined(left))
    return Object.keys(rest).length === 0 ? Option.none() : Option.some(rest)
  }
})

const malformed = (path: ReadonlyArray<string>, problem: string): FormatProblem => ({
  reason: "Malformed",
  path: path.length === 0 ? "(the document)" : path.join("."),
  problem
})

const under =
  (at: ReadonlyArray<string>) =>
  (problem: FormatProblem): FormatProblem => ({ ...problem, path: [...at, problem.path].join(".") })

const sectionAt = (
  document: JsonObject,
  at: ReadonlyArray<string>
): Either.Either<Option.Option<JsonObject>, FormatProblem> => {
  let section = document
  for (const [depth, key] of at.entries()) {
    const next = Object.hasOwn(section, key) ? section[key] : undefined
    if (next === undefined || next === null) return Either.right(Option.none())
    if (!isObject(next)) return Either.left(malformed(at.slice(0, depth + 1), "is not an object"))
    section = next
  }
  return Either.right(Option.some(section))
}

/** Returns the object there, or an empty one if there is none. */
const sectionOr = (document: JsonObject, at: ReadonlyArray<string>): JsonObject =>
  Option.getOrElse(Option.flatten(Either.getRight(sectionAt(document, at))), (): JsonObject => ({}))

const put = (document: JsonObject, at: ReadonlyArray<string>, value: JsonObject | undefined): JsonObject => {
  const [key, ...rest] = at
  if (key === undefined) return value ?? {}
  const { [key]: inner, ...others } = document
  if (rest.length > 0) return { ...document, [key]: put(isObject(inner) ? inner : {}, rest, value) }
  return value === undefined ? others : { ...document, [key]: value }
}

const merge = (old: JsonObject, changes: JsonObject): JsonObject => {
  const merged: Record<string, unknown> = { ...old }
  for (const [key, value] of Object.entries(changes)) {
    const before = merged[key]
    if (value === undefined) delete merged[key]
    else merged[key] = isObject(value) && isObject(before) ? merge(before, value) : value
  }
  return merged
}

const makeJournal = (entry: Entry.Entry, revision: string, derivesExpiry: boolean): JsonObject => {
  const record = Entry.toJson(entry)
  const { accessToken, expiresAt, obtainedAt, refreshAt, serverTime } = entry.credentials
  return {
    format: Entry.formatVersion,
    revision,
    grant: Entry.grantFingerprint(entry.credentials),
    access: Fingerprint.of(accessToken),
    ...(Option.isSome(obtainedAt) ? { obtainedAt: obtainedAt.value } : {}),
    ...(derivesExpiry && Option.isSome(expiresAt) ? { expiresAt: expiresAt.value } : {}),
    ...(Option.isSome(serverTime) ? { serverTime: serverTime.value } : {}),
    ...(Option.isSome(refreshAt) ? { refreshAt: refreshAt.value } : {}),
    ...Object.fromEntries(journalKeys.flatMap((key) => (key in record ? [[key, record[key]]] : [])))
  }
}

const readJournal = (value: unknown): Either.Either<JsonObject, FormatProblem> => {
  if (value === undefined) return Either.right({})
  if (!isObject(value)) return Either.left(malformed(["latchkey"], "is not an object"))
  return typeof value["format"] === "number" && value["format"] > Entry.formatVersion
    ? Either.left({
        reason: "NewerFormat",
        path: "latchkey.format",
        problem: `has format ${value["format"]}, and this version reads formats up to ${Entry.formatVersion}: upgrade @latchkey`
      })
    : Either.right(value)
}

/**
 * The entry's own codec checks both halves, so that a foreign file follows the same rules as a Latchkey file.
 */
const withJournal = (
  found: Credentials.Credentials,
  journal: JsonObject,
  { at, derivesExpiry = false }: Pick<ForeignOptions, "at" | "derivesExpiry">,
  now: number
): Either.Either<Entry.Entry, FormatProblem> =>
  Either.gen(function* () {
    const sameToken = journal["access"] === Fingerprint.of(found.accessToken)
    const noted = (key: string) =>
      Option.liftPredicate((v: unknown): v is number => sameToken && typeof v === "number")(journal[key])
    const credentials = new Credentials.Credentials({
      ...found,
      obtainedAt: Option.orElse(found.obtainedAt, () => noted("obtainedAt")),
      expiresAt: Option.orElse(derivesExpiry ? noted("expiresAt") : Option.none(), () => found.expiresAt),
      serverTime: Option.orElse(found.serverTime, () => noted("serverTime")),
      refreshAt: Option.orElse(found.refreshAt, () => noted("refreshAt"))
    })
    const record = yield* Either.try({
      try: () => Entry.toJson(Entry.first(credentials, 0)),
      catch: () => malformed(at, "holds a blank or missing token, or a time that is not a number")
    })
    const sameGrant = journal["grant"] === Entry.grantFingerprint(credentials)
    const keys = sameGrant ? journalKeys : ["fence"]
    const known = keys.flatMap((key) => (key in journal ? [[key, journal[key]] as const] : []))
    return yield* Either.mapLeft(
      Entry.fromJson({ ...record, ...Object.fromEntries(known) }, now),
      (p): FormatProblem => ({
        ...p,
        path: `${journalKeys.includes(p.path.split(".")[0] ?? "") ? "latchkey" : at.join(".")}.${p.path}`
      })
    )
  })
