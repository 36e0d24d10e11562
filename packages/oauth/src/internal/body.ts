/** The body of a response, chunk by chunk, as fast as its client can give it. */
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Readable } from "node:stream"
import * as Http from "../edition/Http.js"

/** Takes a chunk in; whether more is wanted. */
export type Take = (chunk: Uint8Array) => boolean

/**
 * Reads to the end, or until no more is wanted: whether it came to the end. Interruption hangs up.
 *
 * The platform's clients keep what they were given in the `source` of their responses, though no type says
 * so: `fetch`'s `Response`, or a message of Node's or undici's. That is read as it is, since a `Stream` takes
 * longer than all the rest of a request. A response without it, one that somebody wrapped, is streamed.
 */
export const read = (
  response: HttpClientResponse,
  headers: Readonly<Record<string, string | undefined>>,
  take: Take
): Effect.Effect<boolean, Http.ResponseFailure> => {
  const source = isPlatforms(response) ? response.source : undefined
  const body = hasBody(source) ? source.body : source
  const failed = (cause: unknown) => Http.responseError(response.request, response, "Decode", { cause })
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
  failed: (cause: unknown) => Http.ResponseFailure
): Effect.Effect<boolean, Http.ResponseFailure> =>
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
      // Whatever becomes of that.
      void reader.cancel().catch(() => undefined)
      return false
    }
  }
}

/**
 * What has arrived with the headers, where it is known to be all of it; undefined if there is more to wait for. A
 * short answer comes in one piece, and to see its end takes longer than to read it.
 */
const readAtHand = (body: Readable, length: number, take: Take): boolean | undefined => {
  if (!(length > 0) || body.readableLength !== length) return undefined
  // It is complete: what becomes of the stream does not matter any more.
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

const streamed = (response: HttpClientResponse, take: Take): Effect.Effect<boolean, Http.ResponseFailure> => {
  let isWhole = true
  return Effect.map(
    Stream.runForEachWhile(response.stream, (chunk) => Effect.sync(() => (isWhole = take(chunk)))),
    () => isWhole
  )
}

/** One that inherits from another, or was given a stream of its own, is not what its source is. */
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
