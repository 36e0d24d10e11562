/** Reads the body of a response chunk by chunk, as fast as its client can deliver it. */
import { ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Readable } from "node:stream"

/** Accepts a chunk. Returns whether to read on. */
export type Take = (chunk: Uint8Array) => boolean

/**
 * Reads to the end, or until `take` wants no more. Returns whether it reached the end. Interruption closes
 * the connection.
 *
 * The platform's clients keep the underlying response in the `source` of their responses, although no type
 * says so: `fetch`'s `Response`, or a message of Node's or undici's. It is read directly, because a `Stream`
 * takes longer than the whole rest of a request. A response without it, such as a wrapped one, is streamed.
 */
export const read = (
  response: HttpClientResponse,
  headers: Readonly<Record<string, string | undefined>>,
  take: Take
): Effect.Effect<boolean, ResponseError> => {
  const source = isPlatforms(response) ? response.source : undefined
  const body = hasBody(source) ? source.body : source
  const failed = (cause: unknown) =>
    new ResponseError({ request: response.request, response, reason: "Decode", cause })
  if (isWebStream(body)) {
    const reader = body.getReader()
    return reading(
      () => readWeb(reader, take),
      () => void reader.cancel().catch(() => undefined),
      failed
    )
  }
  if (isNodeStream(body)) {
    const isWhole = readAtHand(body, Number(headers["content-length"]), take)
    if (isWhole !== undefined) return Effect.succeed(isWhole)
    return reading(
      () => readNode(body, take),
      () => body.destroy(),
      failed
    )
  }
  return streamed(response, take)
}

const reading = (
  start: () => Promise<boolean>,
  hangUp: () => void,
  failed: (cause: unknown) => ResponseError
): Effect.Effect<boolean, ResponseError> =>
  Effect.async((resume) => {
    start().then(
      (isWhole) => resume(Effect.succeed(isWhole)),
      (cause: unknown) => resume(Effect.fail(failed(cause)))
    )
    return Effect.sync(hangUp)
  })

const readWeb = async (reader: ReadableStreamDefaultReader<Uint8Array>, take: Take): Promise<boolean> => {
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return true
    if (!take(value)) {
      // The outcome of cancelling does not matter.
      void reader.cancel().catch(() => undefined)
      return false
    }
  }
}

/**
 * Returns what arrived with the headers, if that is known to be everything. Undefined if there is more to
 * wait for. A short response comes in one piece, and waiting for its end takes longer than reading it.
 */
const readAtHand = (body: Readable, length: number, take: Take): boolean | undefined => {
  if (!(length > 0) || body.readableLength !== length) return undefined
  // It is complete, so the fate of the stream no longer matters.
  body.once("error", () => undefined)
  for (let chunk; (chunk = body.read() as Uint8Array | null) !== null;) {
    if (take(chunk)) continue
    body.destroy()
    return false
  }
  body.resume()
  return true
}

/** Leaving the loop destroys the stream. */
const readNode = async (body: Readable, take: Take): Promise<boolean> => {
  for await (const chunk of body) if (!take(chunk as Uint8Array)) return false
  return true
}

const streamed = (response: HttpClientResponse, take: Take): Effect.Effect<boolean, ResponseError> => {
  let isWhole = true
  return Effect.map(
    Stream.runForEachWhile(response.stream, (chunk) => Effect.sync(() => (isWhole = take(chunk)))),
    () => isWhole
  )
}

/** A response that inherits from another, or got a stream of its own, differs from its source. */
const isPlatforms = (
  response: HttpClientResponse
): response is HttpClientResponse & { readonly source: unknown } =>
  Object.hasOwn(response, "source") && !Object.hasOwn(response, "stream")

const hasBody = (u: unknown): u is { readonly body: unknown } =>
  typeof u === "object" && u !== null && "body" in u

const isWebStream = (u: unknown): u is ReadableStream<Uint8Array> =>
  typeof u === "object" && u !== null && "getReader" in u

const isNodeStream = (u: unknown): u is Readable =>
  typeof u === "object" && u !== null && Symbol.asyncIterator in u && "readableLength" in u
