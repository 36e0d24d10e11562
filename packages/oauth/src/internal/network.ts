/**
 * The network that a host belongs to, by its literal address or its name. Nothing is resolved: a name that
 * points to a private address in the DNS counts as public.
 */

/** `reserved`: no server listens there (unspecified, multicast, documentation, benchmarks). */
export type Network = "loopback" | "linkLocal" | "private" | "reserved" | "public"

/**
 * Returns the network of a URL's `hostname`. The URL parser has normalized it: `2130706433` is `127.0.0.1`.
 */
export const networkOf = (hostname: string): Network => {
  if (hostname.startsWith("[")) return networkOfV6(groupsOf(hostname.slice(1, -1)))
  return /^\d+(\.\d+){3}$/.test(hostname)
    ? networkOfV4(hostname.split(".").reduce((address, octet) => address * 256 + Number(octet), 0))
    : networkOfName(hostname.toLowerCase().replace(/\.+$/, ""))
}

/**
 * Names that the public DNS does not have (RFC 6761, RFC 6762, RFC 8375, ICANN's `internal`), and bare host
 * names.
 */
const networkOfName = (name: string): Network => {
  if (name === "localhost" || name.endsWith(".localhost") || name === "localhost.localdomain")
    return "loopback"
  return !name.includes(".") || /\.(local|internal|localdomain|home\.arpa|lan)$/.test(name)
    ? "private"
    : "public"
}

const v4 = (network: Network, base: string, prefix: number) => ({
  network,
  first: base.split(".").reduce((address, octet) => address * 256 + Number(octet), 0),
  size: 2 ** (32 - prefix)
})

/** RFC 6890 and its registry. */
const v4Networks = [
  v4("reserved", "0.0.0.0", 8),
  v4("private", "10.0.0.0", 8),
  v4("private", "100.64.0.0", 10),
  v4("loopback", "127.0.0.0", 8),
  v4("linkLocal", "169.254.0.0", 16),
  v4("private", "172.16.0.0", 12),
  v4("reserved", "192.0.0.0", 24),
  v4("reserved", "192.0.2.0", 24),
  v4("private", "192.168.0.0", 16),
  v4("reserved", "198.18.0.0", 15),
  v4("reserved", "198.51.100.0", 24),
  v4("reserved", "203.0.113.0", 24),
  // Multicast, and addresses that were never assigned.
  v4("reserved", "224.0.0.0", 3)
]

const networkOfV4 = (address: number): Network =>
  v4Networks.find(({ first, size }) => address >= first && address < first + size)?.network ?? "public"

/** The eight groups of an IPv6 address in a URL: hexadecimal, with at most one `::`. */
const groupsOf = (address: string): ReadonlyArray<number> => {
  const [head = "", tail] = address.split("::", 2)
  const parse = (part: string) =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16))
  const [first, last] = [parse(head), parse(tail ?? "")]
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last]
}

const networkOfV6 = (groups: ReadonlyArray<number>): Network => {
  const [a = 0, b = 0] = groups
  const startsWith = (...prefix: ReadonlyArray<number>) => prefix.every((group, at) => groups[at] === group)
  const v4At = (at: number) => networkOfV4(groups[at]! * 65_536 + groups[at + 1]!)
  if (startsWith(0, 0, 0, 0, 0, 0, 0)) return groups[7] === 1 ? "loopback" : "reserved"
  // An embedded IPv4 address: compatible, mapped, translated (RFC 4291 §2.5.5, RFC 6052 §2.1, RFC 7915), 6to4
  // (RFC 3056).
  if (startsWith(0, 0, 0, 0, 0, 0) || startsWith(0, 0, 0, 0, 0, 0xffff)) return v4At(6)
  if (startsWith(0, 0, 0, 0, 0xffff, 0) || startsWith(0x64, 0xff9b, 0, 0, 0, 0)) return v4At(6)
  if (a === 0x2002) return v4At(1)
  if (startsWith(0x64, 0xff9b, 1)) return "private"
  if ((a & 0xffc0) === 0xfe80) return "linkLocal"
  // Unique local (RFC 4193), and its predecessor, site-local.
  if ((a & 0xfe00) === 0xfc00 || (a & 0xffc0) === 0xfec0) return "private"
  // Global unicast is 2000::/3. In it, no server is at Teredo, benchmark, ORCHID or documentation addresses.
  const isUnicast = (a & 0xe000) === 0x2000
  const isSpecial = (a === 0x2001 && (b < 0x200 || b === 0xdb8)) || (a === 0x3fff && b < 0x1000)
  return isUnicast && !isSpecial ? "public" : "reserved"
}
