/** The manifests of the generated packages, from those of the packages for Effect 3. */

export interface Manifest {
  readonly name: string
  readonly version: string
  readonly description: string
  readonly engines?: Readonly<Record<string, string>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly peerDependenciesMeta?: Readonly<Record<string, { readonly optional: boolean }>>
}

/** The packages of Effect: the lowest version of Effect 4 that is supported; undefined where `effect` has it now. */
const lowest: Readonly<Record<string, string | undefined>> = {
  effect: "4.1.0",
  "@effect/experimental": undefined,
  "@effect/platform": undefined,
  "@effect/sql": undefined,
  "@effect/sql-pg": "4.0.5"
}

const isEffects = (name: string): boolean => name === "effect" || name.startsWith("@effect/")

/** The same minor and patch: what one edition has, the other has. */
const versionOf = (version: string): string => version.replace(/^3\./, "4.")

/** Throws where Effect 4 has no counterpart to a package, which is then to be listed here. */
export const manifestFor = (manifest: Manifest): Manifest => {
  const { dependencies, devDependencies, peerDependencies = {}, peerDependenciesMeta = {} } = manifest
  if (!manifest.version.startsWith("3.")) {
    throw new Error(`${manifest.name}: version ${manifest.version}, where the major is that of Effect`)
  }
  const peers = ranges(manifest.name, peerDependencies, "^")
  const optional = Object.entries(peerDependenciesMeta).filter(([name]) => name in peers)
  return {
    ...manifest,
    version: versionOf(manifest.version),
    engines: { node: ">=22.19" },
    ...(dependencies === undefined ? {} : { dependencies: own(dependencies) }),
    peerDependencies: peers,
    ...(optional.length === 0 ? {} : { peerDependenciesMeta: Object.fromEntries(optional) }),
    ...(devDependencies === undefined
      ? {}
      : { devDependencies: own(ranges(manifest.name, devDependencies, "")) })
  }
}

/** What packages of this project are wanted in. */
const own = (dependencies: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(dependencies).map(([name, version]) => [
      name,
      name.startsWith("@latchkey/") ? versionOf(version) : version
    ])
  )

const ranges = (
  of: string,
  dependencies: Readonly<Record<string, string>>,
  prefix: string
): Record<string, string> =>
  Object.fromEntries(
    Object.entries(dependencies).flatMap(([name, range]) => {
      if (!isEffects(name)) return [[name, range]]
      if (!(name in lowest)) throw new Error(`${of}: no version of ${name} for Effect 4 is known`)
      const version = lowest[name]
      return version === undefined ? [] : [[name, `${prefix}${version}`]]
    })
  )
