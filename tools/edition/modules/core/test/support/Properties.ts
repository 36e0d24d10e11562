/** Properties of values from arbitraries of fast-check, in each edition of Effect. Apart, as it imports the test runner. */
import { it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"

type Arbitraries = ReadonlyArray<fc.Arbitrary<any>> | Readonly<Record<string, fc.Arbitrary<any>>>

type Values<A> = { readonly [K in keyof A]: A[K] extends fc.Arbitrary<infer T> ? T : never }

interface PropertyOptions {
  readonly fastCheck?: fc.Parameters<any>
}

const together = <const A extends Arbitraries>(arbitraries: A): fc.Arbitrary<Values<A>> => {
  const all: fc.Arbitrary<any> =
    arbitraries instanceof Array ? fc.tuple(...arbitraries) : fc.record({ ...(arbitraries as object) })
  return all
}

/** A property of values from arbitraries of fast-check. */
export const prop = <const A extends Arbitraries>(
  name: string,
  arbitraries: A,
  holds: (values: Values<A>) => void,
  options?: PropertyOptions
): void =>
  it(name, () =>
    fc.assert(
      fc.property(together(arbitraries), (values) => holds(values)),
      options?.fastCheck
    )
  )

/** The same, as an effect. */
export const propEffect = <const A extends Arbitraries, B, E>(
  name: string,
  arbitraries: A,
  holds: (values: Values<A>) => Effect.Effect<B, E>,
  options?: PropertyOptions
): void =>
  it(name, () => {
    const property = fc.asyncProperty(together(arbitraries), async (values) => {
      await Effect.runPromise(holds(values))
    })
    return fc.assert(property, options?.fastCheck)
  })
