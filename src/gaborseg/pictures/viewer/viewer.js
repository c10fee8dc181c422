// A viewer of scans and label maps in three planes and as surfaces; it needs nothing but itself.

const PLANES = {
  axial: { u: 0, v: 1, w: 2, ends: ["L", "R", "P", "A"] },
  coronal: { u: 0, v: 2, w: 1, ends: ["L", "R", "I", "S"] },
  sagittal: { u: 1, v: 2, w: 0, ends: ["P", "A", "I", "S"] },
};
const MISTAKES = { missed: [86, 180, 233], extra: [230, 97, 1], other: [178, 94, 200] };

async function inflated(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function scanOf(volume) {
  const values = await inflated(volume.scan);
  for (let i = 1; i < values.length; i++) values[i] += values[i - 1];
  return values;
}

async function labelsOf(map, size) {
  const runs = await inflated(map.runs);
  const labels = new Uint8Array(size);
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    labels.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
  return labels;
}

// place: where it goes. book: {structures, colors, hidden, cases}. start: what is shown at first.
function makeViewer(place, book, start = {}, onchange = () => {}) {
  const view = { name: book.cases[0].name, maps: null, planes: window.innerWidth < 640 ? "axial" : "three", structure: 0, mode: "filled", opacity: 0.6, black: 0, white: 255, at: null, yaw: 0.6, pitch: 0.35, ...start };
  for (const key of ["maps", "at"]) if (!Array.isArray(view[key])) view[key] = null;
  if (!book.structures[view.structure - 1]) view.structure = 0;
  const colors = [[0, 0, 0], ...book.colors.map((text) => [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16)))];
  let volume, shape, scan, labels, panels = [], scenes = [], asked = 0, lacking = false;
  const root = element("div", { class: "viewer" });
  const [bar, stage, sliders, readout, key] = ["viewer-bar", "viewer-stage", "viewer-sliders", "viewer-readout", "viewer-key"].map((name) => element("div", { class: name }));
  readout.setAttribute("role", "status");
  root.append(bar, stage, sliders, readout, key);
  place.replaceChildren(root);

  async function open(name, anew = true) {
    const turn = ++asked;
    const found = book.cases.find((own) => own.name === name) ?? book.cases[0];
    const size = found.shape.reduce((product, length) => product * length, 1);
    const decoded = await Promise.all([scanOf(found), ...found.maps.map((map) => labelsOf(map, size))]);
    if (turn !== asked) return; // another subject was asked for meanwhile
    [volume, shape, scan] = [found, found.shape, decoded[0]];
    view.name = volume.name;
    labels = new Map(volume.maps.map((map, i) => [map.name, decoded[i + 1]]));
    const there = (view.maps ?? []).filter((map) => labels.has(map));
    view.maps = there.length ? there : volume.maps.slice(0, window.innerWidth < 640 ? 2 : 3).map((map) => map.name);
    const home = placeOf(view.structure);
    lacking = view.structure > 0 && !home;
    if (anew || !view.at || view.at.some((at, axis) => !(at >= 0 && at < shape[axis]))) view.at = home ?? richest();
    build();
  }

  // Shows one structure alone, or all (0), and moves the cross to where it is.
  function chooseStructure(structure) {
    const home = placeOf(structure);
    lacking = structure > 0 && !home;
    set({ structure, at: home ?? view.at });
  }

  // The middle of a structure's largest axial slice: in the truth, else in the first map that has it.
  function placeOf(structure) {
    const own = structure > 0 && [volume.truth, ...view.maps].map((map) => labels.get(map)).find((map) => map?.includes(structure));
    if (!own) return null;
    const area = shape[0] * shape[1];
    const sizes = Array.from({ length: shape[2] }, (_, z) => own.subarray(z * area, (z + 1) * area).reduce((sum, label) => sum + (label === structure), 0));
    const slices = sizes.flatMap((size, z) => (size === Math.max(...sizes) ? [z] : []));
    const z = slices[slices.length >> 1];
    const inside = [];
    own.subarray(z * area, (z + 1) * area).forEach((label, i) => { if (label === structure) inside.push([i % shape[0], Math.floor(i / shape[0])]); });
    const middle = [0, 1].map((axis) => inside.reduce((sum, at) => sum + at[axis], 0) / inside.length);
    const away = (at) => Math.hypot(...at.map((value, axis) => (value - middle[axis]) * volume.spacing[axis]));
    return [...inside.reduce((best, at) => (away(at) < away(best) ? at : best)), z];
  }

  // The middle of what is labelled, in the axial slice that shows most labels.
  function richest() {
    const found = labels.get(volume.truth) ?? labels.values().next().value;
    if (!found) return shape.map((length) => length >> 1);
    const [seen, low, high] = [Array.from({ length: shape[2] }, () => new Set()), [...shape], [0, 0, 0]];
    for (let z = 0, i = 0; z < shape[2]; z++) for (let y = 0; y < shape[1]; y++) for (let x = 0; x < shape[0]; x++, i++) {
      if (!found[i]) continue;
      seen[z].add(found[i]);
      [x, y, z].forEach((at, axis) => { low[axis] = Math.min(low[axis], at); high[axis] = Math.max(high[axis], at); });
    }
    const most = Math.max(...seen.map((set) => set.size));
    if (!most) return shape.map((length) => length >> 1);
    const slices = seen.flatMap((set, z) => (set.size === most ? [z] : []));
    return [(low[0] + high[0]) >> 1, (low[1] + high[1]) >> 1, slices[slices.length >> 1]];
  }

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.flat().filter((child) => child !== null));
    return made;
  }

  function set(changes, rebuild = false) {
    Object.assign(view, changes);
    if (rebuild) build();
    else paint();
    onchange(view);
  }

  function choice(label, options, current, choose) {
    const select = element("select", { onchange: () => choose(select.value) }, options.map(([id, name]) => element("option", { value: id, selected: String(id) === String(current) }, name)));
    return element("label", { "data-choice": label.trim() }, label, select);
  }

  function range(label, name, low, high, step) {
    const input = element("input", { type: "range", min: low, max: high, step, value: view[name], oninput: () => set({ [name]: Number(input.value) }) });
    return element("label", { "data-choice": name }, label, input);
  }

  function controls() {
    const names = volume.maps.map((map) => map.name);
    const column = (index) => (value) => {
      const maps = [...view.maps];
      if (value) maps[index] = value;
      else maps.splice(index, 1);
      set({ maps: maps.filter(Boolean) }, true);
    };
    const columns = Math.min(3, names.length);
    const columnChoices = Array.from({ length: names.length > 1 ? columns : 0 }, (_, i) => choice(`${["1st", "2nd", "3rd"][i]} map `, [...(i ? [["", "none"]] : []), ...names.map((name) => [name, name])], view.maps[i] ?? "", column(i)));
    const modes = [["filled", "structures"], ["outline", "outlines"], ...(volume.truth ? [["difference", "mistakes"]] : [])];
    return [
      book.cases.length > 1 ? choice("subject ", book.cases.map((found) => [found.name, found.title ?? found.name]), view.name, (name) => open(name).then(() => onchange(view))) : null,
      ...columnChoices,
      choice("view ", [["three", "three planes"], ...Object.keys(PLANES).map((name) => [name, name]), ["surface", "surfaces"]], view.planes, (planes) => set({ planes }, true)),
      choice("show ", modes, view.mode, (mode) => set({ mode })),
      choice("structure ", [[0, "all"], ...book.structures.map((name, i) => [i + 1, name])], view.structure, (value) => chooseStructure(Number(value))),
      range("opacity", "opacity", 0, 1, 0.02), range("black", "black", 0, 254, 1), range("white", "white", 1, 255, 1),
    ].filter(Boolean);
  }

  function build() {
    bar.replaceChildren(...controls());
    const planes = view.planes === "three" ? Object.keys(PLANES) : view.planes in PLANES ? [view.planes] : [];
    const rows = view.planes === "three";
    panels = rows ? view.maps.flatMap((map) => planes.map((plane) => slicePanel(plane, map))) : planes.flatMap((plane) => view.maps.map((map) => slicePanel(plane, map)));
    scenes = view.planes === "surface" ? view.maps.map(scenePanel) : [];
    stage.style.setProperty("--columns", rows ? planes.length : view.maps.length);
    stage.replaceChildren(...(rows ? view.maps.flatMap((map) => [head(map, true), ...panels.filter((panel) => panel.map === map).map((panel) => panel.box)]) : [...view.maps.map((map) => head(map)), ...panels.map((panel) => panel.box), ...scenes.map((scene) => scene.box)]));
    sliders.replaceChildren(...planes.map(sliceSlider));
    paint();
  }

  function head(name, whole = false) {
    const noted = volume.maps.find((map) => map.name === name).note;
    return element("div", { class: whole ? "viewer-head whole" : "viewer-head" }, name, noted ? element("small", {}, ` ${noted}`) : null);
  }

  function sliceSlider(plane) {
    const { w } = PLANES[plane];
    const input = element("input", { type: "range", min: 0, max: shape[w] - 1, step: 1, value: view.at[w], "data-plane": plane, oninput: () => move(w, Number(input.value)) });
    return element("label", {}, `${plane} slice`, input);
  }

  function move(axis, to) {
    const at = [...view.at];
    at[axis] = Math.max(0, Math.min(shape[axis] - 1, to));
    set({ at });
  }

  function slicePanel(plane, map) {
    const { u, v, w, ends } = PLANES[plane];
    const canvas = element("canvas", { width: shape[u], height: shape[v], tabindex: 0, role: "slider", "aria-label": `${plane} slice, ${map}`, "aria-valuemin": 0, "aria-valuemax": shape[w] - 1, "data-plane": plane });
    const [across, down] = [element("i", { class: "across" }), element("i", { class: "down" })];
    const box = element("div", { class: "viewer-slice" }, canvas, across, down, ends.map((letter, i) => element("b", { class: `end${i}`, "aria-hidden": "true" }, letter)));
    box.style.aspectRatio = String((shape[u] * volume.spacing[u]) / (shape[v] * volume.spacing[v]));
    const point = (event) => {
      const frame = canvas.getBoundingClientRect();
      const at = [...view.at];
      at[u] = Math.max(0, Math.min(shape[u] - 1, Math.floor(((event.clientX - frame.left) / frame.width) * shape[u])));
      at[v] = Math.max(0, Math.min(shape[v] - 1, Math.floor((1 - (event.clientY - frame.top) / frame.height) * shape[v])));
      set({ at });
    };
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("pointermove", (event) => event.buttons && event.pointerType === "mouse" && point(event));
    canvas.addEventListener("wheel", (event) => {
      const to = view.at[w] - Math.sign(event.deltaY);
      if (to < 0 || to >= shape[w]) return; // at the end the page goes on
      event.preventDefault();
      move(w, to);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 5, PageDown: -5, Home: -shape[w], End: shape[w] }[event.key];
      if (!step) return;
      event.preventDefault();
      move(w, view.at[w] + step);
    });
    return { box, canvas, across, down, plane, map };
  }

  function paint() {
    for (const panel of panels) paintSlice(panel);
    for (const scene of scenes) paintScene(scene);
    for (const input of sliders.querySelectorAll("input")) input.value = view.at[PLANES[input.dataset.plane].w];
    const [x, y, z] = view.at;
    const index = x + shape[0] * (y + shape[1] * z);
    const say = (name) => `${name}: ${book.structures[labels.get(name)[index] - 1] ?? "background"}`;
    const absent = lacking ? [`${book.structures[view.structure - 1]} is in none of these maps`] : [];
    readout.textContent = [...absent, `voxel ${x}, ${y}, ${z}${volume.step > 1 ? ` (every ${["2nd", "3rd"][volume.step - 2] ?? `${volume.step}th`} is shown)` : ""}`, `grey ${scan[index]}`, ...view.maps.map(say)].join(" · ");
    paintKey();
  }

  function paintKey() {
    const kind = view.mode === "difference" ? "mistakes" : "structures";
    if (key.dataset.kind !== kind) key.replaceChildren(...(kind === "mistakes" ? mistakeKey() : structureKey()));
    key.dataset.kind = kind;
    key.querySelectorAll("button").forEach((button, i) => button.setAttribute("aria-pressed", String(view.structure === i + 1)));
    bar.querySelector("[data-choice=structure] select").value = String(view.structure);
  }

  function mistakeKey() {
    return [["missed", "missed"], ["extra", "too much"], ["other", "another structure"]].map(([name, words]) => element("span", {}, chip(MISTAKES[name]), words));
  }

  function structureKey() {
    return book.structures.map((name, i) => element("button", { type: "button", onclick: () => chooseStructure(view.structure === i + 1 ? 0 : i + 1) }, chip(colors[i + 1]), name));
  }

  function chip(color) {
    const made = element("i", { class: "chip" });
    made.style.background = `rgb(${color})`;
    return made;
  }

  function paintSlice({ canvas, across, down, plane, map }) {
    const { u, v, w } = PLANES[plane];
    const strides = [1, shape[0], shape[0] * shape[1]];
    const [width, height, origin] = [shape[u], shape[v], view.at[w] * strides[w]];
    const context = canvas.getContext("2d");
    const picture = context.createImageData(width, height);
    const [own, truth] = [labels.get(map), labels.get(volume.truth)];
    const span = Math.max(1, view.white - view.black);
    const tint = view.mode === "difference" ? mistakeAt : view.mode === "outline" ? outlineAt : colorAt;
    for (let row = 0, out = 0; row < height; row++) for (let column = 0; column < width; column++, out += 4) {
      const at = origin + column * strides[u] + (height - 1 - row) * strides[v];
      const grey = (255 * (scan[at] - view.black)) / span;
      const color = tint(own, at, truth, strides[u], strides[v]);
      const share = color ? view.opacity : 0;
      for (let channel = 0; channel < 3; channel++) picture.data[out + channel] = (1 - share) * Math.max(0, Math.min(255, grey)) + share * (color ? color[channel] : 0);
      picture.data[out + 3] = 255;
    }
    context.putImageData(picture, 0, 0);
    canvas.setAttribute("aria-valuenow", view.at[w]);
    canvas.setAttribute("aria-valuetext", `slice ${view.at[w] + 1} of ${shape[w]}`);
    down.style.left = `${(100 * (view.at[u] + 0.5)) / width}%`;
    across.style.top = `${100 - (100 * (view.at[v] + 0.5)) / height}%`;
  }

  function seen(label) {
    return label && (!view.structure || label === view.structure);
  }

  function colorAt(own, at) {
    return seen(own[at]) ? colors[own[at]] : null;
  }

  function outlineAt(own, at, truth, right, up) {
    if (!seen(own[at])) return null;
    const inside = [right, -right, up, -up].every((step) => own[at + step] === own[at]);
    return inside ? null : colors[own[at]];
  }

  // A colour means the same for one structure as for all: of one, what is drawn is what concerns it.
  function mistakeAt(own, at, truth) {
    const [mine, right] = [own[at], truth[at]];
    if (mine === right || !(seen(mine) || seen(right))) return null;
    return mine ? (right ? MISTAKES.other : MISTAKES.extra) : MISTAKES.missed;
  }

  function scenePanel(map) {
    const canvas = element("canvas", { width: 420, height: 420, tabindex: 0, role: "img", "aria-label": `surfaces, ${map}; arrow keys turn them` });
    let from = null;
    canvas.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY, view.yaw, view.pitch]; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointermove", (event) => from && set({ yaw: from[2] + (event.clientX - from[0]) / 120, pitch: from[3] + (event.clientY - from[1]) / 120 }));
    canvas.addEventListener("pointerup", () => { from = null; });
    canvas.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.15, 0], ArrowRight: [0.15, 0], ArrowUp: [0, -0.15], ArrowDown: [0, 0.15] }[event.key];
      if (!turn) return;
      event.preventDefault();
      set({ yaw: view.yaw + turn[0], pitch: view.pitch + turn[1] });
    });
    return { box: element("div", { class: "viewer-slice" }, canvas), canvas, map, surface: null };
  }

  // The voxels of a map at the surface of what is seen, with the direction away from it.
  function surfaceOf(own) {
    const strides = [1, shape[0], shape[0] * shape[1]];
    const solid = Uint8Array.from(own, (label) => (view.structure ? label === view.structure : label && !book.hidden.includes(label)) ? 1 : 0);
    const found = [];
    for (let z = 1; z < shape[2] - 1; z++) for (let y = 1; y < shape[1] - 1; y++) for (let x = 1; x < shape[0] - 1; x++) {
      const at = x + strides[1] * y + strides[2] * z;
      if (!solid[at]) continue;
      const away = strides.map((step) => solid[at - step] - solid[at + step]);
      if (strides.every((step) => solid[at - step] && solid[at + step])) continue;
      found.push([[x, y, z].map((value, axis) => (value - shape[axis] / 2) * volume.spacing[axis]), away, own[at]]);
    }
    return found;
  }

  function paintScene(scene) {
    if (scene.surface?.structure !== view.structure) scene.surface = { structure: view.structure, points: surfaceOf(labels.get(scene.map)) };
    const { canvas } = scene;
    const side = canvas.width;
    const context = canvas.getContext("2d");
    const picture = context.createImageData(side, side);
    const depth = new Float32Array(side * side).fill(-1e9);
    const reach = Math.hypot(...shape.map((length, axis) => length * volume.spacing[axis])) * 0.8;
    const zoom = side / reach;
    const dot = Math.ceil(zoom * Math.max(...volume.spacing));
    const [cy, sy, cp, sp] = [Math.cos(view.yaw), Math.sin(view.yaw), Math.cos(view.pitch), Math.sin(view.pitch)];
    const turned = ([x, y, z]) => [cy * x - sy * y, cp * z - sp * (sy * x + cy * y), -(cp * (sy * x + cy * y) + sp * z)];
    for (const [place, away, label] of scene.surface.points) {
      const [px, py, pz] = turned(place);
      const normal = turned(away);
      const length = Math.hypot(...normal) || 1;
      const light = 0.3 + 0.7 * Math.max(0, (0.35 * normal[0] + 0.5 * normal[1] + 0.8 * normal[2]) / length);
      const [left, top] = [Math.round(side / 2 + zoom * px - dot / 2), Math.round(side / 2 - zoom * py - dot / 2)];
      for (let row = Math.max(0, top); row < Math.min(side, top + dot); row++) for (let column = Math.max(0, left); column < Math.min(side, left + dot); column++) {
        const at = row * side + column;
        if (depth[at] >= pz) continue;
        depth[at] = pz;
        for (let channel = 0; channel < 3; channel++) picture.data[4 * at + channel] = light * colors[label][channel];
        picture.data[4 * at + 3] = 255;
      }
    }
    context.putImageData(picture, 0, 0);
  }

  return { view, open, ready: open(view.name, false), show: (name) => open(name).then(() => onchange(view)) };
}
