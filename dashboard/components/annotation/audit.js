// The second queue: does this patch show what the unit is called? One patch at a time, three keys, the previous one can be corrected.
const JUDGEMENTS = ["yes", "no", "unsure"];

class Auditing {
  constructor(root, desk, host) {
    this.root = root; this.desk = desk; this.host = host; this.active = false; this.early = [];
    this.section = root.querySelector(".aud");
    this.find = (name) => this.section.querySelector(name);
    this.film = new Viewer(this.find(".r"), root.querySelector("#wl"), this.find(".wlt"));
    this.watch = new Stopwatch();
    this.find(".units").onclick = () => this.leave();
    this.find(".pause").onclick = () => this.pause();
    this.find(".previous").onclick = () => this.reopen();
    this.buttons = [...this.section.querySelectorAll(".three button")];
    this.buttons.forEach((button, i) => { button.onclick = (event) => { if (event.detail <= 1) this.judge(JUDGEMENTS[i]); }; });
  }

  stop() { this.watch.stop(); this.film.stop(); }

  async open() { this.active = true; await this.load(); }

  async load() { this.show((await this.desk.ask("audit")).data); }

  leave() { this.active = false; this.patch = null; this.section.hidden = true; this.host.load(); }

  show(state) {
    this.busy = false;
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "patch") { this.showPatch(state.patch, state.early); return; }
    this.patch = null; this.section.hidden = true;
    const paragraphs = state.stage === "done" ? ["All " + state.total + " patches are judged and saved. Thank you."]
      : [state.sentence || "This audit has been ended by the research team. What you answered is kept. Thank you."];
    this.host.text(state.stage === "done" ? "The audit is done" : "Audit", paragraphs, "Back to the units", false, () => this.leave());
  }

  showPatch(patch, early) {
    this.patch = patch; this.shownAt = performance.now();
    this.root.querySelector(".text").hidden = true; this.host.find(".ann").hidden = true; this.section.hidden = false;
    this.find(".u").replaceChildren("Patch " + patch.number + " ", make("span", { textContent: "/ " + patch.total }));
    this.find(".prog i").style.width = (100 * (patch.number - 1)) / patch.total + "%";
    this.find(".prog").setAttribute("aria-valuenow", patch.number - 1); this.find(".prog").setAttribute("aria-valuemax", patch.total);
    this.find(".note").textContent = this.saved ? "Saved " + this.saved : "";
    this.find(".words").textContent = patch.words;
    this.find(".fresh").hidden = !patch.fresh;
    this.find(".q").textContent = patch.question;
    this.find(".fault").textContent = "";
    this.find(".said").textContent = patch.given === null ? "" : "Reopened. Choose again to correct your answer, or press Esc to leave it.";
    this.find(".previous").style.visibility = patch.back ? "visible" : "hidden";
    this.buttons.forEach((button, i) => { button.disabled = false; button.setAttribute("aria-pressed", String(patch.given === JUDGEMENTS[i])); });
    const tile = make("img", { src: patch.plain, alt: "patch", draggable: false });
    tile.onerror = () => { this.find(".tile").replaceChildren(this.retry("The patch was not loaded. Click to try again.")); };
    this.find(".tile").replaceChildren(tile);
    const film = make("img", { src: patch.film, alt: "", draggable: false });
    film.onerror = () => { this.film.put(this.retry("The film was not loaded. Click to try again."), patch.ratio, patch.box); };
    this.film.resetView(); this.film.put(film, patch.ratio, patch.box);
    this.early = (early || []).map((url) => make("img", { src: url }));
    this.watch.reset();
  }

  retry(text) {
    const patch = this.patch;
    return retryButton(text, () => { if (this.patch === patch) this.showPatch(patch, []); });
  }

  ready() { return this.active && this.patch && !this.busy && !this.desk.lost && performance.now() - this.shownAt >= DEAD_MS; }

  async judge(answer) {
    if (!this.ready()) return;
    if (answer === this.patch.given) { this.load(); return; }      // reopened and left as it was
    this.busy = true;
    this.buttons.forEach((button, i) => { button.disabled = true; button.setAttribute("aria-pressed", String(JUDGEMENTS[i] === answer)); });
    const { ok, data } = await this.desk.ask("judge", { token: this.patch.token, answer, seconds: this.watch.read() });
    if (ok) { this.show(data); return; }
    await this.load();
    if (this.patch) this.find(".fault").textContent = data.sentence || "This was not saved; try again.";
  }

  async reopen() {
    if (!this.ready() || !this.patch.back) return;
    this.busy = true;
    const { ok, data } = await this.desk.ask("rejudge", { previous: true });
    if (ok) this.show(data); else await this.load();
  }

  pause() {
    if (!this.patch) return;
    const patch = this.patch;
    this.patch = null; this.watch.paused = true; this.section.hidden = true;
    this.host.text("Paused", ["Every answer so far is saved. The clock stands still."], "Continue", false, () => { this.watch.paused = false; this.showPatch(patch, []); });
  }

  key(event) {
    const at = "123".indexOf(event.key);
    if (event.key === "Backspace") { event.preventDefault(); this.reopen(); }
    else if (event.key === "Escape" && this.patch?.given != null) this.load();
    else if (this.patch && filmKey(this.film, event)) return;
    else if (at >= 0 && event.key.length === 1) { event.preventDefault(); this.judge(JUDGEMENTS[at]); }
  }
}
