/** A response whose body may be inspected before the program reads it. */
import { ResponseError } from "@effect/platform/HttpClientError"
import type { HttpClientRequest } from "@effect/platform/HttpClientRequest"
import * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as HttpIncomingMessage from "@effect/platform/HttpIncomingMessage"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Inspectable from "effect/Inspectable"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"

type Answer = HttpClientResponse.HttpClientResponse
type Bytes = Stream.Stream<Uint8Array, ResponseError>

/** How much of a body may be inspected, in bytes. */
const maxPeek = 65_536

export interface Peekable {
  /** The response to inspect. Its body fails with `ResponseError` beyond {@link maxPeek}. */
  readonly view: Answer
  /** The response to pass on. Its body is complete, whatever was read of the view. */
  readonly answer: () => Answer
}

/** Reads nothing of the body until the view's body is read. */
export const peekable = (response: Answer): Effect.Effect<Peekable> =>
  Effect.gen(function* () {
    const { isStarted, view, whole } = yield* buffered(response)
    const answer = new WithBody(response, whole, yield* collected(whole))
    return {
      view: new WithBody(response, view, yield* collected(view)),
      answer: () => (isStarted() ? answer : response)
    }
  })

interface Buffered {
  readonly view: Bytes
  readonly whole: Bytes
  readonly isStarted: () => boolean
}

/** Reads the source once. The view keeps what it reads, and the complete body begins with that. */
const buffered = (response: Answer): Effect.Effect<Buffered> =>
  Effect.map(Scope.make(), (scope) => {
    const kept: Array<Uint8Array> = []
    let size = 0
    let end: Effect.Effect<never, Option.Option<ResponseError>> | undefined
    let pull: Effect.Effect<Iterable<Uint8Array>, Option.Option<ResponseError>> | undefined
    let reading: Fiber.Fiber<void> | undefined

    const close = Effect.suspend(() => Scope.close(scope, Exit.void))
    const readOnce = Effect.gen(function* () {
      pull ??= yield* Scope.extend(Streams.pullOf(response.stream), scope)
      const exit = yield* Effect.exit(pull)
      reading = undefined
      if (Exit.isSuccess(exit)) {
        for (const chunk of exit.value) {
          kept.push(chunk)
          size += chunk.length
        }
        return
      }
      const failure = Option.getOrElse(Cause.failureOption(exit.cause), () =>
        Option.some(unreadable(response, "The body could not be read"))
      )
      end = Effect.fail(failure)
      yield* close
    })
    // In its own fiber, because a reader that gives up must not lose data that arrives at that moment.
    const more = Effect.suspend(() =>
      reading === undefined
        ? Effect.tap(Effect.forkDaemon(readOnce), (fiber) =>
            Effect.sync(() => {
              if (fiber.unsafePoll() === null) reading = fiber
            })
          )
        : Effect.succeed(reading)
    ).pipe(Effect.flatMap(Fiber.join))

    type Step = Effect.Effect<Uint8Array, Option.Option<ResponseError>>
    const following = (take: () => Step | undefined): Step =>
      Effect.suspend(() => take() ?? end ?? Effect.andThen(more, following(take)))

    const view = Stream.suspend(() => {
      let at = 0
      return Streams.repeatOption(
        following(() => {
          if (size > maxPeek) {
            return Effect.fail(Option.some(unreadable(response, `The body is longer than ${maxPeek} bytes`)))
          }
          const chunk = kept[at]
          if (chunk !== undefined) at++
          return chunk && Effect.succeed(chunk)
        })
      )
    })
    const whole = Streams.repeatOption(
      following(() => {
        const chunk = kept.shift()
        return chunk && Effect.succeed(chunk)
      })
    ).pipe(Stream.ensuring(close))
    return { view, whole, isStarted: () => pull !== undefined }
  })

/** Reads everything at once. Repeated calls share the result. */
const collected = (bytes: Bytes): Effect.Effect<Effect.Effect<Uint8Array, ResponseError>> =>
  Stream.runCollect(bytes).pipe(
    Effect.map((chunks) => Buffer.concat([...chunks])),
    // As on the platform: the stream of a missing body fails, and its text is "".
    Effect.catchIf(
      ({ reason }) => reason === "EmptyBody",
      () => Effect.succeed(Buffer.alloc(0))
    ),
    Effect.cached
  )

const unreadable = (response: Answer, description: string): ResponseError =>
  new ResponseError({ request: response.request, response, reason: "Decode", description })

class WithBody extends Inspectable.Class implements HttpClientResponse.HttpClientResponse {
  readonly [HttpIncomingMessage.TypeId]: HttpIncomingMessage.TypeId = HttpIncomingMessage.TypeId
  readonly [HttpClientResponse.TypeId]: HttpClientResponse.TypeId = HttpClientResponse.TypeId
  readonly #response: Answer
  readonly #stream: Bytes
  readonly #bytes: Effect.Effect<Uint8Array, ResponseError>

  constructor(response: Answer, stream: Bytes, bytes: Effect.Effect<Uint8Array, ResponseError>) {
    super()
    this.#response = response
    this.#stream = stream
    this.#bytes = bytes
  }

  get request(): HttpClientRequest {
    return this.#response.request
  }
  get status() {
    return this.#response.status
  }
  get headers() {
    return this.#response.headers
  }
  get cookies() {
    return this.#response.cookies
  }
  get remoteAddress() {
    return this.#response.remoteAddress
  }
  get stream() {
    return this.#stream
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, ResponseError> {
    return Effect.map(this.#bytes, (bytes) => new Uint8Array(bytes).buffer)
  }
  get text(): Effect.Effect<string, ResponseError> {
    return Effect.map(this.#bytes, (bytes) => new TextDecoder().decode(bytes))
  }
  get json(): Effect.Effect<unknown, ResponseError> {
    return this.decoded("The body is not JSON", this.text, (text) =>
      text === "" ? null : (JSON.parse(text) as unknown)
    )
  }
  get urlParamsBody() {
    return this.decoded("The body is not a form", this.text, (text) =>
      UrlParams.fromInput(new URLSearchParams(text))
    )
  }
  get formData(): Effect.Effect<FormData, ResponseError> {
    const headers = { "content-type": this.headers["content-type"] ?? "" }
    return Effect.flatMap(this.arrayBuffer, (body) =>
      Effect.tryPromise({
        try: () => new Response(body, { headers }).formData(),
        catch: () => unreadable(this.#response, "The body is not form data")
      })
    )
  }

  toJSON(): unknown {
    return this.#response.toJSON()
  }

  private decoded<A>(
    problem: string,
    text: Effect.Effect<string, ResponseError>,
    decode: (text: string) => A
  ): Effect.Effect<A, ResponseError> {
    return Effect.flatMap(text, (given) =>
      Effect.try({ try: () => decode(given), catch: () => unreadable(this.#response, problem) })
    )
  }
}
