// Switches, theme and contents; then everything is drawn.

function switches() {
  const groups = document.getElementById("switch-groups");
  const sameLine = new Set(data.configurations.map((c) => c.line)).size === 1;
  for (const kernel of data.kernels) {
    const own = data.configurations.filter((c) => c.kernel === kernel.id);
    groups.append(switchGroup(kernel.name, own.map((c) => [c.id, c.line, legendMark(c, c.mark), `${c.runs}`]), state.configurations));
  }
  groups.prepend(note(sameLine ? "Shape and colour tell the kernel." : "Shape tells the kernel, colour the loss and what else differs."));
  groups.append(switchGroup("Structures", data.structures.map((s, index) => [index, s.name, null, null]), state.structures));
  const panel = document.getElementById("switches");
  const open = document.getElementById("open-switches");
  const toggle = (show) => {
    panel.classList.toggle("open", show);
    open.setAttribute("aria-expanded", String(show));
    (show ? document.getElementById("close-switches") : open).focus();
  };
  open.addEventListener("click", () => toggle(!panel.classList.contains("open")));
  document.getElementById("close-switches").addEventListener("click", () => toggle(false));
  document.addEventListener("keydown", (event) => event.key === "Escape" && panel.classList.contains("open") && toggle(false));
}

function switchGroup(title, options, shown) {
  const boxes = options.map(([id, text, mark, count]) => {
    const box = make("input", { type: "checkbox", checked: shown.has(id), "data-switch": id });
    box.addEventListener("change", () => {
      if (box.checked) shown.add(id);
      else shown.delete(id);
      changed();
    });
    return [id, box, make("label", { class: "switch" }, box, mark, make("span", {}, text), count ? make("small", { title: "finished runs" }, count) : null)];
  });
  const all = (on) => {
    for (const [id, box] of boxes) {
      box.checked = on;
      if (on) shown.add(id);
      else shown.delete(id);
    }
    changed();
  };
  const buttons = make("span", {}, ...[["all", true], ["none", false]].map(([word, on]) => make("button", { type: "button", "aria-label": `${title}: ${word}`, onclick: () => all(on) }, word)));
  return make("fieldset", {}, make("legend", {}, title, buttons), boxes.map(([, , label]) => label));
}

function theme() {
  const button = document.getElementById("theme");
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = state.theme ?? "system";
  try { choice = state.theme ?? localStorage.getItem("gaborseg-theme") ?? "system"; } catch { /* no storage for files */ }
  const apply = () => {
    const dark = choice === "dark" || (choice === "system" && system.matches);
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-label", `Colours: ${choice === "system" ? "as the system has them" : choice}`);
    button.textContent = { system: "◐", light: "☀", dark: "☾" }[choice];
  };
  button.addEventListener("click", () => {
    choice = { system: system.matches ? "light" : "dark", light: system.matches ? "dark" : "system", dark: system.matches ? "system" : "light" }[choice];
    try { localStorage.setItem("gaborseg-theme", choice); } catch { /* no storage for files */ }
    state.theme = choice === "system" ? null : choice;
    apply();
    remember();
  });
  system.addEventListener("change", apply);
  apply();
}

function linkButton() {
  const button = document.getElementById("copy-link");
  const file = location.protocol === "file:";
  button.addEventListener("click", async () => {
    history.replaceState(null, "", addressNow());
    await copyText(file ? location.hash : location.href, button, "Link");
    if (!file) return;
    showTip("Copied: the address of this view, from # on. Others need this file too: after the file's address, what you copied opens this view.", button);
    addEventListener("scroll", hideTip, { once: true, passive: true });
    setTimeout(hideTip, 10000);
  });
}

function goTo(event, element) {
  event.preventDefault();
  element.scrollIntoView();
}

function contents() {
  const bar = document.getElementById("contents");
  const all = [...document.querySelectorAll("section[data-title]")];
  const links = new Map(all.map((element) => [element, make("a", { href: `#${element.id}`, onclick: (event) => goTo(event, element) }, element.dataset.title)]));
  bar.append(...links.values());
  const mark = (current) => {
    for (const [element, link] of links) link.setAttribute("aria-current", String(element === current));
    const link = links.get(current);
    bar.scrollTo({ left: link ? link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2 : 0 });
    state.section = current?.id ?? "";
    remember();
  };
  const more = () => bar.classList.toggle("more", bar.scrollWidth - bar.clientWidth - bar.scrollLeft > 4);
  bar.addEventListener("scroll", more, { passive: true });
  const height = () => bar.parentElement.offsetHeight;
  let watch = null;
  const fit = () => {
    document.documentElement.style.setProperty("--top", `${height()}px`);
    more();
    watch?.disconnect();
    watch = watchSections(all, height(), mark);
  };
  fit();
  new ResizeObserver(fit).observe(bar.parentElement);
}

// Tells which section is the first below the bar.
function watchSections(all, height, tell) {
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) seen.add(entry.target);
      else seen.delete(entry.target);
    }
    tell(all.find((element) => seen.has(element)));
  }, { rootMargin: `-${height + 8}px 0px -55% 0px` });
  for (const element of all) watch.observe(element);
  return watch;
}

restore();
const wanted = state.section;
theme();
linkButton();
overview();
simple("leaderboard", "Leaderboard", ["leaderboard"]);
structures();
subjects();
viewer();
confusion();
learningRates();
statistics();
volumes();
groups();
training();
cost();
simple("runs", "Runs", ["search", "coverage", "unfinished", "runs"]);
kernelNumbers();
switches();
contents();
if (wanted) document.getElementById(wanted)?.scrollIntoView({ behavior: "instant" });
document.documentElement.dataset.ready = "true";
