/** The tables, and how their columns are written and read. */
import { atRest } from "@latchkey/core/TokenStorages"
import type * as Entry from "@latchkey/core/Entry"
import * as Option from "effect/Option"

export interface Tables {
  readonly entries: string
  readonly leases: string
  readonly migrations: string
  readonly oneTime: string
}

export const tables = (prefix: string): Tables => ({
  entries: `${prefix}_entries`,
  leases: `${prefix}_leases`,
  migrations: `${prefix}_migrations`,
  oneTime: `${prefix}_one_time`
})

/** The columns of an entry, for the statement that writes it. */
export const columnsOf = (entry: Entry.Entry): { readonly state: string; readonly due: number | null } => {
  const { dueAt, state } = atRest(entry)
  return { state, due: Option.getOrNull(dueAt) }
}

/** A name as drivers send it: JSON cannot hold half of a surrogate pair. */
export const wellFormed = (account: string): string => Buffer.from(account).toString()

/** The value that a driver returns for bytes. */
export const bytesOf = (value: unknown): Uint8Array =>
  value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : value instanceof Uint8Array
      ? value
      : new Uint8Array()
