// An image in a frame: the wheel zooms, dragging changes window and level, dragging with Shift moves, a double click resets.
// `frame` contains .stage with .pic and .bx; `filter` is an SVG filter of the same root; `readout` displays zoom, window and level.
class Viewer {
  constructor(frame, filter, readout) {
    this.frame = frame; this.filter = filter; this.readout = readout;
    this.stage = frame.querySelector(".stage"); this.pic = frame.querySelector(".pic"); this.box = frame.querySelector(".bx");
    this.window = 255; this.level = 128; this.ratio = 0; this.fixed = false; this.resetView();    // fixed: a map, whose colours are a scale; dragging moves it
    frame.onwheel = (event) => this.wheel(event);
    frame.onpointerdown = (event) => this.drag(event);
    frame.ondblclick = () => this.reset();
    this.resize = new ResizeObserver(() => this.fit());
    this.resize.observe(frame);
  }

  stop() { this.resize.disconnect(); }

  // Show an image node with its width-to-height ratio and a box in shares of its sides (or null).
  put(node, ratio, box = null) {
    this.ratio = ratio;
    if (this.pic.firstChild !== node) this.pic.replaceChildren(node);
    if (this.box) {
      this.box.hidden = !box;
      if (box) Object.assign(this.box.style, { left: 100 * box[0] + "%", top: 100 * box[1] + "%", width: 100 * box[2] + "%", height: 100 * box[3] + "%" });
    }
    this.fit();
  }

  resetView() { this.zoom = 1; this.x = 0; this.y = 0; }
  reset() { this.window = 255; this.level = 128; this.resetView(); this.paint(); }

  fit() {
    if (!this.ratio || !this.frame.clientHeight) return;
    const height = Math.min(this.frame.clientHeight, this.frame.clientWidth / this.ratio);
    Object.assign(this.stage.style, { width: height * this.ratio + "px", height: height + "px" });
    this.paint();
  }

  paint() {
    this.stage.style.transform = this.zoom === 1 ? "" : `translate(${this.x}px,${this.y}px) scale(${this.zoom})`;
    if (this.box) this.box.style.borderWidth = 2 / this.zoom + "px";
    const plain = this.window === 255 && this.level === 128;
    const slope = 255 / this.window;
    const intercept = 0.5 - this.level / this.window;
    [...this.filter.firstElementChild.children].forEach((node) => { node.setAttribute("slope", slope); node.setAttribute("intercept", intercept); });
    this.pic.style.filter = plain ? "" : `url(#${this.filter.id})`;
    this.readout.textContent = `${Math.round(100 * this.zoom)} %\u2002W ${Math.round(this.window)}\u2002L ${Math.round(this.level)}`;
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
      if ((move.shiftKey || this.fixed) && this.zoom > 1) { this.x = start.px + dx; this.y = start.py + dy; }
      else if (!this.fixed && Math.abs(dx) + Math.abs(dy) > 2) {
        this.window = Math.min(510, Math.max(8, start.window + dx));
        this.level = Math.min(255, Math.max(0, start.level - dy / 2));
      }
      this.paint();
    };
    this.frame.onpointerup = this.frame.onpointercancel = () => { this.frame.onpointermove = null; };
  }
}
