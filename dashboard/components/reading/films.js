// The images of a case: one film or map in one frame, or the films of an exam as they hang in a viewing box.
const MAP_SCALE = () => createNode("span", { class: "scale" }, "few signs ", createNode("i"), " many signs of malignancy");
const VIEWER_HINT = "Zoom wheel or Z, window drag or W L, reset R";

// A viewer that reports each change, so that the other films of the exam can follow it.
class FilmViewer extends Viewer {
  paint() { super.paint(); this.onPaint?.(); }
}

class CasePictures {
  // shown: the case as the server sent it; onLoaded: called once when all images are there; onRetry: called to load the case again.
  constructor(shown, filter, onLoaded, onRetry) {
    this.films = shown.films || [shown.image];
    this.isExam = Boolean(shown.films);
    this.filter = filter; this.onLoaded = onLoaded; this.onRetry = onRetry;
    this.linked = true; this.syncing = false; this.active = 0;
    this.maps = []; this.mapBar = null; this.missing = this.films.length;
    this.frames = this.films.map((film) => this.frame(film));
    this.viewers = this.frames.map((frame, i) => this.viewer(frame, i));
    this.node = this.isExam ? this.layout() : this.frames[0];
    this.films.forEach((film, i) => this.load(film.url, i, (image) => this.viewers[i].put(image, image.naturalWidth / image.naturalHeight)));
  }

  // Whether another case shows the same images, so that these can stay as they are.
  shows(shown) {
    const films = shown.films || (shown.image ? [shown.image] : []);
    return films.length === this.films.length && films.every((film, i) => film.url === this.films[i].url);
  }

  get waiting() { return this.missing > 0; }

  stop() {
    this.viewers.forEach((viewer) => viewer.stop());
    if (this.isExam) this.viewers.forEach((viewer) => viewer.filter.remove());
  }

  frame(film) {
    const map = film.kind === "class_map";
    const label = this.isExam ? film.name + (map ? ", map" : "") : map ? "Map" : "Mammogram";
    const frame = createNode("section", { class: "r", "aria-label": label }, createNode("div", { class: "stage" }, createNode("div", { class: "pic" })));
    const readout = createNode("b", { class: "wlt" });
    if (this.isExam) frame.append(createNode("div", { class: "ov" }, createNode("span", { class: "name", textContent: film.name }), map ? null : readout));
    else frame.append(createNode("div", { class: "ov" }, map ? MAP_SCALE() : createNode("span", { textContent: VIEWER_HINT }), map ? null : readout));
    frame.readout = readout;
    return frame;
  }

  viewer(frame, i) {
    let filter = this.filter;
    if (this.isExam) {
      filter = this.filter.cloneNode(true);     // films that are not linked have windows of their own
      filter.id = "wl" + i;
      this.filter.after(filter);
    }
    const viewer = new FilmViewer(frame, filter, frame.readout);
    viewer.fixed = this.films[i].kind === "class_map";
    viewer.onPaint = () => this.follow(viewer, i);
    if (this.isExam) {
      frame.tabIndex = 0;
      frame.onfocus = () => this.select(i);
      frame.addEventListener("pointerdown", () => frame.focus({ preventScroll: true }));
    }
    return viewer;
  }

  load(url, i, onImage) {
    const image = createNode("img", { alt: "", draggable: false });
    image.onload = () => {
      onImage(image);
      this.missing -= 1;
      if (!this.waiting) this.onLoaded();
    };
    image.onerror = () => { this.frames[i].append(retryButton("The image was not loaded. Click to try again.", this.onRetry)); };
    image.src = url;
  }

