// The label audit: does this patch show the unit's label? One patch at a time, three keys; the previous answer can be corrected.
const JUDGEMENTS = ["yes", "no", "unsure"];

class AuditPage {
  constructor(root, client, host) {
    this.root = root; this.client = client; this.host = host; this.active = false; this.prefetch = [];
    this.section = root.querySelector(".aud");
    this.find = (name) => this.section.querySelector(name);
    this.mammogram = new Viewer(this.find(".r"), root.querySelector("#wl"), this.find(".wlt"));
    this.stopwatch = new Stopwatch();
    this.find(".units").onclick = () => this.leave();
    this.find(".pause").onclick = () => this.pause();
    this.find(".previous").onclick = () => this.reopen();
    this.buttons = [...this.section.querySelectorAll(".three button")];
    this.buttons.forEach((button, i) => { button.onclick = (event) => { if (event.detail <= 1) this.judge(JUDGEMENTS[i]); }; });
  }

  stop() { this.stopwatch.stop(); this.mammogram.stop(); }

  async open() { this.active = true; await this.load(); }

  async load() { this.show((await this.client.request("audit")).data); }

  leave() { this.active = false; this.patch = null; this.section.hidden = true; this.host.load(); }

  show(state) {
    this.busy = false;
    if (state.saved) this.saved = clockTime(state.saved);
    if (state.stage === "patch") { this.showPatch(state.patch, state.prefetch); return; }
    this.patch = null; this.section.hidden = true;
    const paragraphs = state.stage === "done" ? ["All " + state.total + " patches are judged and saved. Thank you."]
      : [state.message || "This audit has been ended by the research team. What you answered is kept. Thank you."];
    this.host.text(state.stage === "done" ? "The audit is done" : "Audit", paragraphs, "Back to the units", false, () => this.leave());
  }

  showPatch(patch, prefetch) {
    this.patch = patch; this.shownAt = performance.now();
    this.root.querySelector(".text").hidden = true; this.host.find(".ann").hidden = true; this.section.hidden = false;
    this.find(".u").replaceChildren("Patch " + patch.number + " ", createNode("span", { textContent: "/ " + patch.total }));
    this.find(".prog i").style.width = (100 * (patch.number - 1)) / patch.total + "%";
    this.find(".prog").setAttribute("aria-valuenow", patch.number - 1); this.find(".prog").setAttribute("aria-valuemax", patch.total);
    this.find(".note").textContent = this.saved ? "Saved " + this.saved : "";
    this.find(".words").textContent = patch.label;
    this.find(".fresh").hidden = !patch.is_new_label;
    this.find(".q").textContent = patch.question;
    this.find(".fault").textContent = "";
    this.find(".hint").textContent = patch.answer === null ? "" : "Reopened. Choose again to correct your answer, or press Esc to leave it.";
    this.find(".previous").style.visibility = patch.can_reopen ? "visible" : "hidden";
    this.buttons.forEach((button, i) => { button.disabled = false; button.setAttribute("aria-pressed", String(patch.answer === JUDGEMENTS[i])); });
    const tile = createNode("img", { src: patch.patch, alt: "patch", draggable: false });
    tile.onerror = () => { this.find(".tile").replaceChildren(this.retry("The patch was not loaded. Click to try again.")); };
    this.find(".tile").replaceChildren(tile);
    const image = createNode("img", { src: patch.mammogram, alt: "", draggable: false });
    image.onerror = () => { this.mammogram.put(this.retry("The mammogram was not loaded. Click to try again."), patch.ratio, patch.box); };
    this.mammogram.resetView(); this.mammogram.put(image, patch.ratio, patch.box);
    this.prefetch = (prefetch || []).map((url) => createNode("img", { src: url }));
    this.stopwatch.reset();
  }

  retry(text) {
    const patch = this.patch;
    return retryButton(text, () => { if (this.patch === patch) this.showPatch(patch, []); });
  }

  ready() { return this.active && this.patch && !this.busy && !this.client.lost && performance.now() - this.shownAt >= DEAD_MS; }

  async judge(answer) {
    if (!this.ready()) return;
    if (answer === this.patch.answer) { this.load(); return; }      // reopened and unchanged
    this.busy = true;
    this.buttons.forEach((button, i) => { button.disabled = true; button.setAttribute("aria-pressed", String(JUDGEMENTS[i] === answer)); });
    const { ok, data } = await this.client.request("judge", { token: this.patch.token, answer, seconds: this.stopwatch.read() });
    if (ok) { this.show(data); return; }
    await this.load();
    if (this.patch) this.find(".fault").textContent = data.message || "This was not saved; try again.";
  }

  async reopen() {
    if (!this.ready() || !this.patch.can_reopen) return;
    this.busy = true;
    const { ok, data } = await this.client.request("rejudge", { previous: true });
    if (ok) this.show(data); else await this.load();
  }

  pause() {
    if (!this.patch) return;
    const patch = this.patch;
    this.patch = null; this.stopwatch.paused = true; this.section.hidden = true;
    this.host.text("Paused", ["Every answer so far is saved. The time is not counted."], "Continue", false, () => { this.stopwatch.paused = false; this.showPatch(patch, []); });
  }

  key(event) {
    const at = "123".indexOf(event.key);
    if (event.key === "Backspace") { event.preventDefault(); this.reopen(); }
    else if (event.key === "Escape" && this.patch?.answer != null) this.load();
    else if (this.patch && viewerKey(this.mammogram, event)) return;
    else if (at >= 0 && event.key.length === 1) { event.preventDefault(); this.judge(JUDGEMENTS[at]); }
  }
}
