// The reading page: one case at a time, answered by a number key.
class ReadingPage {
  constructor(root, { prefix }) {
    this.root = root;
    this.prefix = prefix;
    this.stage = root.querySelector(".stage");
    this.client = new SessionClient(prefix, "/expert/read/", root.querySelector(".lost"));
    this.stopwatch = new Stopwatch();
    this.explained = new Set();      // notes of practice that were shown
    this.onKey = (event) => this.key(event);
    this.onActivity = () => this.stopwatch.recordActivity();
    document.addEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.addEventListener(name, this.onActivity, { passive: true });
    this.load();
  }

  stop() {
    this.client.stop(); this.stopwatch.stop(); this.pictures?.stop();
    document.removeEventListener("keydown", this.onKey);
    for (const name of ["pointermove", "pointerdown", "keydown"]) document.removeEventListener(name, this.onActivity);
  }

  async load() { this.show((await this.client.request("state")).data); }

  show(state) {
    this.case = null; this.done = false; this.busy = false; this.form = null; this.goOn = null; this.shownAt = performance.now();
    if (state.saved) this.saved = clockTime(state.saved);
    const token = state.case?.token ?? state.token;
    if (token || state.stage === "done" || state.stage === "closed") removeTextsOfOthers(token);
    if (state.stage === "instructions") this.saved = null;       // it was of the previous study
    if (state.stage === "case") this.showCase(state.case);
    else if (state.stage === "consent") this.page("Before you start", state.paragraphs, "Continue", state.consent_hash, "consent");
    else if (state.stage === "instructions") this.page("How it works", state.paragraphs, state.button, false, "begin", { start_token: state.start_token });
    else if (state.stage === "closed" && !state.paragraphs) this.load();
    else if (state.stage === "closed") this.page("Reading study closed", state.paragraphs, state.button, false, "next");
    else if (state.stage === "washout") this.showWashout(state);
    else if (state.stage === "questionnaire") this.showQuestionnaire(state);
    else if (state.stage === "done") {
      this.page("All cases are done", ["Every answer has been saved. Thank you for reading."]);
      const row = this.stage.querySelector(".row");
      this.done = state.can_reopen !== false;      // in studies with advice or questions an answer is final
      if (this.done) {
        const back = createNode("button", { type: "button", class: "btn" }, "Reopen the last case ", createNode("kbd", { textContent: "⌫" }));
        back.onclick = () => this.reopen();
        row.prepend(back);
      }
      if (state.button) {
        const on = createNode("button", { type: "button", class: "btn pri", textContent: state.button });
        on.onclick = async () => { on.disabled = true; this.show((await this.client.request("next", { next: true })).data); };
        row.querySelector(".out").before(on);
      }
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

  showWashout(state) {
    const opens = new Date(state.until).toLocaleString([], { dateStyle: "full", timeStyle: "short" });
    this.page("Pause between the readings", [...state.paragraphs, "The next cases open on " + opens + ". Open this page again with your link then."]);
  }

  showQuestionnaire(state) {
    this.form = new QuestionForm(state.questions, state.token, async (answers) => {
      const { ok, data } = await this.client.request("questionnaire", { token: state.token, answers });
      if (ok) this.show(data); else this.load();
    }, null);
    const heading = createNode("h1", { textContent: "Closing questions" });
    const intro = createNode("p", { textContent: "All cases are done and saved. Please answer " + (state.questions.length === 1 ? "one question" : state.questions.length + " questions") + " about the study." });
    this.stage.replaceChildren(createNode("div", { class: "page rd asked" }, heading, intro, this.form.node, createNode("div", { class: "row" }, signOutLink(this.prefix))));
    this.form.show(0);
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
    const pictures = this.showPictures(shown);
    this.answerArea = createNode("div", {}, this.answers(shown));
    const layout = "rd" + (pictures ? " pictured" : "") + (shown.films ? " exams" : "") + (shown.step ? " steps" : "");
    this.stage.replaceChildren(createNode("main", { class: layout }, head, this.description(shown, pictures), this.answerArea, this.foot(shown), pictures));
    this.stopwatch.reset();
    const begins = this.practised && !shown.practice;
    this.practised = shown.practice;
    if (begins) {
      const paragraphs = ["From here on every answer counts and is saved. There are " + shown.total + " cases.",
        "You can pause at any time and continue later with the same link." + (shown.step || shown.questions ? "" : " Backspace reopens the previous case, and only that one.")];
      this.pause("Practice is over", paragraphs, "Start with case 1");
    } else if (shown.pause) {
      this.pause("Time for a pause?", [shown.number - 1 + " of " + shown.total + " cases are done and saved.", "Continue now, or close the page and come back later with your link."]);
    }
  }

  // The images beside the answers. Until they are loaded no answer is accepted and no time is counted.
  // At the next step of a case they stay as the reader set them.
  showPictures(shown) {
    if (!shown.image && !shown.films) { this.pictures?.stop(); this.pictures = null; return null; }
    if (!(shown.step && shown.step !== "first" && this.pictures?.shows(shown))) {
      this.pictures?.stop();
      const onLoaded = () => { if (this.pictures !== pictures || !this.case) return; this.shownAt = performance.now(); this.stopwatch.reset(); };
      const pictures = new CasePictures(shown, this.root.querySelector("#wl"), onLoaded, () => { if (this.pictures === pictures && this.case) { this.pictures.stop(); this.pictures = null; this.showCase(this.case); } });
      this.pictures = pictures;
    }
    this.mapBar = this.pictures.addMaps(shown.advice);
    return this.pictures.node;
  }

  // What stands above the answers: the texts of the case, or what the step of a case with advice shows.
  description(shown, pictures) {
    if (shown.step === "first") return createNode("div", { class: "adv" }, createNode("p", { class: "lead", textContent: "Give your first answer on the " + (shown.films ? "exam" : "image") + " alone. Once saved, it cannot be changed." }));
    if (shown.step) return this.advice(shown);
    const texts = this.textList(shown.texts);
    return shown.texts.length || !pictures ? texts : createNode("p", { class: "tx none", textContent: "This case has no text." });
  }

  textList(texts) {
    return createNode("ol", { class: "tx" }, ...texts.map((text, i) =>
      createNode("li", {}, createNode("b", { textContent: text ? i + 1 + "." : "" }), createNode("span", { textContent: text, class: text.length > 130 ? "long" : "" }))));
  }

  advice(shown) {
    const first = createNode("p", { class: "firstanswer" }, "Your first answer: ", createNode("b", { textContent: shown.first_answer + " " + shown.first_answer_text }));
    if (shown.step === "prediction") return createNode("div", { class: "adv" }, first, createNode("p", { class: "lead", textContent: "The network's decision comes next. Predict it." }));
    if (!shown.advice) return createNode("div", { class: "adv" }, first, createNode("p", { class: "lead", textContent: "This case has no advice. Look again and give your final answer." }));
    const texts = shown.advice.texts.filter(Boolean);
    return createNode("div", { class: "adv" }, first, this.statement(shown), texts.length ? this.textList(texts) : null, shown.films ? null : this.mapBar);
  }

  statement(shown) {
    const mark = shown.practice ? createNode("span", { class: "mark", textContent: "Practice" }) : null;
    return createNode("p", { class: "statement" }, shown.advice.statement, mark);
  }

  answers(shown) {
    this.buttons = shown.answers.map((text, i) => {
      const button = createNode("button", { type: "button" }, createNode("kbd", { textContent: String(i + 1) }), createNode("span", { textContent: text }));
      button.onclick = (event) => { if (event.detail <= 1) this.answer(i + 1); };
      if (shown.answer === i + 1) button.setAttribute("aria-pressed", "true");
      if (shown.step === "final" && shown.first_answer === i + 1) button.append(createNode("em", { textContent: "first", title: "your first answer" }));
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
    if (shown.step || shown.questions) back.style.display = "none";      // never reopened
    const follows = shown.questions?.length ? "Further questions follow." : shown.step && shown.step !== "final" ? "The next step opens when it has been saved." : "The next case opens when it has been saved.";
    const text = shown.answer === null ? "Press 1 " + (shown.answers.length === 2 ? "or 2" : "to " + shown.answers.length) + ". " + follows
      : "Reopened. Choose again to correct it, or press Esc to leave it.";
    this.hint = createNode("span", { textContent: text });
    return createNode("footer", { class: "ft" }, this.hint, createNode("span", { class: "sp" }), back);
  }

  pause(title = "Paused", paragraphs = ["Every answer so far is saved. The time is not counted."], button = "Continue") {
    if (!this.case) return;
    const shown = this.case;
    this.case = null; this.form = null; this.stopwatch.paused = true;
    const onDone = () => { this.stopwatch.paused = false; this.shownAt = performance.now(); this.showCase({ ...shown, pause: false }); };
    const page = textPage({ title, paragraphs, button, prefix: this.prefix, onDone });
    this.stage.replaceChildren(page);
    page.querySelector("button").focus();
  }

  ready() { return this.case && !this.busy && !this.pictures?.waiting && !this.client.lost && performance.now() - this.shownAt >= DEAD_MS; }

  async answer(value) {
    if (!this.ready()) return;
    if (value === this.case.answer) { this.load(); return; }      // reopened and unchanged: nothing to save
    if (this.case.questions?.length) this.ask(value); else await this.save({ answer: value });
  }

  // The further questions take the place of the answers; Esc returns to these.
  ask(value) {
    const shown = this.case;
    const back = () => { this.form = null; this.hint.hidden = false; this.shownAt = performance.now(); this.answerArea.replaceChildren(this.answers(shown)); };
    this.form = new QuestionForm(shown.questions, shown.token, (questions) => this.save({ answer: value, questions }), back);
    const given = createNode("p", { class: "firstanswer" }, (shown.step ? "Your final answer: " : "Your answer: "), createNode("b", { textContent: value + " " + shown.answers[value - 1] }));
    this.answerArea.replaceChildren(given, this.form.node);
    this.hint.hidden = true;      // the form has a hint of its own
    this.form.show(0);
  }

  async save(given) {
    this.busy = true;
    this.buttons.forEach((button, i) => { button.disabled = true; button.setAttribute("aria-pressed", String(i + 1 === given.answer)); });
    const sent = { token: this.case.token, ...given, seconds: this.stopwatch.read(), idle: this.stopwatch.idle };
    const { ok, data } = await this.client.request("answer", sent);
    if (ok) { this.explain(given.answer, data); return; }
    if (data.code === "answer") {
      this.busy = false; this.form = null; this.hint.hidden = false; this.note.textContent = data.message; this.note.className = "say";
      this.answerArea.replaceChildren(this.answers(this.case));
      return;
    }
    this.saved = null;
    await this.load();
    if (this.note && this.case) this.note.textContent = data.message || "";
  }

  // The worked example of practice: what the case showed and why, beside the case, once for each kind of case.
  explain(value, next) {
    const shown = this.case, note = shown?.practice_note?.join(" ");
    if (!note || this.explained.has(note)) { this.show(next); return; }
    this.explained.add(note);
    this.case = null; this.form = null; this.shownAt = performance.now();
    this.stage.firstChild.classList.add("explained");
    this.goOn = () => { if (performance.now() - this.shownAt >= DEAD_MS) this.show(next); };
    const given = createNode("p", { class: "firstanswer" }, shown.step ? "Your final answer: " : "Your answer: ", createNode("b", { textContent: value + " " + shown.answers[value - 1] }));
    const button = createNode("button", { type: "button", class: "btn pri" }, "Continue ", createNode("kbd", { textContent: "⏎" }));
    button.onclick = () => this.goOn?.();
    const paragraphs = shown.practice_note.map((text) => createNode("p", { textContent: text }));
    this.answerArea.replaceChildren(createNode("section", { class: "example", role: "status", "aria-label": "What this practice case showed" },
      given, createNode("h2", { textContent: "What this practice case showed" }), ...paragraphs, button));
  }

  async reopen() {
    const back = this.done ? !this.busy && performance.now() - this.shownAt >= DEAD_MS : this.ready() && this.case.can_reopen;
    if (!back || this.client.lost) return;
    this.busy = true;
    const { ok, data } = await this.client.request("reopen", { previous: true });
    if (ok) this.show(data); else await this.load();
  }

  key(event) {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || !(this.case || this.done || this.form || this.goOn)) return;
    if (this.goOn) {
      if (event.key === "Enter") { event.preventDefault(); this.goOn(); } else this.pictures?.key(event);
      return;
    }
    if (this.case && this.pictures?.key(event)) return;
    if (this.form) { if (!this.client.lost) this.form.key(event); return; }
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