  // The right breast stands on the left and the chest walls meet in the middle; CC above MLO. A side or view without any film takes no room:
  // the views of a single breast stand side by side.
  layout() {
    const sides = ["R", "L"].filter((side) => this.films.some((film) => film.side === side));
    const views = ["CC", "MLO"].filter((view) => this.films.some((film) => film.view === view));
    const cells = views.flatMap((view) => sides.map((side) => {
      const i = this.films.findIndex((film) => film.side === side && film.view === view);
      if (i >= 0) { this.frames[i].classList.add(side === "R" ? "right" : "left"); return this.frames[i]; }
      return createNode("div", { class: "none", textContent: `no ${side === "R" ? "right" : "left"} ${view}` });
    }));
    const grid = createNode("div", { class: "grid" }, ...cells);
    this.oneSided = sides.length === 1;
    grid.style.gridTemplateColumns = `repeat(${this.oneSided ? views.length : 2},minmax(0,1fr))`;
    grid.style.gridTemplateRows = `repeat(${this.oneSided ? 1 : views.length},minmax(0,1fr))`;
    this.linkButton = createNode("button", { type: "button", class: "btn sm" }, "Linked ", createNode("kbd", { textContent: "U" }));
    this.linkButton.onclick = () => this.toggleLink();
    this.linkButton.setAttribute("aria-pressed", "true");
    this.linkButton.hidden = this.films.length < 2;
    const isMap = this.films.every((film) => film.kind === "class_map");
    this.bar = createNode("div", { class: "bar" }, isMap ? MAP_SCALE() : createNode("span", { textContent: VIEWER_HINT + (this.films.length > 1 ? ", film arrow keys" : "") }), createNode("span", { class: "sp" }), this.linkButton);
    return createNode("section", { class: "exam", "aria-label": "Exam" }, grid, this.bar);
  }

  select(i) { this.active = i; }

  toggleLink() {
    this.linked = !this.linked;
    this.linkButton.setAttribute("aria-pressed", String(this.linked));
    this.linkButton.firstChild.textContent = this.linked ? "Linked " : "Not linked ";
    if (this.linked) this.follow(this.viewers[this.active], this.active);
  }

  // Zoom, position, window and level of one film for the others; the position is mirrored on the other side.
  follow(source, i) {
    if (!this.isExam || !this.linked || this.syncing || !source.stage.clientWidth) return;
    this.syncing = true;
    const across = source.x / source.stage.clientWidth, down = source.y / source.stage.clientHeight;
    this.viewers.forEach((viewer, j) => {
      if (j === i) return;
      const isMirrored = this.films[j].side !== this.films[i].side;
      viewer.zoom = source.zoom;
      viewer.x = viewer.stage.clientWidth * (isMirrored ? 1 - source.zoom - across : across);
      viewer.y = viewer.stage.clientHeight * down;
      if (!viewer.fixed) { viewer.window = source.window; viewer.level = source.level; }
      viewer.paint();
    });
    this.syncing = false;
  }

  // Lay the class maps of the advice over their films, once; returns their legend with its button, or null without maps.
  addMaps(advice) {
    const maps = advice?.films || (advice?.image ? [advice.image] : []);
    if (!maps.length || this.mapBar) return this.mapBar;
    this.missing += maps.length;
    maps.forEach((map) => {
      const i = this.isExam ? this.films.findIndex((film) => film.name === map.name) : 0;
      this.load(map.url, i, (image) => { image.className = "map"; this.frames[i].querySelector(".stage").append(image); this.maps.push(image); });
    });
    this.mapButton = createNode("button", { type: "button", class: "btn sm" }, "Map on ", createNode("kbd", { textContent: "M" }));
    this.mapButton.setAttribute("aria-pressed", "true");
    this.mapButton.onclick = () => this.toggleMaps();
    this.mapBar = createNode("div", { class: "mapbar" }, MAP_SCALE(), this.mapButton);
    if (this.isExam) this.linkButton.before(this.mapBar);
    return this.mapBar;
  }

  toggleMaps() {
    const isHidden = !this.maps[0]?.hidden;
    this.maps.forEach((map) => { map.hidden = isHidden; });
    this.mapButton.setAttribute("aria-pressed", String(!isHidden));
    this.mapButton.firstChild.textContent = isHidden ? "Map off " : "Map on ";
  }

  // Returns whether the key was one of the viewer's.
  key(event) {
    const name = event.key.toLowerCase();
    if (name === "u" && this.isExam && this.films.length > 1) this.toggleLink();
    else if (name === "m" && this.mapButton) this.toggleMaps();
    else if (this.isExam && event.key.startsWith("Arrow")) this.move(event);
    else return viewerKey(this.viewers[this.active], event);
    return true;
  }

  // The arrows choose the film that the keys act on.
  move(event) {
    event.preventDefault();
    const { side, view } = this.films[this.active];
    const ways = this.oneSided ? { ArrowLeft: [side, "CC"], ArrowRight: [side, "MLO"] }
      : { ArrowLeft: ["R", view], ArrowRight: ["L", view], ArrowUp: [side, "CC"], ArrowDown: [side, "MLO"] };
    const wanted = ways[event.key];
    const i = this.films.findIndex((film) => wanted && film.side === wanted[0] && film.view === wanted[1]);
    if (i >= 0) this.frames[i].focus({ preventScroll: true });
  }
}
