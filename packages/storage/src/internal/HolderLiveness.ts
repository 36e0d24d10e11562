/**
 * Proves that the holder of a lease is alive, to processes on the same host: a file that the holder keeps
 * locked in the kernel. If the file can be locked, its holder is dead. A missing file proves nothing, because
 * its holder may be in another container or run as another user. Then the lease's time decides.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { randomBytes } from "node:crypto"
import { constants } from "node:fs"
import * as fs from "node:fs/promises"
import * as Path from "node:path"
import { attempt, type FileProblem } from "./FileProblem.js"
import * as HolderStamp from "./HolderStamp.js"
import { close, openForLock, tryLock } from "./KernelLock.js"
import { here } from "./LeaseFile.js"
import * as OwnDirectory from "./OwnDirectory.js"
import { holderOf, unlink } from "./PrivateFile.js"

/** A possible holder of a lease, with a new name each time. Many have the same file, one after the other. */
export interface Holder {
  /** The name that the lease records. It was never used before, and on this host it leads to the proof. */
  readonly owner: string
  /** Writes into the proof when the lease was last taken or renewed, by the monotonic clock. */
  readonly stamp: (monotonic: number) => Effect.Effect<void>
  /**
   * Ends the proof. If the lease could not be released, the file stays, so that it proves the holder's death.
   */
  readonly end: (released: boolean) => Effect.Effect<void>
}

export interface Proofs {
  /** Never fails: without a proof, the lease's time alone decides. */
  readonly begin: Effect.Effect<Holder>
  readonly isDead: (owner: string) => Effect.Effect<boolean>
  /** When the owner last renewed, if it is on this host. */
  readonly renewedAt: (owner: string) => Effect.Effect<Option.Option<number>>
  /** Removes the file of a dead holder. */
  readonly bury: (owner: string) => Effect.Effect<void>
}

const place = `${here.host}/${here.boot}/`

/** An owner's name: `host/boot/file.number`. */
const owners = /^([^/]*)\/([^/]*)\/[0-9a-f]{32}(?:\.\d+)?$/

/** Whether an owner was a process of an earlier boot of this host. Then it has ended. */
const isOfEarlierBoot = (owner: string): boolean => {
  const [, host, boot] = owners.exec(owner) ?? []
  return host === here.host && boot !== here.boot && boot !== "" && here.boot !== ""
}

/**
 * Creates proofs beside the path that `base` returns, or none if it returns none. `oneHost`: whether everyone
 * who shares the leases is on this host. If not, another host may have the same name, and its boots prove
 * nothing.
 */
export const make = (base: Effect.Effect<Option.Option<string>>, oneHost = false): Proofs => {
  const fileOf = (id: string) =>
    Effect.map(
      base,
      Option.map((path) => holderOf(path, id))
    )
  const find = (owner: string): Effect.Effect<Option.Option<string>> => {
    const id = owner.slice(place.length, place.length + 32)
    return owner.startsWith(place) && owners.test(owner) ? fileOf(id) : Effect.succeedNone
  }
  const lock = Effect.suspend(() => {
    const id = randomBytes(16).toString("hex")
    return Effect.map(Effect.flatMap(fileOf(id), lockNew), (proof) => ({ id, ...proof, uses: 0 }))
  })
  const spare: Array<Proof> = []
  let held = 0
  const end = (proof: Proof, released: boolean): Effect.Effect<void> =>
    Effect.suspend(() => {
      held--
      if (released && !oneHost && held > 0 && spare.length < mostSpare) {
        spare.push(proof)
        return Effect.void
      }
      const unused = held === 0 ? spare.splice(0) : []
      return Effect.andThen(
        proof.end(released),
        Effect.forEach(unused, (one) => one.end(true), { discard: true })
      )
    })
  return {
    begin: Effect.suspend(() => {
      held++
      const known = spare.pop()
      return Effect.map(known === undefined ? lock : Effect.succeed(known), (proof): Holder => ({
        owner: `${place}${proof.id}.${++proof.uses}`,
        stamp: proof.stamp,
        end: (released) => end(proof, released)
      }))
    }),
    renewedAt: (owner) =>
      Effect.flatMap(
        find(owner),
        Option.match({ onNone: () => Effect.succeedNone, onSome: HolderStamp.read })
      ),
    isDead: (owner) =>
      oneHost && isOfEarlierBoot(owner)
        ? Effect.succeed(true)
        : Effect.flatMap(
            find(owner),
            Option.match({
              onNone: () => Effect.succeed(false),
              onSome: (path) => Effect.orElseSucceed(canLock(path), () => false)
            })
          ),
    bury: (owner) =>
      Effect.flatMap(
        find(owner),
        Option.match({ onNone: () => Effect.void, onSome: (path) => Effect.ignore(unlink(path)) })
      )
  }
}

/** The directory for the proofs of leases that are stored in no file of this host. */
export const ownDirectory: Effect.Effect<Option.Option<string>> = Effect.map(
  OwnDirectory.ownDirectory,
  Option.map((directory) => Path.join(directory, "lease"))
)

/** A file that is locked, and how many holders have had it. */
interface Proof extends Omit<Holder, "owner"> {
  readonly id: string
  uses: number
}

/**
 * How many files are kept for the next holder while there are others. A process that dies leaves them behind, so that none
 * is kept beside a file of the user's.
 */
const mostSpare = 64

const noProof: Omit<Holder, "owner"> = { stamp: () => Effect.void, end: () => Effect.void }

const lockNew = (file: Option.Option<string>): Effect.Effect<Omit<Holder, "owner">> => {
  if (Option.isNone(file)) return Effect.succeed(noProof)
  const path = file.value
  return openForLock(path, constants.O_EXCL).pipe(
    Effect.flatMap((handle) =>
      Effect.as(tryLock(handle, path), {
        stamp: (monotonic: number) => HolderStamp.write(handle, monotonic),
        end: (released: boolean) =>
          released ? Effect.andThen(Effect.ignore(unlink(path)), close(handle)) : close(handle)
      }).pipe(Effect.onError(() => Effect.andThen(Effect.ignore(unlink(path)), close(handle))))
    ),
    Effect.orElseSucceed(() => noProof)
  )
}

/** Must not create the file: only its holder does. */
const canLock = (path: string): Effect.Effect<boolean, FileProblem> =>
  Effect.acquireUseRelease(
    attempt("open the lock", path, () => fs.open(path, constants.O_RDWR | (constants.O_NOFOLLOW ?? 0))),
    (handle) => tryLock(handle, path),
    close
  )
