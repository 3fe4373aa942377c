// The page: queue, drafts, saving, keys. One one-time token per shown unit; what is typed stays in the browser until it is acknowledged.
class Annotating {
  constructor(root, { lexicon, prefix }) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.desk = new Desk(prefix, "/expert/annotate/", this.find(".lost"));
    this.watch = new Stopwatch();
    this.film = new Film(root);
    this.form = new Form(root, lexicon, () => this.keep());
    this.auditing = new Auditing(root, this.desk, this);
    this.onKey = (event) => this.key(event);
    this.onSign = () => { this.watch.sign(); this.auditing.watch.sign(); };
    document.addEventListener("keydown", this.onKey);
    this.signs = ["pointermove", "pointerdown", "keydown", "wheel"];
    this.signs.forEach((name) => document.addEventListener(name, this.onSign, { passive: true }));
    this.onLeave = () => { if (this.keeping) this.store(this.unit); };
    window.addEventListener("pagehide", this.onLeave);
    this.wire();
    this.load();
  }

  stop() {
    this.desk.stop(); this.watch.stop(); this.film.stop(); this.auditing.stop();
    document.removeEventListener("keydown", this.onKey);
    window.removeEventListener("pagehide", this.onLeave);
    this.signs.forEach((name) => document.removeEventListener(name, this.onSign));
  }

  wire() {
    this.find(".skip").onclick = () => this.skip();
    this.find(".all").onclick = () => this.drawer();
    this.find(".pause").onclick = () => this.pause();
    this.find(".audit").onclick = () => this.audit();
    this.find(".keys").onclick = () => this.form.unfold("keys");
    this.find(".add").onclick = () => this.form.add();
    this.find(".details").onclick = () => this.form.unfold("details");
    this.find(".words").onclick = () => this.form.unfold("words");
    this.find(".previous").onclick = () => this.previous();
    this.find(".save").onclick = (event) => { if (event.detail <= 1) this.save(); };
  }

  async load(name) { this.show((await this.desk.ask("state" + (name ? "?name=" + name : ""))).data); }

  note(text, more = "") { this.find(".note").textContent = text; this.find(".note").title = text + more; }

  // What stops the unit from being saved, as a whole sentence in place of the quieter buttons; gone with the next change.
  fault(text, row = null) {
    this.find(".fault").textContent = text || "";
    this.find(".foot").classList.toggle("stopped", Boolean(text));
    if (text) this.form.fault(row);
  }

  show(state) {
    this.busy = false; this.unit = null;
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "unit") { this.showUnit(state); return; }
    if (state.stage === "consent") this.text("Before you start", state.paragraphs, "Start with two practice units", true);
    else if (state.stage === "done") {
      const more = state.audit && state.audit.done < state.audit.total;
      const paragraphs = ["Every answer has been saved. Thank you. You can still look at your answers and change them."];
      if (more) paragraphs.push("There is a second task: say of " + state.audit.total + " single patches whether they show what they should (" + state.audit.done + " done).");
      this.text("All " + state.progress.total + " units are done", paragraphs, "All units");
      if (more) {
        const go = make("button", { type: "button", class: "btn", textContent: "Start the audit" });
        go.onclick = () => this.audit();
        this.find(".text .row").append(go);
      }
    }
    else this.text("Annotate", [state.sentence || "There are no units to name yet."]);
  }

  // The other queue, in place of this one.
  audit() {
    if (this.unit && this.keeping) this.store(this.unit);
    this.unit = null;
    this.auditing.open();
  }

  text(title, paragraphs, button, consent, then) {
    const onDone = then ?? (async (form) => {
      if (consent) this.show((await this.desk.ask("consent", form)).data);
      else { this.find(".text").hidden = true; this.find(".ann").hidden = false; this.drawer(); }
    });
    this.find(".ann").hidden = true;
    this.find(".text").hidden = false;
    const page = textPage({ title, paragraphs, button, consent, onDone });
    this.find(".text").replaceChildren(page);
    if (button && !consent) page.querySelector("button").focus();
  }

  showUnit({ unit, progress, early, audit }) {
    this.unit = unit; this.early = early; this.shownAt = performance.now();
    const begins = !unit.practice && this.practised;
    this.practised = unit.practice;
    this.fault("");
    this.root.getRootNode().activeElement?.blur();      // or Enter would press Skip again in place of saving
    this.find(".text").hidden = true; this.find(".ann").hidden = false; this.find(".drawer").hidden = true;
    this.find(".u").replaceChildren((unit.practice ? "Practice " : "Unit ") + unit.number + " ", make("span", { textContent: "/ " + unit.total }));
    const bar = this.find(".bar .prog");
    bar.firstElementChild.style.width = (100 * progress.done) / Math.max(1, progress.total) + "%";
    bar.setAttribute("aria-valuenow", progress.done); bar.setAttribute("aria-valuemax", progress.total);
    this.find(".count").textContent = unit.practice ? "Not counted. The marked row takes digits; Keys explains." : progress.done + " done, " + progress.skipped + " skipped";
    bar.hidden = unit.practice; this.find(".skip").hidden = this.find(".all").hidden = unit.practice;
    this.find(".skip").disabled = unit.practice || unit.status === "done";
    this.find(".previous").disabled = !unit.previous;
    this.find(".audit").hidden = !audit;
    if (audit) this.find(".audit").title = "Judge single patches: " + audit.done + " of " + audit.total + " done";
    this.film.load(unit.tiles); this.film.early(early);
    this.restore(unit);
    if (begins) this.begin();
  }

  // Between practice and the first unit that counts.
  begin() {
    this.pause("Practice is over", ["From here on every answer counts and is saved. There are " + this.unit.total + " units; a few of them come twice.",
      "You can stop at any time and go on later with the same link, put a unit off with Skip, and change an answer with Previous."], "Start with unit 1");
  }

  restore(unit) {
    const draft = this.draft();
    if (draft) { this.form.set(draft.answer); this.watch.reset(draft.seconds); this.note("Draft kept " + draft.time); }
    else if (unit.answer) { this.form.set(unit.answer); this.watch.reset(); this.note("Saved earlier", "; a change is kept beside it"); }
    else { this.form.clear(); this.watch.reset(); this.note(this.saved ? "Saved " + this.saved : ""); }
    this.buttons();
  }

  // The draft of the shown unit, if it was begun on the version that the server still has.
  draft() {
    try {
      const draft = JSON.parse(localStorage.getItem("dm-draft-" + this.unit.name));
      if (draft && draft.token !== this.unit.token) localStorage.removeItem("dm-draft-" + this.unit.name);
      return draft && draft.token === this.unit.token ? draft : null;
    } catch { return null; }
  }

  keep() {
    this.buttons();
    this.fault("");
    clearTimeout(this.keeping);
    const unit = this.unit;
    this.keeping = setTimeout(() => this.store(unit), 1000);
  }

  store(unit) {
    if (!unit || this.unit !== unit) return;
    clearTimeout(this.keeping); this.keeping = null;
    const time = clockTime();
    const draft = { token: unit.token, answer: { ...this.form.answer(), phenomena: this.form.phenomena, label: this.form.label }, seconds: this.watch.read(), time };
    try { localStorage.setItem("dm-draft-" + unit.name, JSON.stringify(draft)); this.note("Draft kept " + time); } catch { this.note("This browser keeps no draft"); }
  }

  buttons() {
    const kind = this.form.recognisable === "yes" ? this.form.kind() : null;
    this.find(".details").hidden = !kind?.fields.some((field) => field.optional);
    this.find(".add").disabled = this.form.recognisable !== "yes" || this.form.phenomena.length >= this.form.lexicon.most;
    this.find(".words").textContent = this.form.words ? "Own words, written" : "Own words";
    this.find(".save").disabled = this.busy;
  }

  ready() { return this.unit && !this.busy && !this.desk.lost && performance.now() - this.shownAt >= DEAD_MS; }

  hold(on) { this.busy = on; this.find(".form").inert = on; this.buttons(); }

  async save() {
    if (!this.ready()) return;
    const unit = this.unit;
    const missing = this.form.missing();
    if (missing) { this.fault(missing[1], missing[0]); return; }
    this.store(unit); this.hold(true); this.note("Saving");
    const { ok, data } = await this.desk.ask("answer", { token: unit.token, answer: this.form.answer(), seconds: this.watch.read() });
    this.hold(false);
    if (ok) { localStorage.removeItem("dm-draft-" + unit.name); this.show(data); return; }
    if (data.code === "stale") { await this.load(); }
    this.note(""); this.fault(data.sentence || "This was not saved; try again.");
  }

  async skip() {
    if (!this.ready()) return;
    if (this.keeping) this.store(this.unit);
    this.hold(true);
    const { ok, data } = await this.desk.ask("skip", { token: this.unit.token });
    this.hold(false);
    if (ok) this.show(data);
    else { if (data.code === "stale") await this.load(); this.fault(data.sentence || "This was not done; try again."); }
  }

  async previous() {
    if (!this.ready() || !this.unit.previous) return;
    if (this.keeping) this.store(this.unit);
    this.hold(true);
    const name = this.unit.previous;
    await this.load(name);
    this.hold(false);
  }

  pause(title = "Paused", paragraphs = ["Your answers are saved and this unit's draft is kept on this device. The clock stands still."], button = "Continue") {
    if (!this.unit) return;
    if (this.keeping) this.store(this.unit);
    this.watch.paused = true;
    const unit = this.unit;
    this.unit = null;
    this.find(".ann").hidden = true;
    const page = textPage({ title, paragraphs, button,
      onDone: () => { this.find(".text").hidden = true; this.find(".ann").hidden = false; this.watch.paused = false; this.unit = unit; this.shownAt = performance.now(); this.film.fit(); } });
    this.find(".text").hidden = false;
    this.find(".text").replaceChildren(page);
    page.querySelector("button").focus();
  }

  async drawer() {
    const drawer = this.find(".drawer");
    if (!drawer.hidden) { drawer.hidden = true; return; }
    if (this.unit && this.keeping) this.store(this.unit);
    const { data } = await this.desk.ask("queue");
    const list = make("div", { class: "list" });
    const tabs = ["all", "todo", "skipped", "done"].map((status) => {
      const some = data.units.filter((unit) => status === "all" || unit.status === status);
      const tab = make("button", { type: "button", class: "btn sm", textContent: status[0].toUpperCase() + status.slice(1) + " " + some.length });
      tab.onclick = () => { tabs.forEach((one) => one.setAttribute("aria-pressed", String(one === tab))); list.replaceChildren(...some.map((unit) => this.line(unit))); };
      return tab;
    });
    const close = make("button", { type: "button", class: "btn sm" }, "Close ", make("kbd", { textContent: "Esc" }));
    close.onclick = () => { drawer.hidden = true; if (!this.unit) this.load(); };
    drawer.replaceChildren(make("div", { class: "head" }, make("b", { textContent: "All units" }), ...tabs, make("span", { class: "sp" }), close), list);
    tabs[0].onclick();
    drawer.hidden = false;
    (list.children[data.units.findIndex((unit) => unit.name === this.unit?.name)] ?? list.firstElementChild ?? close).focus();
  }

  line(unit) {
    const strip = make("div", { class: "strip" }, ...unit.tiles.map((url) => make("img", { src: url, alt: "", loading: "lazy" })));
    const button = make("button", { type: "button" }, String(unit.number), strip, make("span", { class: "said", textContent: unit.label, title: unit.label }), make("span", { class: "mute t12", textContent: unit.status }));
    button.onclick = () => this.load(unit.name);
    return button;
  }

  key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    if (this.auditing.active) { if (!typing(event)) this.auditing.key(event); return; }
    if (event.key === "Escape") {
      if (typing(event)) target.blur();
      if (!this.find(".drawer").hidden) this.find(".drawer button").closest(".head").lastElementChild.click();
      else if (this.form.popped) this.form.unfold(this.form.popped);
      else if (this.form.adding) this.form.add();
      else this.film.unpin();
      return;
    }
    if (typing(event)) { if (event.key === "Enter" && target.tagName === "INPUT") target.blur(); return; }
    if (!this.ready() || !this.find(".drawer").hidden) return;
    const own = target instanceof HTMLElement && target.tagName === "BUTTON" && !target.closest(".grid, .form");
    if (event.key === "Enter") { if (!own) { event.preventDefault(); this.save(); } }
    else if (event.key === "Backspace") { event.preventDefault(); this.previous(); }
    else if (event.key === "h" || event.key === "H") this.film.toggle();
    else if (event.key === "?") this.form.unfold("keys");
    else if (filmKey(this.film, event)) return;
    else if (this.form.key(event.key)) {
      event.preventDefault();
      if (!event.key.startsWith("Arrow") && !target.closest?.(".form")) target.blur?.();      // the arrows are the form's again, and Enter saves
    }
  }
}

const annotatings = new WeakMap();
export default function (component) {
  const root = component.parentElement.querySelector(".annroot");
  setTheme(root);
  if (!annotatings.has(root)) annotatings.set(root, new Annotating(root, component.data));
  return () => { annotatings.get(root)?.stop(); annotatings.delete(root); };
}
