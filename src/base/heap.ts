/** A place in a heap. */
export interface HeapNode {
  priority: number;
  /** From 1; kept by the heap. */
  index: number;
}

/** A binary heap whose greatest priority is on top. Which of equal ones comes first follows from the order of the changes alone. */
export class MaxHeap<N extends HeapNode> {
  /** From 1 on. */
  readonly #nodes: N[] = [];

  get size(): number {
    return this.#nodes.length;
  }

  max(): N | undefined {
    return this.#nodes[0];
  }

  insert(node: N): void {
    this.#nodes.push(node);
    node.index = this.#nodes.length;
    this.#floatUp(node.index);
  }

  remove(node: N): void {
    const { index } = node;
    const last = this.#nodes.pop()!;
    if (last === node) return;
    this.#put(last, index);
    this.#settle(index);
  }

  change(node: N, priority: number): void {
    node.priority = priority;
    this.#settle(node.index);
  }

  #put(node: N, index: number): void {
    this.#nodes[index - 1] = node;
    node.index = index;
  }

  #priority(index: number): number {
    return this.#nodes[index - 1]!.priority;
  }

  #swap(i: number, j: number): void {
    const [a, b] = [this.#nodes[i - 1]!, this.#nodes[j - 1]!];
    this.#put(b, i);
    this.#put(a, j);
  }

  #settle(index: number): void {
    if (!this.#floatUp(index)) this.#floatDown(index);
  }

  #floatUp(index: number): boolean {
    let i = index;
    for (; i > 1; i >>= 1) {
      const parent = i >> 1;
      if (this.#priority(parent) >= this.#priority(i)) break;
      this.#swap(parent, i);
    }
    return i !== index;
  }

  #floatDown(index: number): void {
    for (let i = index; 2 * i <= this.size; ) {
      let max = i;
      for (const child of [2 * i, 2 * i + 1])
        if (child <= this.size && this.#priority(child) > this.#priority(max)) max = child;
      if (max === i) return;
      this.#swap(max, i);
      i = max;
    }
  }
}
