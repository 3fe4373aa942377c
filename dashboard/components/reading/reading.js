// The reading page: one case at a time, answered by a number key.
class ReadingPage {
  constructor(root, { prefix }) {
    this.root = root;
    this.prefix = prefix;
    this.stage = root.querySelector(".stage");
    this.client = new SessionClient(prefix, "/expert/read/", root.querySelector(".lost"));
    this.stopwatch = new Stopwatch();
    this.onKey = (event) => this.key(event);
    this.onActivity = () => this.stopwatch.recordActivity();
    document.addEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.addEventListener(name, this.onActivity, { passive: true });
    this.load();
  }

  stop() {
    this.client.stop(); this.stopwatch.stop(); this.viewer?.stop();
    document.removeEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.removeEventListener(name, this.onActivity);
  }

  async load() { this.show((await this.client.request("state")).data); }

  show(state) {
    this.case = null; this.done = false; this.busy = false; this.shownAt = performance.now();
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "instructions") this.saved = null;       // it was of the previous study
    if (state.stage === "case") this.showCase(state.case);
    else if (state.stage === "consent") this.page("Before you start", state.paragraphs, "Continue", state.consent_hash, "consent");
    else if (state.stage === "instructions") this.page("How it works", state.paragraphs, state.button, false, "begin", { start_token: state.start_token });
    else if (state.stage === "closed" && !state.paragraphs) this.load();
    else if (state.stage === "closed") this.page("Reading study closed", state.paragraphs, state.button, false, "next");
    else if (state.stage === "done") {
      this.page("All cases are done", ["Every answer has been saved. Thank you for reading."]);
      const back = createNode("button", { type: "button", class: "btn" }, "Reopen the last case ", createNode("kbd", { textContent: "⌫" }));
      back.onclick = () => this.reopen();
      const row = this.stage.querySelector(".row");
      row.prepend(back);
      if (state.button) {
        const on = createNode("button", { type: "button", class: "btn pri", textContent: state.button });
        on.onclick = async () => { on.disabled = true; this.show((await this.client.request("next", { next: true })).data); };
        row.querySelector(".out").before(on);
      }
      this.done = true;
    }
    else this.page("Reading", [state.message || "Nothing to read yet."]);
  }

  page(title, paragraphs, button, consent, path, sent = { read: true }) {
    const onDone = async (form) => {
      const { data } = await this.client.request(path, consent ? form : sent);
      if (data.code === "stale") this.load(); else this.show(data);      // another consent text by now
    };
    this.stage.replaceChildren(textPage({ title, paragraphs, button, consent, prefix: this.prefix, onDone }));
  }

  showCase(shown) {
    this.case = shown;
    const practised = shown.number - (shown.answer === null ? 1 : 0);
    this.note = createNode("span", { class: "t13 mute note", textContent: this.saved ? "Saved " + this.saved : "" });
    const bar = createNode("i"); bar.style.width = (100 * (shown.practice ? 0 : practised)) / shown.total + "%";
    const pause = createNode("button", { type: "button", class: "btn sm", textContent: "Pause" });
    pause.onclick = () => this.pause();
    const head = createNode("header", { class: "hd" },
      createNode("div", { class: "u" }, (shown.practice ? "Practice " : "") + shown.number + " ", createNode("span", { textContent: "/ " + shown.total })),
      createNode("div", { class: "prog", role: "progressbar", "aria-label": "done", "aria-valuenow": String(practised), "aria-valuemax": String(shown.total) }, bar), this.note, pause, signOutLink(this.prefix));
    const texts = createNode("ol", { class: "tx" }, ...shown.texts.map((text, i) =>
      createNode("li", {}, createNode("b", { textContent: text ? String(i + 1) : "" }), createNode("span", { textContent: text, class: text.length > 130 ? "long" : "" }))));
    const image = shown.image ? this.image(shown) : null;
    const description = shown.texts.length || !image ? texts : createNode("p", { class: "tx none", textContent: "This case has no text." });
    this.stage.replaceChildren(createNode("main", { class: "rd" + (image ? " pictured" : "") }, head, description, this.answers(shown), this.foot(shown), image));
    this.stopwatch.reset();
    const begins = this.practised && !shown.practice;
    this.practised = shown.practice;
    if (begins) {
      this.pause("Practice is over", ["From here on every answer counts and is saved. There are " + shown.total + " cases.",
        "You can pause at any time and continue later with the same link. Backspace reopens the previous case, and only that one."], "Start with case 1");
    } else if (shown.pause) {
      this.pause("Time for a pause?", [shown.number - 1 + " of " + shown.total + " cases are done and saved.", "Continue now, or close the page and come back later with your link."]);
    }
  }

  // The mammogram or map beside the answers. Until it is loaded no answer is accepted and no time is counted.
  image(shown) {
    const map = shown.image.kind === "class_map";
    const frame = createNode("section", { class: "r", "aria-label": map ? "Map" : "Mammogram" }, createNode("div", { class: "stage" }, createNode("div", { class: "pic" })));
    const readout = createNode("b", { class: "wlt" });
    const hint = map ? createNode("span", { class: "scale" }, "few signs ", createNode("i"), " many signs of malignancy") : createNode("span", { textContent: "Zoom wheel or Z, window drag or W L, reset R" });
    frame.append(createNode("div", { class: "ov" }, hint, map ? null : readout));
    this.viewer?.stop();
    this.viewer = new Viewer(frame, this.root.querySelector("#wl"), readout);
    this.viewer.fixed = map;
    this.waiting = true;
    const image = createNode("img", { alt: "", draggable: false });
    image.onload = () => { if (this.case !== shown) return; this.waiting = false; this.shownAt = performance.now(); this.stopwatch.reset(); this.viewer.put(image, image.naturalWidth / image.naturalHeight); };
    image.onerror = () => {
      frame.append(retryButton("The image was not loaded. Click to try again.", () => { if (this.case === shown) this.showCase(shown); }));
    };
    image.src = shown.image.url;
    return frame;
  }

  answers(shown) {
    this.buttons = shown.answers.map((text, i) => {
      const button = createNode("button", { type: "button" }, createNode("kbd", { textContent: String(i + 1) }), createNode("span", { textContent: text }));
      button.onclick = (event) => { if (event.detail <= 1) this.answer(i + 1); };
      if (shown.answer === i + 1) button.setAttribute("aria-pressed", "true");
      return button;
    });
    const half = this.buttons.length / 2;
    return createNode("div", {}, createNode("p", { class: "q", textContent: shown.question }),
      createNode("div", { class: "six" + (half === 1 ? " two" : "") }, ...this.buttons.slice(0, half), createNode("i"), ...this.buttons.slice(half)));
  }

  foot(shown) {
    const back = createNode("button", { type: "button", class: "btn ghost" }, "Reopen the previous case", createNode("kbd", { textContent: "⌫" }));
    back.onclick = () => this.reopen();
    back.style.visibility = shown.can_reopen ? "visible" : "hidden";
    const text = shown.answer === null ? "Press 1 " + (shown.answers.length === 2 ? "or 2" : "to " + shown.answers.length) + ". The next case opens when it has been saved."
      : "Reopened. Choose again to correct it, or press Esc to leave it.";
    return createNode("footer", { class: "ft" }, createNode("span", { textContent: text }), createNode("span", { class: "sp" }), back);
  }

  pause(title = "Paused", paragraphs = ["Every answer so far is saved. The time is not counted."], button = "Continue") {
    if (!this.case) return;
    const shown = this.case;
    this.case = null; this.stopwatch.paused = true;
    const onDone = () => { this.stopwatch.paused = false; this.shownAt = performance.now(); this.showCase({ ...shown, pause: false }); };
    const page = textPage({ title, paragraphs, button, prefix: this.prefix, onDone });
    this.stage.replaceChildren(page);
    page.querySelector("button").focus();
  }

  ready() { return this.case && !this.busy && !(this.case.image && this.waiting) && !this.client.lost && performance.now() - this.shownAt >= DEAD_MS; }

  async answer(value) {
    if (!this.ready()) return;
    if (value === this.case.answer) { this.load(); return; }      // reopened and unchanged: nothing to save
    this.busy = true;
    this.buttons.forEach((button, i) => { button.disabled = true; button.setAttribute("aria-pressed", String(i + 1 === value)); });
    const sent = { token: this.case.token, answer: value, seconds: this.stopwatch.read(), idle: this.stopwatch.idle };
    const { ok, data } = await this.client.request("answer", sent);
    if (ok) { this.show(data); return; }
    if (data.code === "answer") { this.busy = false; this.note.textContent = data.message; this.note.className = "say"; this.buttons.forEach((b) => { b.disabled = false; }); return; }
    this.saved = null;
    await this.load();
    if (this.note && this.case) this.note.textContent = data.message || "";
  }

  async reopen() {
    const back = this.done ? !this.busy && performance.now() - this.shownAt >= DEAD_MS : this.ready() && this.case.can_reopen;
    if (!back || this.client.lost) return;
    this.busy = true;
    const { ok, data } = await this.client.request("reopen", { previous: true });
    if (ok) this.show(data); else await this.load();
  }

  key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || !(this.case || this.done)) return;
    if (this.case?.image && this.viewer && viewerKey(this.viewer, event)) return;
    const value = Number(event.key);
    if (event.key === "Backspace") { event.preventDefault(); this.reopen(); }
    else if (this.done) return;
    else if (event.key === "Escape" && this.case.answer !== null) this.load();
    else if (Number.isInteger(value) && value >= 1 && value <= this.case.answers.length) { event.preventDefault(); this.answer(value); }
  }
}

const readingPages = new WeakMap();
export default function (component) {
  const root = component.parentElement.querySelector(".rdroot");
  setTheme(root);
  if (!readingPages.has(root)) readingPages.set(root, new ReadingPage(root, component.data));
  return () => { readingPages.get(root)?.stop(); readingPages.delete(root); };
}
