/**
 * For AI SDKs, of two kinds. Those that take a function for the key are given the door's own (`new OpenAI({
 * apiKey: apiKey(door) })`); those that take a `fetch` (`createOpenAICompatible({ fetch, … })`) get the one of
 * `./fetch.ts`, which also replaces a token that is refused.
 */
import type { PromiseDoor } from "@latchkey/core"

export const apiKey = (door: PromiseDoor.Door) => (): Promise<string> => door.getAccessToken()
