// The grid of patches and the mammogram beside it. Pointing at a patch shows its place on the film; everything is in the browser by then.
class Film {
  constructor(root) {
    this.root = root;
    this.grid = root.querySelector(".grid"); this.frame = root.querySelector(".r"); this.stage = root.querySelector(".r .stage");
    this.pic = root.querySelector(".pic"); this.box = root.querySelector(".bx");
    this.pictures = new Map(); this.highlight = true; this.tiles = [];
    this.window = 255; this.level = 128; this.resetView();
    this.frame.onwheel = (event) => this.wheel(event);
    this.frame.onpointerdown = (event) => this.drag(event);
    this.frame.ondblclick = () => { this.window = 255; this.level = 128; this.resetView(); this.paint(); };
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(this.frame);
  }

  stop() { this.resize.disconnect(); }

  picture(url) {
    if (!this.pictures.has(url)) {
      const image = make("img", { alt: "", draggable: false });
      image.onerror = () => { image.failed = true; if (this.tiles[this.at]?.film === url) this.show(this.at); };
      image.src = url;
      this.pictures.set(url, image);
    }
    return this.pictures.get(url);
  }

  early(urls) {
    const keep = new Set([...urls, ...this.tiles.flatMap((t) => [t.film, t.lit, t.plain])]);
    for (const url of [...this.pictures.keys()]) if (!keep.has(url)) this.pictures.delete(url);
    urls.forEach((url) => this.picture(url));
  }

  load(tiles) {
    this.tiles = tiles; this.pinned = 0; this.at = 0; this.resetView();
    tiles.forEach((tile) => this.picture(tile.film));
    this.buttons = tiles.map((tile, i) => this.button(tile, i));
    this.grid.replaceChildren(...this.buttons);
    this.show(0);
    // Without the highlight the tiles are other pictures: fetch them once the important ones are here.
    setTimeout(() => { if (this.tiles === tiles) tiles.forEach((tile) => this.picture(tile.plain)); }, 1500);
  }

  button(tile, i) {
    const button = make("button", { type: "button", role: "option", tabIndex: i ? -1 : 0, "aria-label": "patch " + (i + 1) });
    button.onmouseenter = () => this.show(i);
    button.onmouseleave = () => this.show(this.pinned);
    button.onfocus = () => this.show(i);
    button.onclick = () => { this.pinned = i; this.show(i); };
    button.onkeydown = (event) => this.arrow(event, i);
    this.fill(button, tile);
    return button;
  }

  fill(button, tile) {
    const url = this.highlight ? tile.lit : tile.plain;
    const image = make("img", { alt: "", draggable: false });
    image.onerror = () => {
      button.className = "retry";
      button.replaceChildren("Not loaded", make("span", { textContent: "Retry" }));
      button.onclick = () => { button.className = ""; button.onclick = () => { this.pinned = this.buttons.indexOf(button); this.show(this.pinned); }; this.fill(button, tile); };
    };
    image.src = url;
    button.replaceChildren(image);
    if (tile.label) button.append(make("span", { class: "label", textContent: tile.label }));   // only where the protocol shows patch labels
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
    const image = this.picture(tile.film);
    if (image.failed) {
      const again = make("div", { class: "gone", textContent: "The film was not loaded. Click to try again." });
      again.onclick = () => { this.pictures.delete(tile.film); this.show(i); };
      this.pic.replaceChildren(again);
    } else if (this.pic.firstChild !== image) this.pic.replaceChildren(image);
    const [x, y, w, h] = tile.box;
    Object.assign(this.box.style, { left: 100 * x + "%", top: 100 * y + "%", width: 100 * w + "%", height: 100 * h + "%" });
    this.buttons.forEach((button, j) => button.setAttribute("aria-selected", String(j === i)));
    this.root.querySelector(".pn").textContent = "Patch " + (i + 1) + " of " + this.tiles.length + (this.pinned && this.pinned === i ? ", pinned" : "");
    this.fit();
  }

  unpin() { this.pinned = 0; this.show(0); }

  toggle() {
    this.highlight = !this.highlight;
    this.buttons.forEach((button, i) => { if (button.className !== "retry") this.fill(button, this.tiles[i]); });
    this.paint();
  }

  resetView() { this.zoom = 1; this.x = 0; this.y = 0; }

  fit() {
    const tile = this.tiles[this.at];
    if (!tile || !this.frame.clientHeight) return;
    const height = Math.min(this.frame.clientHeight, this.frame.clientWidth / tile.ratio);
    Object.assign(this.stage.style, { width: height * tile.ratio + "px", height: height + "px" });
    this.paint();
  }

  paint() {
    this.stage.style.transform = this.zoom === 1 ? "" : `translate(${this.x}px,${this.y}px) scale(${this.zoom})`;
    this.box.style.borderWidth = 2 / this.zoom + "px";
    const plain = this.window === 255 && this.level === 128;
    const slope = 255 / this.window;
    const intercept = 0.5 - this.level / this.window;
    this.root.querySelectorAll("#wl > * > *").forEach((node) => { node.setAttribute("slope", slope); node.setAttribute("intercept", intercept); });
    this.pic.style.filter = plain ? "" : "url(#wl)";
    this.root.querySelector(".wlt").textContent = `${Math.round(100 * this.zoom)} %\u2002W ${Math.round(this.window)}\u2002L ${Math.round(this.level)}`;
    this.root.querySelector(".hl").textContent = this.highlight ? "Highlight on: H" : "Highlight off: H";
  }

  wheel(event) {
    event.preventDefault();
    const zoom = Math.min(8, Math.max(1, this.zoom * Math.exp(-event.deltaY / 400)));
    const here = this.stage.getBoundingClientRect();
    const px = (event.clientX - here.left) / this.zoom, py = (event.clientY - here.top) / this.zoom;
    this.x += px * (this.zoom - zoom); this.y += py * (this.zoom - zoom); this.zoom = zoom;
    if (zoom === 1) this.resetView();
    this.paint();
  }

  drag(event) {
    if (event.button !== 0) return;
    const start = { x: event.clientX, y: event.clientY, window: this.window, level: this.level, px: this.x, py: this.y };
    this.frame.setPointerCapture(event.pointerId);
    this.frame.onpointermove = (move) => {
      const dx = move.clientX - start.x, dy = move.clientY - start.y;
      if (move.shiftKey && this.zoom > 1) { this.x = start.px + dx; this.y = start.py + dy; }
      else if (Math.abs(dx) + Math.abs(dy) > 2) {
        this.window = Math.min(510, Math.max(8, start.window + dx));
        this.level = Math.min(255, Math.max(0, start.level - dy / 2));
      }
      this.paint();
    };
    this.frame.onpointerup = this.frame.onpointercancel = () => { this.frame.onpointermove = null; };
  }
}
