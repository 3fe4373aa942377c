class Reading {
  constructor(root, { prefix }) {
    this.root = root;
    this.stage = root.querySelector(".stage");
    this.desk = new Desk(prefix, "/expert/read/", root.querySelector(".lost"));
    this.watch = new Stopwatch();
    this.onKey = (event) => this.key(event);
    this.onSign = () => this.watch.sign();
    document.addEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.addEventListener(name, this.onSign, { passive: true });
    this.load();
  }

  stop() {
    this.desk.stop(); this.watch.stop(); this.viewer?.stop();
    document.removeEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.removeEventListener(name, this.onSign);
  }

  async load() { this.show((await this.desk.ask("state")).data); }

  show(state) {
    this.case = null; this.done = false; this.busy = false; this.shownAt = performance.now();
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "instructions") this.saved = null;       // another study begins
    if (state.stage === "case") this.showCase(state.case);
    else if (state.stage === "consent") this.page("Before you start", state.paragraphs, "Continue", true, "consent");
    else if (state.stage === "instructions") this.page("How it works", state.paragraphs, state.button, false, "begin", { ticket: state.ticket });
    else if (state.stage === "closed" && !state.paragraphs) this.load();
    else if (state.stage === "closed") this.page("Reading study closed", state.paragraphs, state.button, false, "next");
    else if (state.stage === "done") {
      this.page("All cases are done", ["Every answer has been saved. Thank you for reading."]);
      const back = make("button", { type: "button", class: "btn" }, "Reopen the last case ", make("kbd", { textContent: "⌫" }));
      back.onclick = () => this.reopen();
      const row = make("div", { class: "row" }, back);
      if (state.button) {
        const on = make("button", { type: "button", class: "btn pri", textContent: state.button });
        on.onclick = async () => { on.disabled = true; this.show((await this.desk.ask("next", { next: true })).data); };
        row.append(on);
      }
      this.stage.firstElementChild.append(row);
      this.done = true;
    }
    else this.page("Reading", [state.sentence || "Nothing to read yet."]);
  }

  page(title, paragraphs, button, consent, path, sent = { read: true }) {
    const onDone = async (form) => this.show((await this.desk.ask(path, consent ? form : sent)).data);
    this.stage.replaceChildren(textPage({ title, paragraphs, button, consent, onDone }));
  }

  showCase(shown) {
    this.case = shown;
    const practised = shown.number - (shown.given === null ? 1 : 0);
    this.note = make("span", { class: "t13 mute note", textContent: this.saved ? "Saved " + this.saved : "" });
    const bar = make("i"); bar.style.width = (100 * (shown.practice ? 0 : practised)) / shown.total + "%";
    const pause = make("button", { type: "button", class: "btn sm", textContent: "Pause" });
    pause.onclick = () => this.pause();
    const head = make("header", { class: "hd" },
      make("div", { class: "u" }, (shown.practice ? "Practice " : "") + shown.number + " ", make("span", { textContent: "/ " + shown.total })),
      make("div", { class: "prog", role: "progressbar", "aria-label": "done", "aria-valuenow": String(practised), "aria-valuemax": String(shown.total) }, bar), this.note, pause);
    const texts = make("ol", { class: "tx" }, ...shown.texts.map((text, i) =>
      make("li", {}, make("b", { textContent: text ? String(i + 1) : "" }), make("span", { textContent: text, class: text.length > 130 ? "long" : "" }))));
    const film = shown.picture ? this.picture(shown) : null;
    const words = shown.texts.length || !film ? texts : make("p", { class: "tx none", textContent: "This case shows no words." });
    this.stage.replaceChildren(make("main", { class: "rd" + (film ? " pictured" : "") }, head, words, this.answers(shown), this.foot(shown), film));
    this.watch.reset();
    const begins = this.practised && !shown.practice;
    this.practised = shown.practice;
    if (begins) {
      this.pause("Practice is over", ["From here on every answer counts and is saved. There are " + shown.total + " cases.",
        "You can pause at any time and go on later with the same link. Backspace reopens the previous case, and only that one."], "Start with case 1");
    } else if (shown.pause) {
      this.pause("Time for a pause?", [shown.number - 1 + " of " + shown.total + " cases are done and saved.", "Continue now, or close the page and come back later with your link."]);
    }
  }

  // The film or map beside the answers; no answer before it is there, and no time counted.
  picture(shown) {
    const map = shown.picture.kind === "class_map";
    const frame = make("section", { class: "r", "aria-label": map ? "Map" : "Mammogram" }, make("div", { class: "stage" }, make("div", { class: "pic" })));
    const said = make("b", { class: "wlt" });
    const hint = map ? make("span", { class: "scale" }, "few signs ", make("i"), " many signs of malignancy") : make("span", { textContent: "Zoom wheel or Z, window drag or W L, reset R" });
    frame.append(make("div", { class: "ov" }, hint, map ? null : said));
    this.viewer?.stop();
    this.viewer = new Viewer(frame, this.root.querySelector("#wl"), said);
    this.viewer.fixed = map;
    this.waiting = true;
    const image = make("img", { alt: "", draggable: false });
    image.onload = () => { if (this.case !== shown) return; this.waiting = false; this.shownAt = performance.now(); this.watch.reset(); this.viewer.put(image, image.naturalWidth / image.naturalHeight); };
    image.onerror = () => {
      frame.append(retryButton("The image was not loaded. Click to try again.", () => { if (this.case === shown) this.showCase(shown); }));
    };
    image.src = shown.picture.url;
    return frame;
  }

  answers(shown) {
    this.buttons = shown.answers.map((text, i) => {
      const button = make("button", { type: "button" }, make("kbd", { textContent: String(i + 1) }), make("span", { textContent: text }));
      button.onclick = (event) => { if (event.detail <= 1) this.answer(i + 1); };
      if (shown.given === i + 1) button.setAttribute("aria-pressed", "true");
      return button;
    });
    const half = this.buttons.length / 2;
    return make("div", {}, make("p", { class: "q", textContent: shown.question }),
      make("div", { class: "six" + (half === 1 ? " two" : "") }, ...this.buttons.slice(0, half), make("i"), ...this.buttons.slice(half)));
  }

  foot(shown) {
    const back = make("button", { type: "button", class: "btn ghost" }, "Reopen the previous case", make("kbd", { textContent: "⌫" }));
    back.onclick = () => this.reopen();
    back.style.visibility = shown.back ? "visible" : "hidden";
    const text = shown.given === null ? "Press 1 " + (shown.answers.length === 2 ? "or 2" : "to " + shown.answers.length) + ". The next case opens when it has been saved."
      : "Reopened. Choose again to correct it, or press Esc to leave it.";
    return make("footer", { class: "ft" }, make("span", { textContent: text }), make("span", { class: "sp" }), back);
  }

  pause(title = "Paused", paragraphs = ["Every answer so far is saved. The clock stands still."], button = "Continue") {
    if (!this.case) return;
    const shown = this.case;
    this.case = null; this.watch.paused = true;
    const onDone = () => { this.watch.paused = false; this.shownAt = performance.now(); this.showCase({ ...shown, pause: false }); };
    const page = textPage({ title, paragraphs, button, onDone });
    this.stage.replaceChildren(page);
    page.querySelector("button").focus();
  }

  ready() { return this.case && !this.busy && !(this.case.picture && this.waiting) && !this.desk.lost && performance.now() - this.shownAt >= DEAD_MS; }

  async answer(value) {
    if (!this.ready()) return;
    if (value === this.case.given) { this.load(); return; }      // reopened and left as it was: nothing to correct
    this.busy = true;
    this.buttons.forEach((button, i) => { button.disabled = true; button.setAttribute("aria-pressed", String(i + 1 === value)); });
    const sent = { token: this.case.token, answer: value, seconds: this.watch.read(), idle: this.watch.idle };
    const { ok, data } = await this.desk.ask("answer", sent);
    if (ok) { this.show(data); return; }
    if (data.code === "answer") { this.busy = false; this.note.textContent = data.sentence; this.note.className = "say"; this.buttons.forEach((b) => { b.disabled = false; }); return; }
    this.saved = null;
    await this.load();
    if (this.note && this.case) this.note.textContent = data.sentence || "";
  }

  async reopen() {
    const back = this.done ? !this.busy && performance.now() - this.shownAt >= DEAD_MS : this.ready() && this.case.back;
    if (!back || this.desk.lost) return;
    this.busy = true;
    const { ok, data } = await this.desk.ask("reopen", { previous: true });
    if (ok) this.show(data); else await this.load();
  }

  key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing(event) || !(this.case || this.done)) return;
    if (this.case?.picture && this.viewer && filmKey(this.viewer, event)) return;
    const value = Number(event.key);
    if (event.key === "Backspace") { event.preventDefault(); this.reopen(); }
    else if (this.done) return;
    else if (event.key === "Escape" && this.case.given !== null) this.load();
    else if (Number.isInteger(value) && value >= 1 && value <= this.case.answers.length) { event.preventDefault(); this.answer(value); }
  }
}

const readings = new WeakMap();
export default function (component) {
  const root = component.parentElement.querySelector(".rdroot");
  setTheme(root);
  if (!readings.has(root)) readings.set(root, new Reading(root, component.data));
  return () => { readings.get(root)?.stop(); readings.delete(root); };
}
