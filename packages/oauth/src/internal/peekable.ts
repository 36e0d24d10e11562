/** A response whose body may be inspected before the program reads it. */
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse"
import * as UrlParams from "@effect/platform/UrlParams"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Streams } from "@latchkey/core/internal-api"
import * as Http from "../edition/Http.js"

type Answer = HttpClientResponse.HttpClientResponse
type Bytes = Stream.Stream<Uint8Array, Http.ResponseFailure>

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
    let end: Effect.Effect<never, Option.Option<Http.ResponseFailure>> | undefined
    let pull: Effect.Effect<Iterable<Uint8Array>, Option.Option<Http.ResponseFailure>> | undefined
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
              if (!fiber.unsafePoll()) reading = fiber
            })
          )
        : Effect.succeed(reading)
    ).pipe(Effect.flatMap(Fiber.join))

    type Step = Effect.Effect<Uint8Array, Option.Option<Http.ResponseFailure>>
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
const collected = (bytes: Bytes): Effect.Effect<Effect.Effect<Uint8Array, Http.ResponseFailure>> =>
  Stream.runCollect(bytes).pipe(
    Effect.map((chunks) => Buffer.concat([...chunks])),
    // As on the platform: the stream of a missing body fails, and its text is "".
    Effect.catchIf(
      (error) => Http.responseKindOf(error) === "EmptyBody",
      () => Effect.succeed(Buffer.alloc(0))
    ),
    Effect.cached
  )

const unreadable = (response: Answer, description: string): Http.ResponseFailure =>
  Http.responseError(response.request, response, "Decode", { description })

class WithBody extends Http.DerivedResponse implements HttpClientResponse.HttpClientResponse {
  readonly #response: Answer
  readonly #stream: Bytes
  readonly #bytes: Effect.Effect<Uint8Array, Http.ResponseFailure>

  constructor(response: Answer, stream: Bytes, bytes: Effect.Effect<Uint8Array, Http.ResponseFailure>) {
    super(response, response.request)
    this.#response = response
    this.#stream = stream
    this.#bytes = bytes
  }

  get stream() {
    return this.#stream
  }
  get arrayBuffer(): Effect.Effect<ArrayBuffer, Http.ResponseFailure> {
    return Effect.map(this.#bytes, (bytes) => new Uint8Array(bytes).buffer)
  }
  get text(): Effect.Effect<string, Http.ResponseFailure> {
    return Effect.map(this.#bytes, (bytes) => new TextDecoder().decode(bytes))
  }
  get json(): Effect.Effect<Http.Json, Http.ResponseFailure> {
    return this.decoded("The body is not JSON", this.text, (text) =>
      text === "" ? null : (JSON.parse(text) as Http.Json)
    )
  }
  get urlParamsBody() {
    return this.decoded("The body is not a form", this.text, (text) =>
      UrlParams.fromInput(new URLSearchParams(text))
    )
  }
  get formData(): Effect.Effect<FormData, Http.ResponseFailure> {
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
    text: Effect.Effect<string, Http.ResponseFailure>,
    decode: (text: string) => A
  ): Effect.Effect<A, Http.ResponseFailure> {
    return Effect.flatMap(text, (given) =>
      Effect.try({ try: () => decode(given), catch: () => unreadable(this.#response, problem) })
    )
  }
}
