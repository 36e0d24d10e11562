/** The body of a response, chunk by chunk, as fast as its client can give it. */
import { ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientResponse } from "@effect/platform/HttpClientResponse"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"

/** Takes a chunk in; whether more is wanted. */
export type Take = (chunk: Uint8Array) => boolean

/**
 * Reads to the end, or until no more is wanted: whether it came to the end. What hangs up is the end of the scope
 * that the request was sent in.
 *
 * The platform's clients keep what they were given in the `source` of their responses, though no type says
 * so: `fetch`'s `Response`, or a message of Node's or undici's. That is read as it is, since a `Stream` takes
 * longer than all the rest of a request. A response without it, one that somebody wrapped, is streamed.
 */
export const read = (response: HttpClientResponse, take: Take): Effect.Effect<boolean, ResponseError> => {
  const source = isPlatforms(response) ? response.source : undefined
  const body = hasBody(source) ? source.body : source
  const failed = (cause: unknown) =>
    new ResponseError({ request: response.request, response, reason: "Decode", cause })
  if (isWebStream(body)) {
    const reader = body.getReader()
    return reading(() => readWeb(reader, take), failed)
  }
  if (isNodeStream(body)) return reading(() => readNode(body, take), failed)
  return streamed(response, take)
}

const reading = (
  start: () => Promise<boolean>,
  failed: (cause: unknown) => ResponseError
): Effect.Effect<boolean, ResponseError> =>
  Effect.async((resume) => {
    start().then(
      (isWhole) => resume(Effect.succeed(isWhole)),
      (cause: unknown) => resume(Effect.fail(failed(cause)))
    )
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

/** Leaving the loop destroys the stream. */
const readNode = async (body: NodeStream, take: Take): Promise<boolean> => {
  for await (const chunk of body) if (!take(chunk)) return false
  return true
}

const streamed = (response: HttpClientResponse, take: Take): Effect.Effect<boolean, ResponseError> => {
  let isWhole = true
  return Effect.map(
    Stream.runForEachWhile(response.stream, (chunk) => Effect.sync(() => (isWhole = take(chunk)))),
    () => isWhole
  )
}

interface NodeStream extends AsyncIterable<Uint8Array> {
  readonly destroy: () => void
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

const isNodeStream = (u: unknown): u is NodeStream =>
  typeof u === "object" && u !== null && Symbol.asyncIterator in u && "destroy" in u
