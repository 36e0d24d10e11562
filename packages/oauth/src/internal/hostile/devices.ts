/** The pending device authorizations of the hostile server (RFC 8628). */

interface Device {
  readonly userCode: string
  readonly scopes: ReadonlyArray<string>
  readonly expiresAt: number
  interval: number
  polledAt: number
  answer: "Approved" | "Denied" | undefined
}

export class Devices {
  private readonly devices = new Map<string, Device>()

  constructor(
    private readonly options: { readonly lifetime: number; readonly interval: number },
    private readonly newCode: () => string
  ) {}

  begin(scopes: ReadonlyArray<string>, now: number) {
    const deviceCode = `device-${this.newCode()}`
    const userCode = this.newCode().slice(-8).toUpperCase()
    const { interval, lifetime } = this.options
    this.devices.set(deviceCode, {
      userCode,
      scopes,
      expiresAt: now + lifetime,
      interval,
      polledAt: Number.NEGATIVE_INFINITY,
      answer: undefined
    })
    return { deviceCode, userCode, interval: interval / 1000, expiresIn: lifetime / 1000 }
  }

  /** Returns the granted scopes, or the error to send (§3.5). An approved code is good for one poll. */
  poll(deviceCode: string, now: number): ReadonlyArray<string> | string {
    const device = this.devices.get(deviceCode)
    if (device === undefined) return "invalid_grant"
    if (now >= device.expiresAt) return "expired_token"
    const tooSoon = now - device.polledAt < device.interval
    device.polledAt = now
    if (tooSoon) {
      device.interval += 5000
      return "slow_down"
    }
    if (device.answer === undefined) return "authorization_pending"
    this.devices.delete(deviceCode)
    return device.answer === "Approved" ? device.scopes : "access_denied"
  }

  /** Records what the user did at the verification page. Returns whether there is such a code. */
  answer(userCode: string, answer: "Approved" | "Denied"): boolean {
    const device = [...this.devices.values()].find((d) => d.userCode === userCode)
    if (device !== undefined) device.answer = answer
    return device !== undefined
  }
}
