/** Secrets to search for afterwards, in every form in which they may have been written. */
import { Buffer } from "node:buffer"
import { Seeded } from "@latchkey/core/internal-api"
import { Effect } from "effect"
import { observed } from "./Observed.js"

/** A piece of a secret this long is as good as a part of the secret. */
const piece = 12

/** What tokens may consist of (RFC 6750, `b64token`), those that URLs and JSON write differently among it. */
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

/** As base64 writes it when it begins at any of the three places of a group, without the ends. */
const inBase64 = (secret: string): ReadonlyArray<string> =>
  [0, 1, 2].flatMap((offset) => {
    const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)])
    const inner = (text: string): string => text.slice(offset === 0 ? 0 : 4, Math.floor(bytes.length / 3) * 4)
    return [inner(bytes.toString("base64")), inner(bytes.toString("base64url"))]
  })

const shapes = (secret: string): ReadonlyArray<string> => [
  secret,
  encodeURIComponent(secret),
  new URLSearchParams({ s: secret }).toString().slice(2),
  Buffer.from(secret).toString("hex"),
  [...secret].reverse().join(""),
  ...inBase64(secret)
]

export class Canaries {
  readonly secrets: ReadonlyArray<string>
  /** Each piece of each shape, and whose it is. */
  private readonly pieces = new Map<string, number>()
  private next = 0
  /** How many characters have been searched. */
  searched = 0

  constructor(count: number, seed: number) {
    const draw = Seeded.make(seed)
    const letter = (): string => alphabet[draw.integer(alphabet.length)]!
    this.secrets = Array.from({ length: count }, () => Array.from({ length: 40 }, letter).join(""))
    for (const [which, secret] of this.secrets.entries()) {
      for (const shape of shapes(secret)) {
        for (let at = 0; at + piece <= shape.length; at++) this.pieces.set(shape.slice(at, at + piece), which)
      }
    }
  }

  /** One secret after another, from the first again after the last. */
  take(): string {
    return this.secrets[this.next++ % this.secrets.length]!
  }

  /** How many different ones have been given out. */
  get taken(): number {
    return Math.min(this.next, this.secrets.length)
  }

  /** The numbers of the secrets that show in a text, each with what stands around it. */
  find(text: string): ReadonlyArray<{ readonly secret: number; readonly around: string }> {
    this.searched += text.length
    const found = new Map<number, string>()
    for (let at = 0; at + piece <= text.length; at++) {
      const which = this.pieces.get(text.slice(at, at + piece))
      if (which !== undefined && !found.has(which)) {
        found.set(which, text.slice(Math.max(0, at - 60), at).replaceAll(/\s+/g, " "))
      }
    }
    return [...found].map(([secret, around]) => ({ secret, around }))
  }
}

/** Something that is done with secrets. All that it logs, traces, measures and gives is looked at. */
export interface Scenario {
  readonly name: string
  readonly play: Effect.Effect<unknown, unknown>
}

/** Plays scenarios, and says where a secret shows. */
export const play = async (canaries: Canaries, scenarios: ReadonlyArray<Scenario>) => {
  const broken: Array<string> = []
  const figures = { failures: 0, logLines: 0, spans: 0 }
  for (const { name, play } of scenarios) {
    const seen = await Effect.runPromise(observed(play))
    figures.logLines += seen.lines
    figures.spans += seen.spans
    if (seen.exit._tag === "Failure") figures.failures++
    for (const { around, secret } of canaries.find(seen.text)) {
      broken.push(`${name}: secret ${secret} shows after ${JSON.stringify(around)}`)
    }
  }
  return { ...figures, broken }
}
