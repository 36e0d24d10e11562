/** Durations as settings write them. */
import * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/** `30 seconds`; none where the text is no duration. */
export const fromText = (text: string): Option.Option<Duration.Duration> =>
  Duration.decodeUnknown(text as Duration.DurationInput)
