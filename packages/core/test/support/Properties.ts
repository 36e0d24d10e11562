/** Properties of values from arbitraries of fast-check, in each edition of Effect. Apart, as it imports the test runner. */
import { it } from "@effect/vitest"

/** A property. */
export const prop = it.prop

/** The same, as an effect. */
export const propEffect = it.effect.prop
