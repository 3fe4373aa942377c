// The grid of patches beside the mammogram. Pointing at a patch shows its position at once: all images are loaded ahead.
class MammogramViewer extends Viewer {
  constructor(root) {
    super(root.querySelector(".r"), root.querySelector("#wl"), root.querySelector(".r .wlt"));
    this.root = root; this.grid = root.querySelector(".grid");
    this.images = new Map(); this.highlight = true; this.tiles = [];
  }

  image(url) {
    if (!this.images.has(url)) {
      const image = createNode("img", { alt: "", draggable: false });
      image.onerror = () => { image.failed = true; if (this.tiles[this.at]?.mammogram === url) this.show(this.at); };
      image.src = url;
      this.images.set(url, image);
    }
    return this.images.get(url);
  }

  prefetch(urls) {
    const keep = new Set([...urls, ...this.tiles.flatMap((t) => [t.mammogram, t.highlighted, t.patch])]);
    for (const url of [...this.images.keys()]) if (!keep.has(url)) this.images.delete(url);
    urls.forEach((url) => this.image(url));
  }

  load(tiles) {
    this.tiles = tiles; this.pinned = 0; this.at = 0; this.resetView();
    tiles.forEach((tile) => this.image(tile.mammogram));
    this.buttons = tiles.map((tile, i) => this.button(tile, i));
    this.grid.replaceChildren(...this.buttons);
    this.show(0);
    // The tiles without highlight are separate images: load them after the ones that are visible.
    setTimeout(() => { if (this.tiles === tiles) tiles.forEach((tile) => this.image(tile.patch)); }, 1500);
  }

  button(tile, i) {
    const button = createNode("button", { type: "button", role: "option", tabIndex: i ? -1 : 0, "aria-label": "patch " + (i + 1) });
    button.onmouseenter = () => this.show(i);
    button.onmouseleave = () => this.show(this.pinned);
    button.onfocus = () => this.show(i);
    button.onclick = () => { this.pinned = i; this.show(i); };
    button.onkeydown = (event) => this.arrow(event, i);
    this.fill(button, tile);
    return button;
  }

  fill(button, tile) {
    const url = this.highlight ? tile.highlighted : tile.patch;
    const image = createNode("img", { alt: "", draggable: false });
    image.onerror = () => {
      button.className = "retry";
      button.replaceChildren("Not loaded", createNode("span", { textContent: "Retry" }));
      button.onclick = () => { button.className = ""; button.onclick = () => { this.pinned = this.buttons.indexOf(button); this.show(this.pinned); }; this.fill(button, tile); };
    };
    image.src = url;
    button.replaceChildren(image);
    if (tile.label) button.append(createNode("span", { class: "label", textContent: tile.label }));   // only where the protocol shows patch labels
  }

  arrow(event, i) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -8, ArrowDown: 8 }[event.key];
    if (step === undefined || !this.buttons[i + step]) return;
    event.preventDefault(); event.stopPropagation();
    this.buttons[i + step].focus();
  }

  show(i) {
    const tile = this.tiles[i];
    if (!tile) return;
    if (this.at !== i) this.resetView();
    this.at = i;
    const image = this.image(tile.mammogram);
    let node = image;
    if (image.failed) {
      node = retryButton("The mammogram was not loaded. Click to try again.", () => { this.images.delete(tile.mammogram); this.show(i); });
    }
    this.buttons.forEach((button, j) => button.setAttribute("aria-selected", String(j === i)));
    this.root.querySelector(".pn").textContent = "Patch " + (i + 1) + " of " + this.tiles.length + (this.pinned && this.pinned === i ? ", pinned" : "");
    this.put(node, tile.ratio, tile.box);
  }

  unpin() { this.pinned = 0; this.show(0); }

  toggle() {
    this.highlight = !this.highlight;
    this.buttons.forEach((button, i) => { if (button.className !== "retry") this.fill(button, this.tiles[i]); });
    this.paint();
  }

  paint() {
    super.paint();
    this.root.querySelector(".hl").textContent = this.highlight ? "Highlight on: H" : "Highlight off: H";
  }
}
