/** Things to do by their time, the earliest first. Each knows its place, so that it can be moved and removed. */

export interface Timed {
  /** Epoch milliseconds. */
  at: number
  /** The place in the heap that it is in; -1 in none. Belongs to the heap. */
  place: number
}

export class Heap<A extends Timed> {
  private readonly items: Array<A> = []

  get size(): number {
    return this.items.length
  }

  get earliest(): A | undefined {
    return this.items[0]
  }

  get all(): ReadonlyArray<A> {
    return this.items
  }

  /** Puts it in, or moves it, to be found at `at`. */
  put(item: A, at: number): void {
    item.at = at
    if (item.place < 0) {
      item.place = this.items.length
      this.items.push(item)
    }
    this.settle(item)
  }

  remove(item: A): void {
    if (item.place < 0) return
    const last = this.items.pop()!
    if (last !== item) {
      last.place = item.place
      this.items[last.place] = last
      this.settle(last)
    }
    item.place = -1
  }

  private settle(item: A): void {
    this.rise(item)
    this.sink(item)
  }

  private rise(item: A): void {
    while (item.place > 0) {
      const parent = this.items[(item.place - 1) >> 1]!
      if (parent.at <= item.at) return
      this.swap(item, parent)
    }
  }

  private sink(item: A): void {
    for (;;) {
      const left = this.items[2 * item.place + 1]
      const right = this.items[2 * item.place + 2]
      const child = left !== undefined && right !== undefined && right.at < left.at ? right : left
      if (child === undefined || child.at >= item.at) return
      this.swap(child, item)
    }
  }

  private swap(a: A, b: A): void {
    const place = a.place
    a.place = b.place
    b.place = place
    this.items[a.place] = a
    this.items[b.place] = b
  }
}
