/**
 * The identity token that a platform gives to a program which runs on it: from a file, from the OIDC endpoint of
 * GitHub Actions, or from the metadata server of a cloud. Use it as a client's assertion
 * (`ClientAuth.assertion`), as the assertion of `JwtBearer`, or as the subject of `TokenExchange`.
 *
 * Where it comes from is data. {@link plan} decides what to read, {@link tokenIn} reads the answer, and
 * {@link read} does both.
 *
 * @since 0.1.0
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import { TimeLimit } from "@latchkey/core/internal-api"
import { RefreshError } from "@latchkey/core/TokenRefresher"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { constTrue } from "effect/Function"
import * as Redacted from "effect/Redacted"
import * as fs from "node:fs/promises"
import { isLoopback } from "./Endpoint.js"
import * as Body from "./internal/body.js"

/**
 * Where the token is from.
 *
 * - `file`: a file that the platform renews: a projected service account token of Kubernetes, or the file that
 *   `AZURE_FEDERATED_TOKEN_FILE` or `AWS_WEB_IDENTITY_TOKEN_FILE` names. Give `path`, or the `variable`.
 * - `githubActions`: the endpoint that a job with `permissions: id-token: write` has.
 * - `google`: the metadata server of Google Cloud.
 * - `azure`: the metadata server of Azure (IMDS). `clientId` is that of a user-assigned identity.
 *
 * `audience` is that of the token, as the authorization server wants it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Source {
  readonly from: "file" | "githubActions" | "google" | "azure"
  readonly path?: string | undefined
  readonly variable?: string | undefined
  readonly audience?: string | undefined
  readonly clientId?: string | undefined
}

/**
 * What to read. `field`: the field of the JSON answer that holds the token; undefined if the answer is the token.
 *
 * @since 0.1.0
 * @category models
 */
export type Plan =
  | { readonly _tag: "File"; readonly path: string }
  | {
      readonly _tag: "Request"
      readonly url: string
      readonly headers: Readonly<Record<string, string>>
      readonly bearer: Redacted.Redacted | undefined
      readonly field: string | undefined
      /** A header that only the metadata server's own answer has. */
      readonly mark: readonly [name: string, value: string] | undefined
    }

/**
 * The variables of the environment that a source needs.
 *
 * @since 0.1.0
 * @category getters
 */
export const variablesOf = ({ from, variable }: Source): ReadonlyArray<string> => {
  switch (from) {
    case "file":
      return variable === undefined ? [] : [variable]
    case "githubActions":
      return ["ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
    case "google":
      return ["GCE_METADATA_HOST"]
    case "azure":
      return ["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
  }
}

/** The metadata server of every cloud: link-local (RFC 3927), so that no name server decides who it is. */
const linkLocal = "http://169.254.169.254"

/** The metadata server, or one on this machine, such as the proxy of a test. No other host ever. */
const metadataServer = (name: string, given: string): Either.Either<string, string> => {
  const text = given === "" || given.includes("://") ? given : `http://${given}`
  if (text === "" || ["http://metadata.google.internal", linkLocal].includes(text.replace(/\/$/, ""))) {
    return Either.right(linkLocal)
  }
  const url = URL.canParse(text) ? new URL(text) : undefined
  return url?.protocol === "http:" && isLoopback(url)
    ? Either.right(url.origin)
    : Either.left(`${name} names neither the metadata server nor this machine: remove it`)
}

/**
 * Decides what to read, from the values of {@link variablesOf}. The problem holds no value.
 *
 * @since 0.1.0
 * @category getters
 */
export const plan = (
  source: Source,
  variables: Readonly<Record<string, string>>
): Either.Either<Plan, string> => {
  const { audience = "", clientId, from, path, variable } = source
  if (from === "file") {
    const file = path ?? variables[variable ?? ""] ?? ""
    return file === ""
      ? Either.left(`${variable ?? "path"} is not set: name the file with the token`)
      : Either.right({ _tag: "File", path: file })
  }
  if (audience === "") return Either.left("audience is missing: name the audience that the server wants")
  if (from === "githubActions") {
    const [address = "", token = ""] = variablesOf(source).map((name) => variables[name])
    const url = URL.canParse(address) ? new URL(address) : undefined
    if (url === undefined || token === "" || !(url.protocol === "https:" || isLoopback(url))) {
      return Either.left("this is no job of GitHub Actions with permissions: id-token: write")
    }
    url.searchParams.set("audience", audience)
    return Either.right({
      _tag: "Request",
      url: url.href,
      headers: { accept: "application/json" },
      bearer: Redacted.make(token),
      field: "value",
      mark: undefined
    })
  }
  const [name = ""] = variablesOf(source)
  return Either.map(metadataServer(name, variables[name] ?? ""), (origin) => {
    const query = new URLSearchParams(
      from === "google"
        ? { audience, format: "full" }
        : {
            "api-version": "2018-02-01",
            resource: audience,
            ...(clientId !== undefined && { client_id: clientId })
          }
    )
    return from === "google"
      ? {
          _tag: "Request",
          url: `${origin}/computeMetadata/v1/instance/service-accounts/default/identity?${query}`,
          headers: { "metadata-flavor": "Google" },
          bearer: undefined,
          field: undefined,
          mark: ["metadata-flavor", "Google"]
        }
      : {
          _tag: "Request",
          url: `${origin}/metadata/identity/oauth2/token?${query}`,
          headers: { metadata: "true" },
          bearer: undefined,
          field: "access_token",
          mark: undefined
        }
  })
}

/**
 * Returns the token in a text, or in a field of its JSON. None of the text is in the problem.
 *
 * @since 0.1.0
 * @category parsing
 */
export const tokenIn = (text: string, field?: string): Either.Either<Redacted.Redacted, string> => {
  const token = field === undefined ? text.trim() : fieldOf(text, field)
  return typeof token === "string" && /^[\x21-\x7e]+$/.test(token)
    ? Either.right(Redacted.make(token))
    : Either.left("holds no token")
}

const fieldOf = (text: string, field: string): unknown => {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === "object" && parsed !== null
      ? (parsed as Record<string, unknown>)[field]
      : undefined
  } catch {
    return undefined
  }
}

/** A longer one is no token. */
const longest = 65_536

/** A file and a metadata server are near. */
const patience = "10 seconds"

const failed = (reason: RefreshError["reason"], message: string) => new RefreshError({ reason, message })

/**
 * Reads the token, each time anew: the platform renews it. Redirects are not followed. Fails with `Misconfigured`
 * if the program does not run where the source says, and with `NotSent` if the token may be there later. Neither
 * holds a secret.
 *
 * @since 0.1.0
 * @category operations
 */
export const read = (source: Source): Effect.Effect<Redacted.Redacted, RefreshError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const names = variablesOf(source)
    const values = yield* Effect.forEach(names, (name) =>
      Effect.mapError(Config.withDefault(Config.string(name), ""), () =>
        failed("Misconfigured", `The identity of this workload is not known: ${name} cannot be read.`)
      )
    )
    const variables = Object.fromEntries(names.map((name, i) => [name, values[i] ?? ""]))
    const planned = yield* Either.mapLeft(plan(source, variables), (problem) =>
      failed("Misconfigured", `The identity of this workload is not known: ${problem}.`)
    )
    return yield* planned._tag === "File" ? fromFile(planned.path) : fromServer(planned)
  }).pipe(
    TimeLimit.orFail(patience, () =>
      failed("NotSent", "The identity of this workload could not be fetched in time.")
    )
  )

