/**
 * What a proxy has done, in the text format of Prometheus.
 *
 * @since 3.1.0
 */
import type { Refusal } from "./LocalGate.js"

/**
 * Counts since the start. No path, no header and no token is in them.
 *
 * @since 3.1.0
 * @category models
 */
export interface ProxyMetrics {
  readonly answered: (status: number) => void
  readonly refused: (why: Refusal) => void
  readonly text: () => string
}

/**
 * @since 3.1.0
 * @category constructors
 */
export const make = (): ProxyMetrics => {
  const responses = new Map<string, number>()
  const refusals = new Map<string, number>()
  const count = (counts: Map<string, number>, label: string) =>
    void counts.set(label, (counts.get(label) ?? 0) + 1)
  return {
    answered: (status) => count(responses, `${Math.floor(status / 100)}xx`),
    refused: (why) => count(refusals, why),
    text: () =>
      lines("latchkey_proxy_responses_total", "status", responses) +
      lines("latchkey_proxy_refusals_total", "reason", refusals)
  }
}

const lines = (name: string, label: string, counts: ReadonlyMap<string, number>): string =>
  `# TYPE ${name} counter\n` +
  [...counts].map(([of, count]) => `${name}{${label}="${of}"} ${count}\n`).join("")
