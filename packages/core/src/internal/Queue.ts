/** First in, first out, and out of the middle: each in constant time, however many wait. A `Set` is not that: who takes its first steps over all that were taken before. */
export class Queue<A> {
  private items: Array<A | undefined> = []
  private head = 0
  private readonly places = new Map<A, number>()
  /** How many were cut off at the front: places count from the beginning. */
  private cut = 0

  get size(): number {
    return this.places.size
  }

  add(item: A): void {
    this.places.set(item, this.cut + this.items.length)
    this.items.push(item)
  }

  /** Whether it was there. */
  delete(item: A): boolean {
    const place = this.places.get(item)
    if (place === undefined) return false
    this.places.delete(item)
    this.items[place - this.cut] = undefined
    return true
  }

  /** Takes the first. */
  take(): A | undefined {
    while (this.head < this.items.length) {
      const item = this.items[this.head]
      this.items[this.head++] = undefined
      if (item === undefined) continue
      this.places.delete(item)
      if (this.head > 1024 && this.head * 2 > this.items.length) this.trim()
      return item
    }
    this.trim()
    return undefined
  }

  private trim(): void {
    this.items = this.items.slice(this.head)
    this.cut += this.head
    this.head = 0
  }
}