const fromFile = (path: string): Effect.Effect<Redacted.Redacted, RefreshError> =>
  Effect.tryPromise({
    try: () => textOf(path),
    catch: () =>
      failed(
        "NotSent",
        `The identity of this workload cannot be read from ${path}: check that it is mounted there.`
      )
  }).pipe(
    Effect.flatMap((text) =>
      Either.mapLeft(tokenIn(text), (problem) => failed("NotSent", `The file ${path} ${problem}.`))
    )
  )

const textOf = async (path: string): Promise<string> => {
  const file = await fs.open(path, "r")
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(longest), 0, longest, 0)
    return buffer.toString("utf8", 0, bytesRead)
  } finally {
    await file.close()
  }
}

const fromServer = (
  planned: Extract<Plan, { readonly _tag: "Request" }>
): Effect.Effect<Redacted.Redacted, RefreshError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const client = HttpClient.withScope(yield* HttpClient.HttpClient)
    const { host } = new URL(planned.url)
    const { bearer, field, headers, mark, url } = planned
    const unreachable = failed(
      "NotSent",
      `The identity of this workload could not be fetched from ${host}: check that the program runs on that platform.`
    )
    const response = yield* Effect.mapError(
      client.execute(
        HttpClientRequest.setHeaders(HttpClientRequest.get(url), {
          ...headers,
          ...(bearer !== undefined && { authorization: `Bearer ${Redacted.value(bearer)}` })
        })
      ),
      () => unreachable
    )
    const { status } = response
    const isMarked = mark === undefined || response.headers[mark[0]] === mark[1]
    if (status !== 200 || !isMarked) {
      const isLater = status >= 500 || status === 429
      return yield* failed(
        isLater ? "NotSent" : "Misconfigured",
        `The identity of this workload was refused: ${host} answered ${status}${isMarked ? "" : " and is no metadata server"}.`
      )
    }
    const chunks: Array<Uint8Array> = []
    let size = 0
    const isWhole = yield* Effect.mapError(
      Body.read(response, response.headers, (chunk) => {
        chunks.push(chunk)
        size += chunk.length
        return size <= longest
      }),
      () => unreachable
    )
    const text = isWhole ? Buffer.concat(chunks).toString("utf8") : ""
    return yield* Either.mapLeft(tokenIn(text, field), (problem) =>
      failed("Misconfigured", `The answer of ${host} ${problem}.`)
    )
  }).pipe(
    Effect.scoped,
    Effect.locally(HttpClient.currentTracerDisabledWhen, constTrue),
    Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" })
  )
