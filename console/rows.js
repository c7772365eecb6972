// Rows that stay as they are while what they show stays the same, so that a refresh takes nothing out
// of a reader's hands.

export class Rows {
  #place;
  #shown = new Map();

  constructor(place) {
    this.#place = place;
  }

  // Shows these items, in their order; `make` gives `{root, enable?}` for one that is new or changed.
  show(items, make) {
    this.#shown = new Map(items.map((item) => {
      const text = JSON.stringify(item);
      const known = this.#shown.get(item.id);
      return [item.id, known?.text === text ? known : { text, ...make(item) }];
    }));
    const roots = [...this.#shown.values()].map(({ root }) => root);
    const there = this.#place.children;
    if (roots.length === there.length && roots.every((root, at) => root === there[at])) return;
    this.#place.replaceChildren(...roots);
  }

  // Lets every row say anew what can be done with it.
  enable() {
    for (const { enable } of this.#shown.values()) enable?.();
  }
}
