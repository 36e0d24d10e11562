/**
 * A store for `oidc-provider` that keeps all grants of a measurement. Its own store keeps only the last
 * thousand records.
 */
type Payload = Record<string, unknown> & { readonly grantId?: string; readonly uid?: string }

const records = new Map<string, Payload>()
const keysOfGrant = new Map<string, Set<string>>()
const grantedKinds = new Set(["AccessToken", "AuthorizationCode", "RefreshToken"])

export class Unlimited {
  constructor(private readonly kind: string) {}

  private key(id: string): string {
    return `${this.kind}:${id}`
  }

  async upsert(id: string, payload: Payload): Promise<void> {
    const key = this.key(id)
    records.set(key, payload)
    if (payload.grantId === undefined || !grantedKinds.has(this.kind)) return
    const keys = keysOfGrant.get(payload.grantId) ?? new Set()
    keysOfGrant.set(payload.grantId, keys.add(key))
  }

  async find(id: string): Promise<Payload | undefined> {
    return records.get(this.key(id))
  }

  async findByUid(uid: string): Promise<Payload | undefined> {
    return [...records.values()].find((payload) => payload.uid === uid)
  }

  async findByUserCode(): Promise<undefined> {
    return undefined
  }

  async consume(id: string): Promise<void> {
    const payload = records.get(this.key(id))
    if (payload !== undefined) Object.assign(payload, { consumed: Math.floor(performance.timeOrigin / 1000) })
  }

  async destroy(id: string): Promise<void> {
    records.delete(this.key(id))
  }

  async revokeByGrantId(grantId: string): Promise<void> {
    for (const key of keysOfGrant.get(grantId) ?? []) records.delete(key)
    keysOfGrant.delete(grantId)
  }
}
