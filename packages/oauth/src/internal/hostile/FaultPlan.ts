/** Assigns faults to requests, and counts the requests. */
import type { Seeded } from "@latchkey/core/internal-api"
import * as Fault from "../../testing/Fault.js"
import type { Endpoint, Options } from "./model.js"

export class FaultPlan {
  readonly arrived: Record<Endpoint, number> = {
    discovery: 0,
    token: 0,
    revocation: 0,
    introspection: 0,
    device: 0,
    userinfo: 0,
    resource: 0
  }
  mostAtOnce = 0
  private underWay = 0
  private readonly planned = new Map<string, Fault.Fault>()
  private readonly standing = new Map<Endpoint, Fault.Fault>()

  constructor(
    private readonly chances: NonNullable<Options["chances"]>,
    private readonly random: Seeded.Seeded
  ) {}

  plan(faults: ReadonlyArray<Fault.Fault>, endpoint: Endpoint): void {
    faults.forEach((fault, i) => this.faultAt(this.arrived[endpoint] + 1 + i, fault, endpoint))
  }

  faultAt(number: number, fault: Fault.Fault, endpoint: Endpoint): void {
    this.planned.set(`${endpoint} ${number}`, fault)
  }

  always(fault: Fault.Fault, endpoint: Endpoint): void {
    this.standing.set(endpoint, fault)
  }

  /** Returns the fault for the next request to an endpoint. */
  meet(endpoint: Endpoint): Fault.Fault {
    const number = ++this.arrived[endpoint]
    return (
      this.planned.get(`${endpoint} ${number}`) ??
      this.drawn(endpoint) ??
      this.standing.get(endpoint) ??
      Fault.none
    )
  }

  /** Counts the running requests to the token endpoint. */
  enter(endpoint: Endpoint): void {
    if (endpoint === "token") this.mostAtOnce = Math.max(this.mostAtOnce, ++this.underWay)
  }

  leave(endpoint: Endpoint): void {
    if (endpoint === "token") this.underWay--
  }

  private drawn(endpoint: Endpoint): Fault.Fault | undefined {
    return this.chances.find(
      (chance) => (chance.endpoint ?? "token") === endpoint && this.random.number() < chance.probability
    )?.fault
  }
}
