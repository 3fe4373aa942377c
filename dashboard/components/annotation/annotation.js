// The annotation page: queue, drafts, saving, keys. Each displayed unit has a one-time token; entries stay in the browser until acknowledged.
class AnnotationPage {
  constructor(root, { lexicon, prefix }) {
    this.root = root;
    this.prefix = prefix;
    this.find = (name) => root.querySelector(name);
    this.client = new SessionClient(prefix, "/expert/annotate/", this.find(".lost"));
    this.stopwatch = new Stopwatch();
    this.mammogram = new MammogramViewer(root);
    this.form = new Form(root, lexicon, () => this.keep());
    this.find(".questions").replaceChildren(...lexicon.questions.map((text) => createNode("p", { textContent: text })));
    this.auditPage = new AuditPage(root, this.client, this);
    this.onKey = (event) => this.key(event);
    this.onActivity = () => { this.stopwatch.recordActivity(); this.auditPage.stopwatch.recordActivity(); };
    document.addEventListener("keydown", this.onKey);
    this.activityEvents = ["pointermove", "pointerdown", "keydown", "wheel"];
    this.activityEvents.forEach((name) => document.addEventListener(name, this.onActivity, { passive: true }));
    this.onLeave = () => { if (this.keeping) this.store(this.unit); };
    window.addEventListener("pagehide", this.onLeave);
    this.wire();
    this.enter();
  }

  // The units come first, then one unit; practice and consent come before both.
  async enter() {
    const { data } = await this.client.request("state");
    if (data.stage === "unit" && !data.unit.practice) this.preview(); else this.show(data);
  }

  stop() {
    this.client.stop(); this.stopwatch.stop(); this.mammogram.stop(); this.auditPage.stop();
    document.removeEventListener("keydown", this.onKey);
    window.removeEventListener("pagehide", this.onLeave);
    this.activityEvents.forEach((name) => document.removeEventListener(name, this.onActivity));
  }

  wire() {
    this.find(".skip").onclick = () => this.skip();
    this.find(".separate").onclick = () => this.separate();
    this.find(".all").onclick = () => this.preview();
    this.find(".network").onchange = () => { this.left = null; this.preview({ dissection: this.find(".network").value }); };
    this.find(".go").onclick = () => this.leavePreview();
    this.root.querySelectorAll(".bar").forEach((bar) => bar.append(signOutLink(this.prefix)));
    this.find(".pause").onclick = () => this.pause();
    this.find(".audit").onclick = () => this.audit();
    this.find(".keys").onclick = () => this.form.unfold("keys");
    this.find(".add").onclick = () => this.form.add();
    this.find(".details").onclick = () => this.form.unfold("details");
    this.find(".words").onclick = () => this.form.unfold("words");
    this.find(".previous").onclick = () => this.previous();
    this.find(".save").onclick = (event) => { if (event.detail <= 1) this.save(); };
  }

  async load(name) {
    const { data } = await this.client.request("state" + (name ? "?name=" + name : ""));
    if (name && data.code === "stale") { await this.load(); this.fault(data.message); }      // the team changed who names what
    else this.show(data);
  }

  note(text, more = "") { this.find(".note").textContent = text; this.find(".note").title = text + more; }

  // Show why the unit cannot be saved, in place of the secondary buttons; the next change removes the message.
  fault(text, row = null) {
    this.find(".fault").textContent = text || "";
    this.find(".foot").classList.toggle("stopped", Boolean(text));
    if (text) this.form.fault(row);
  }

  show(state) {
    this.busy = false; this.unit = null;
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "unit") { this.showUnit(state); return; }
    if (state.stage === "consent") this.text("Before you start", state.paragraphs, "Start with two practice units", state.consent_hash);
    else if (state.stage === "done") {
      const more = state.audit && state.audit.done < state.audit.total;
      const paragraphs = ["Every answer has been saved. Thank you. You can still review your answers and change them."];
      const open = state.dissections.filter((one) => one.done < one.total);
      if (open.length) paragraphs.push("Still to be named: " + open.map((one) => one.title + " (" + one.done + " of " + one.total + " units done)").join("; ") + ".");
      if (more) paragraphs.push("There is a second task: judge for " + state.audit.total + " single patches whether they show the label (" + state.audit.done + " done).");
      this.text("All " + state.progress.total + " units are done", paragraphs, "All units");
      if (more) {
        const go = createNode("button", { type: "button", class: "btn", textContent: "Start the audit" });
        go.onclick = () => this.audit();
        this.find(".text .row .out").before(go);
      }
    }
    else this.text("Annotate", [state.message || "There are no units to name yet."]);
  }

  // Open the label audit in place of the units.
  audit() {
    if (this.unit && this.keeping) this.store(this.unit);
    this.unit = null;
    this.auditPage.open();
  }

  text(title, paragraphs, button, consent, then) {
    const onDone = then ?? (async (form) => {
      if (consent) {
        const { data } = await this.client.request("consent", form);
        if (data.code === "stale") this.load(); else this.show(data);      // another consent text by now
      }
      else this.preview();
    });
    this.view(".text");
    const page = textPage({ title, paragraphs, button, consent, prefix: this.prefix, onDone });
    this.find(".text").replaceChildren(page);
    if (button && !consent) page.querySelector("button").focus();
  }

  showUnit({ unit, progress, prefetch, audit }) {
    this.unit = unit; this.prefetch = prefetch; this.left = null; this.stopwatch.paused = false; this.shownAt = performance.now();
    const begins = !unit.practice && this.practised;
    this.practised = unit.practice;
    this.fault("");
    this.root.getRootNode().activeElement?.blur();      // otherwise Enter would press Skip again instead of saving
    this.view(".ann");
    this.find(".u").replaceChildren((unit.practice ? "Practice " : "Unit ") + unit.number + " ", createNode("span", { textContent: "/ " + unit.total }));
    const bar = this.find(".bar .prog");
    bar.firstElementChild.style.width = (100 * progress.done) / Math.max(1, progress.total) + "%";
    bar.setAttribute("aria-valuenow", progress.done); bar.setAttribute("aria-valuemax", progress.total);
    this.find(".count").textContent = unit.practice ? "Not counted. The marked row takes digits; Keys explains." : progress.done + " done, " + progress.skipped + " skipped";
    this.find(".separate").hidden = unit.group < 2;
    this.find(".separate").textContent = "Separate " + unit.group + " units";
    bar.hidden = unit.practice; this.find(".skip").hidden = this.find(".all").hidden = unit.practice;
    this.find(".skip").disabled = unit.practice || unit.status === "done";
    this.find(".previous").disabled = !unit.previous;
    this.find(".audit").hidden = !audit;
    if (audit) this.find(".audit").title = "Judge single patches: " + audit.done + " of " + audit.total + " done";
    this.mammogram.load(unit.patches); this.mammogram.prefetch(prefetch);
    this.restore(unit);
    if (begins) this.begin();
  }

  // The units between practice and the first counted one.
  begin() {
    this.preview({ begins: true, notice: "Practice is over. From here on every answer counts and is saved. There are " + this.unit.total + " units; a few of them come twice. " +
      "You can stop at any time and continue later with the same link, postpone a unit with Skip, and change an answer with Previous." });
  }

  restore(unit) {
    const draft = this.draft();
    if (draft) { this.form.set(draft.answer); this.stopwatch.reset(draft.seconds); this.note("Draft kept " + draft.time); }
    else if (unit.answer) { this.form.set(unit.answer); this.stopwatch.reset(); this.note("Saved earlier", "; a change is saved as a new version"); }
    else { this.form.clear(); this.stopwatch.reset(); this.note(this.saved ? "Saved " + this.saved : ""); }
    this.buttons();
  }

  // The draft of the displayed unit, if it was begun on the server's current version.
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
    const draft = { token: unit.token, answer: { ...this.form.answer(), phenomena: this.form.phenomena, label: this.form.label }, seconds: this.stopwatch.read(), time };
    try { localStorage.setItem("dm-draft-" + unit.name, JSON.stringify(draft)); this.note("Draft kept " + time); } catch { this.note("This browser stores no draft"); }
  }

  buttons() {
    const kind = this.form.recognisable === "yes" ? this.form.kind() : null;
    this.find(".details").hidden = !kind?.fields.some((field) => field.optional);
    this.find(".add").disabled = this.form.recognisable !== "yes" || this.form.phenomena.length >= this.form.lexicon.most;
    this.find(".words").textContent = this.form.words ? "Own words, written" : "Own words";
    this.find(".save").disabled = this.busy;
  }

  ready() { return this.unit && !this.busy && !this.client.lost && performance.now() - this.shownAt >= DEAD_MS; }

  hold(on) { this.busy = on; this.find(".form").inert = on; this.buttons(); }

  async save() {
    if (!this.ready()) return;
    const unit = this.unit;
    const missing = this.form.missing();
    if (missing) { this.fault(missing[1], missing[0]); return; }
    this.store(unit); this.hold(true); this.note("Saving");
    const { ok, data } = await this.client.request("answer", { token: unit.token, answer: this.form.answer(), seconds: this.stopwatch.read() });
    this.hold(false);
    if (ok) { localStorage.removeItem("dm-draft-" + unit.name); this.show(data); return; }
    if (data.code === "stale") { await this.load(); }
    this.note(""); this.fault(data.message || "This was not saved; try again.");
  }

  async skip() { await this.act("skip"); }

  // Show each unit of the displayed group by itself from now on; answers of the group stay.
  async separate() { await this.act("separate"); }

  // Send an action on the displayed unit, and show what follows.
  async act(action) {
    if (!this.ready()) return;
    if (this.keeping) this.store(this.unit);
    this.hold(true);
    const { ok, data } = await this.client.request(action, { token: this.unit.token });
    this.hold(false);
    if (ok) this.show(data);
    else { if (data.code === "stale") await this.load(); this.fault(data.message || "This was not done; try again."); }
  }

  async previous() {
    if (!this.ready() || !this.unit.previous) return;
    if (this.keeping) this.store(this.unit);
    this.hold(true);
    const name = this.unit.previous;
    await this.load(name);
    this.hold(false);
  }

  pause(title = "Paused", paragraphs = ["Your answers are saved and this unit's draft is kept on this device. The time is not counted."], button = "Continue") {
    if (!this.unit) return;
    if (this.keeping) this.store(this.unit);
    this.stopwatch.paused = true;
    const unit = this.unit;
    this.unit = null;
    const page = textPage({ title, paragraphs, button, onDone: () => this.resume(unit) });
    this.view(".text");
    this.find(".text").replaceChildren(page);
    page.querySelector("button").focus();
  }

  // Show the unit again from which a pause or the list of units was opened.
  resume(unit) {
    this.view(".ann");
    this.stopwatch.paused = false; this.unit = unit; this.shownAt = performance.now(); this.mammogram.fit();
  }

  // Show one of the three parts of the page.
  view(name) { for (const part of [".text", ".ann", ".preview"]) this.find(part).hidden = part !== name; }

  // All units of a network with some patches each, from which one is opened; a menu where the annotator names units of several networks.
  // notice: a sentence above the units. begins: practice is over, and the first unit was loaded.
  async preview({ notice = "", dissection = "", begins = false } = {}) {
    if (this.unit) {
      if (this.keeping) this.store(this.unit);
      this.left = this.unit; this.unit = null; this.stopwatch.paused = true;
    }
    const { ok, data } = await this.client.request("queue" + (dissection ? "?dissection=" + dissection : this.left ? "?name=" + this.left.name : ""));
    if (!ok) {
      const known = this.left || dissection;
      this.left = null;
      if (known && data.code === "stale") this.preview({ notice: data.message }); else this.show(data);
      return;
    }
    this.find(".network").replaceChildren(...data.dissections.map((one) => createNode("option", { value: one.name, selected: one.shown, textContent: one.title + ", " + one.done + " of " + one.total })));
    this.find(".network").hidden = data.dissections.length < 2;
    this.find(".preview .notice").textContent = notice; this.find(".preview .notice").hidden = !notice;
    const list = this.find(".preview .list");
    const tabs = ["all", "todo", "skipped", "done"].map((status) => {
      const units = data.units.filter((unit) => status === "all" || unit.status === status);
      const tab = createNode("button", { type: "button", class: "btn sm", textContent: status[0].toUpperCase() + status.slice(1) + " " + units.length });
      tab.onclick = () => { tabs.forEach((one) => one.setAttribute("aria-pressed", String(one === tab))); list.replaceChildren(...units.map((unit) => this.line(unit))); };
      return tab;
    });
    this.find(".preview .tabs").replaceChildren(...tabs);
    tabs[0].onclick();
    this.next = data.next;
    const go = this.find(".go");
    const started = data.progress.done + data.progress.skipped > 0;
    const [label, key] = this.left && !begins ? ["Back to unit " + this.left.number, "Esc"] : [(started ? "Continue" : "Start") + " with unit " + (this.left ?? data.next)?.number, "Enter"];
    go.hidden = !this.left && !data.next;
    go.replaceChildren(label + " ", createNode("kbd", { textContent: key }));
    this.view(".preview");
    const shown = list.children[data.units.findIndex((unit) => unit.name === this.left?.name)];
    shown?.scrollIntoView({ block: "nearest" });
    (begins || !shown ? (go.hidden ? list.firstElementChild : go) : shown)?.focus({ preventScroll: true });
  }

  // Return to the unit from which the list was opened, or go on with the next one.
  leavePreview() {
    const unit = this.left;
    this.left = null;
    if (unit) this.resume(unit); else if (this.next) this.load(this.next.name);
  }

  line(unit) {
    const strip = createNode("div", { class: "strip" }, ...unit.patches.map((url) => createNode("img", { src: url, alt: "", loading: "lazy" })));
    const button = createNode("button", { type: "button" }, String(unit.number), strip, createNode("span", { class: "own-label", textContent: unit.label, title: unit.label }), createNode("span", { class: "mute t12", textContent: unit.status }));
    button.onclick = () => { if (unit.name === this.left?.name) this.leavePreview(); else { this.left = null; this.load(unit.name); } };
    return button;
  }

  key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.composedPath()[0];
    if (this.auditPage.active) { if (!isTyping(event)) this.auditPage.key(event); return; }
    if (event.key === "Escape") {
      if (isTyping(event)) target.blur();
      if (!this.find(".preview").hidden) { if (this.left) this.leavePreview(); }
      else if (this.form.popped) this.form.unfold(this.form.popped);
      else if (this.form.adding) this.form.add();
      else this.mammogram.unpin();
      return;
    }
    if (isTyping(event)) { if (event.key === "Enter" && target.tagName === "INPUT") target.blur(); return; }
    if (!this.ready()) return;
    const own = target instanceof HTMLElement && target.tagName === "BUTTON" && !target.closest(".grid, .form");
    if (event.key === "Enter") { if (!own) { event.preventDefault(); this.save(); } }
    else if (event.key === "Backspace") { event.preventDefault(); this.previous(); }
    else if (event.key === "h" || event.key === "H") this.mammogram.toggle();
    else if (event.key === "?") this.form.unfold("keys");
    else if (viewerKey(this.mammogram, event)) return;
    else if (this.form.key(event.key)) {
      event.preventDefault();
      if (!event.key.startsWith("Arrow") && !target.closest?.(".form")) target.blur?.();      // arrow keys belong to the form again, and Enter saves
    }
  }
}

const annotationPages = new WeakMap();
export default function (component) {
  const root = component.parentElement.querySelector(".annroot");
  setTheme(root);
  if (!annotationPages.has(root)) annotationPages.set(root, new AnnotationPage(root, component.data));
  return () => { annotationPages.get(root)?.stop(); annotationPages.delete(root); };
}
