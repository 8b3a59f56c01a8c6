// The overview: what Prometheus and its alert rules say of each server, and for the server itself live numbers from Glances.
// Whatever is not known, or older than STALE, is shown as "no data", never as well.
"use strict";

const STALE = 60; // seconds
const EVERY = 5000; // milliseconds between two looks at Prometheus; it asks the servers every 15 s or so
const LIVE = 2000; // milliseconds between two looks at Glances
const POINTS = 240; // of a graph
const ORDER = ["well", "warning", "unknown", "bad"];
const WORDS = { well: "well", warning: "warning", unknown: "no data", bad: "bad" };
const TONES = { well: "#1a7f37", warning: "#d29922", unknown: "#6e7781", bad: "#cf222e" };

const $ = (selector) => document.querySelector(selector);
const page = { site: {}, queries: null, hosts: new Map(), graphs: [], hours: 1, chosen: null, live: null, rules: 0 };

// ---- small helpers

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function shape(state) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#${state}`);
  svg.setAttribute("class", "shape");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

const percent = (value) => `${Math.round(value)} %`;

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let step = 0;
  while (Math.abs(value) >= 1000 && step < units.length - 1) { value /= 1024; step += 1; }
  return `${value.toFixed(step && value < 10 ? 1 : 0)} ${units[step]}`;
}

function span(seconds) {
  const steps = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
  const [size, name] = steps.find(([size]) => seconds >= size) || steps[3];
  const count = Math.max(0, Math.floor(seconds / size));
  return `${count} ${name}${count === 1 ? "" : "s"}`;
}

// Answers are read whole or not at all; `at` is the server's own clock, so that a wrong one here makes nothing old or new.
async function get(path) {
  // Without a password that somebody wrote into the address: browsers refuse to ask with one.
  const answer = await fetch(new URL(path, location.origin + location.pathname), { cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return { at: Date.parse(answer.headers.get("date")) / 1000, body: await answer.json() };
}

async function prometheus(what, given = {}) {
  const { at, body } = await get(`api/${what}?${new URLSearchParams(given)}`);
  if (body.status !== "success") throw new Error(body.error);
  return { at, data: body.data };
}

// ---- what is known

function nothing(name) {
  return { name, up: [], alerts: [], age: Infinity, numbers: {}, lists: {} };
}

// One query for all numbers: each is marked with its name. Labels say what it is of.
function sort(result) {
  const hosts = new Map();
  for (const { metric, value } of result) {
    const { what, host, ...labels } = metric;
    if (!host) continue;
    if (!hosts.has(host)) hosts.set(host, nothing(host));
    const server = hosts.get(host);
    const number = Number(value[1]);
    if (what === "up") server.up.push({ job: labels.job, up: number === 1 });
    else if (what === "age") server.age = number;
    else if (Object.keys(labels).length) (server.lists[what] ||= []).push({ ...labels, value: number });
    else server.numbers[what] = number;
  }
  for (const server of hosts.values()) server.lists.disk = disks(server.lists.disk || []);
  return hosts;
}

// A device that is mounted in several places is one disk, named by the shortest of them.
function disks(found) {
  const byDevice = new Map();
  for (const disk of found) {
    const known = byDevice.get(disk.device);
    if (!known || disk.mountpoint.length < known.mountpoint.length) byDevice.set(disk.device, disk);
  }
  return [...byDevice.values()].sort((a, b) => a.mountpoint.localeCompare(b.mountpoint));
}

// Returns alerts that fire, how many rules there are, and what is wrong with the rules themselves.
function firing(groups, at) {
  const rules = groups.flatMap((group) => group.rules.filter((rule) => rule.type === "alerting").map((rule) => ({ ...rule, interval: group.interval })));
  const late = rules.filter((rule) => at - Date.parse(rule.lastEvaluation) / 1000 > Math.max(2 * STALE, 3 * rule.interval));
  const broken = rules.filter((rule) => rule.health === "err");
  const trouble = [
    ...(rules.length ? [] : ["Prometheus has no alert rules, so nothing is judged"]),
    ...(late.length ? [`${late.length} alert rules have not been looked at for minutes`] : []),
    ...(broken.length ? [`alert rules that fail: ${broken.map((rule) => rule.name).join(", ")}`] : []),
  ];
  const alerts = rules.flatMap((rule) => rule.alerts.filter((alert) => alert.state === "firing").map((alert) => ({
    host: alert.labels.host || "",
    state: { critical: "bad", info: "well", none: "well" }[alert.labels.severity] || "warning",
    text: (alert.annotations.summary || alert.annotations.description || rule.name).replace(`${alert.labels.host}: `, ""),
    since: Date.parse(alert.activeAt) / 1000,
  })));
  return { alerts, trouble, rules: rules.length };
}

function judge(server, trouble) {
  const reasons = server.alerts.filter((alert) => alert.state !== "well").map((alert) => ({ state: alert.state, text: alert.text, since: alert.since }));
  const silent = server.up.filter((target) => !target.up).map((target) => target.job);
  if (silent.length) reasons.push({ state: "unknown", text: `no data from ${silent.join(", ")}` });
  else if (server.age > STALE) reasons.push({ state: "unknown", text: server.age === Infinity ? "no data" : `the last data is ${span(server.age)} old` });
  for (const text of trouble) reasons.push({ state: "unknown", text });
  reasons.sort((a, b) => ORDER.indexOf(b.state) - ORDER.indexOf(a.state));
  return { state: reasons.length ? reasons[0].state : "well", reasons };
}

// ---- what is shown

function meter(what, value, text, title = "") {
  const bar = h("div", { class: "bar" });
  bar.style.width = `${Math.min(100, Math.max(0, value || 0))}%`;
  const track = value === null ? [] : [h("div", { class: "track", "aria-hidden": "true" }, bar)];
  return h("div", { class: value === null ? "meter plain" : "meter" }, h("span", { class: "what", title: title || what }, what), ...track, h("span", { class: "value" }, text));
}

function gpus(server) {
  const of = (list, gpu) => (server.lists[list] || []).find((entry) => entry.index === gpu.index)?.value;
  return (server.lists.gpu || []).map((gpu) => ({ ...gpu, use: gpu.value, memory: of("gpu_memory", gpu), heat: of("gpu_heat", gpu), power: of("gpu_power", gpu) }))
    .sort((a, b) => Number(a.index) - Number(b.index));
}

function gpuMeters(list) {
  return list.flatMap((gpu) => [
    meter(`GPU ${gpu.index}${gpu.heat === undefined ? "" : `, ${Math.round(gpu.heat)} °C`}`, gpu.use, percent(gpu.use), gpu.devicename),
    ...(gpu.memory === undefined ? [] : [meter(`GPU ${gpu.index} memory`, gpu.memory, percent(gpu.memory), gpu.devicename)]),
  ]);
}

function meters(server) {
  const { cpu, memory } = server.numbers;
  const disk = [...server.lists.disk].sort((a, b) => b.value - a.value)[0];
  return [
    ...(cpu === undefined ? [] : [meter("CPU", cpu, percent(cpu))]),
    ...(memory === undefined ? [] : [meter("memory", memory, percent(memory))]),
    ...(disk ? [meter(`disk ${disk.mountpoint}`, disk.value, percent(disk.value))] : []),
    ...gpuMeters(gpus(server)),
  ];
}

function tile(server, trouble) {
  const { state, reasons } = judge(server, trouble);
  server.state = state;
  const name = server.name;
  let element = document.getElementById(`host-${name}`);
  if (!element) {
    element = h("a", { id: `host-${name}`, href: `#${encodeURIComponent(name)}` });
    $("#hosts").append(element);
  }
  element.className = `tile ${state}`;
  element.toggleAttribute("aria-current", name === page.chosen);
  const at = page.at;
  const said = reasons.map(({ text, since }) => h("li", {}, since ? `${text}, for ${span(at - since)}` : text));
  element.replaceChildren(
    h("h2", {}, h("span", { class: "host" }, name), h("span", { class: "state" }, shape(state), WORDS[state])),
    ...(said.length ? [h("ul", { class: "reasons" }, ...said)] : []),
    h("div", { class: "meters" }, ...(server.age > STALE ? [] : meters(server))),
  );
}

function verdict(state, text, note) {
  const heading = $("#verdict");
  const said = `${state}|${text}`;
  if (heading.dataset.said !== said) {
    heading.dataset.said = said; // a screen reader speaks only when something has changed
    heading.className = state;
    heading.replaceChildren(shape(state), h("span", {}, text));
    document.title = `${WORDS[state]}: ${page.site.host || "servers"}`;
    const icon = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="${state === "well" ? 12 : 3}" fill="${TONES[state]}"/></svg>`;
    $("#icon").href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
  }
  $("#note").textContent = note;
}

function overview(trouble, elsewhere) {
  const servers = [...page.hosts.values()];
  for (const server of servers) tile(server, trouble);
  const names = servers.map((server) => server.name);
  for (const element of [...$("#hosts").children]) if (!names.includes(element.id.slice(5))) element.remove();
  const worst = [...servers.map((server) => server.state), ...elsewhere.map((alert) => alert.state)].sort((a, b) => ORDER.indexOf(b) - ORDER.indexOf(a))[0];
  const note = [...elsewhere.map((alert) => alert.text), `as of ${new Date(page.at * 1000).toLocaleTimeString()}`].join("; ");
  if (!servers.length) return verdict("unknown", "No server is watched yet", "Prometheus has no data so far; a new server shows after its first minute.");
  if (worst === "well") return verdict("well", servers.length === 1 ? `${names[0]} is well` : `All ${servers.length} servers are well`, note);
  const those = servers.filter((server) => server.state === worst).map((server) => server.name);
  return verdict(worst, { bad: "Bad: ", warning: "Warning: ", unknown: "No data: " }[worst] + (those.join(", ") || "see below"), note);
}

function silence(error) {
  for (const server of page.hosts.values()) {
    Object.assign(server, { age: Infinity, up: [], alerts: [] });
    tile(server, ["Prometheus does not answer"]);
  }
  verdict("unknown", "No data", `Prometheus does not answer, or this page cannot reach it (${error.message}).`);
  page.live || now();
}

async function look() {
  try {
    const query = Object.entries(page.queries.now).map(([what, expr]) => `label_replace(${expr}, "what", "${what}", "", "")`).join(" or ");
    const [numbers, rules] = await Promise.all([prometheus("query", { query }), prometheus("rules", { type: "alert" })]);
    page.at = numbers.at;
    page.looked = Date.now();
    page.hosts = new Map([...sort(numbers.data.result)].sort());
    const { alerts, trouble } = firing(rules.data.groups, rules.at);
    for (const alert of alerts) if (alert.host && !page.hosts.has(alert.host)) page.hosts.set(alert.host, { ...nothing(alert.host), lists: { disk: [] } });
    for (const alert of alerts) if (alert.host) page.hosts.get(alert.host).alerts.push(alert);
    overview(trouble, alerts.filter((alert) => !alert.host && alert.state !== "well"));
    choose();
  } catch (error) {
    silence(error);
  }
}

// ---- one server

function choose() {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const name = page.hosts.has(wanted) ? wanted : page.hosts.size === 1 ? [...page.hosts.keys()][0] : null;
  if (name !== page.chosen) {
    page.chosen = name;
    page.live = null;
    page.now = null;
    $("#processes").hidden = true;
    for (const server of page.hosts.values()) document.getElementById(`host-${server.name}`)?.toggleAttribute("aria-current", server.name === name);
    if (name) draw();
    if (name && wanted === name) $("#detail").scrollIntoView({ block: "start" });
  }
  $("#detail").hidden = !name;
  if (name) now();
}

// The figures of the chosen server: from Glances where it is this server and Glances answers, else from Prometheus.
function now() {
  const server = page.hosts.get(page.chosen);
  if (!server) return;
  const live = page.live;
  const fresh = server.age <= STALE;
  const numbers = live || (fresh ? server.numbers : {});
  const speed = (what, value) => (value === undefined ? [] : [meter(what, null, `${bytes(value)}/s`)]);
  const cards = live?.gpus.length ? live.gpus : fresh ? gpus(server) : [];
  const columns = [
    [
      ...(numbers.cpu === undefined ? [] : [meter("CPU", numbers.cpu, percent(numbers.cpu))]),
      ...(numbers.memory === undefined ? [] : [meter("memory", numbers.memory, percent(numbers.memory))]),
      ...(fresh ? server.lists.disk.map((disk) => meter(`disk ${disk.mountpoint}`, disk.value, percent(disk.value))) : []),
    ],
    [
      ...speed("network in", numbers.received), ...speed("network out", numbers.sent), ...speed("disks read", numbers.read), ...speed("disks write", numbers.written),
    ],
    ...cards.map((gpu) => [
      meter(`GPU ${gpu.index}`, gpu.use, percent(gpu.use), gpu.devicename), meter("its memory", gpu.memory, percent(gpu.memory)),
      meter(gpu.devicename, null, [gpu.heat === undefined ? "" : `${Math.round(gpu.heat)} °C`, gpu.power === undefined ? "" : `${Math.round(gpu.power)} W`].filter(Boolean).join(", ")),
    ]),
  ].filter((column) => column.length);
  $("#name").replaceChildren(page.chosen);
  const up = fresh && server.numbers.booted ? `, up for ${span(server.numbers.booted)}` : "";
  $("#source").textContent = live ? `Live, every 2 seconds${up}` : fresh ? `As Prometheus saw it ${span(server.age)} ago${up}` : "No data";
  $("#now").replaceChildren(...columns.map((column) => h("div", { class: "meters" }, ...column)));
  $("#now").hidden = !columns.length;
}

async function glances() {
  if (document.hidden || !page.chosen || page.chosen !== page.site.host) return;
  const chosen = page.chosen;
  try {
    const names = ["cpu", "mem", "network", "diskio", "gpu", "processlist/top/10"];
    const answers = await Promise.all(names.map((name) => get(`live/api/4/${name}`)));
    const [cpu, mem, network, diskio, gpu, processes] = answers.map((answer) => answer.body);
    if (chosen !== page.chosen) return;
    const total = (list, key) => list.reduce((sum, entry) => sum + (entry[key] || 0), 0);
    const wires = network.filter((entry) => !/^(lo$|veth|docker|br-)/.test(entry.interface_name));
    const drives = diskio.filter((entry) => !/^(loop|dm-|md|ram|zram)|^(sd[a-z]+|vd[a-z]+|nvme\d+n\d+p)\d+$/.test(entry.disk_name));
    page.live = {
      cpu: cpu.total, memory: mem.percent,
      received: total(wires, "bytes_recv_rate_per_sec"), sent: total(wires, "bytes_sent_rate_per_sec"),
      read: total(drives, "read_bytes_rate_per_sec"), written: total(drives, "write_bytes_rate_per_sec"),
      gpus: gpu.map((card, index) => ({ index: String(index), devicename: card.name, use: card.proc || 0, memory: card.mem || 0, heat: card.temperature ?? undefined })),
    };
    $("#processes tbody").replaceChildren(...processes.map((process) => h("tr", {}, h("td", {}, percent(process.cpu_percent || 0)),
      h("td", {}, percent(process.memory_percent || 0)), h("td", {}, process.username || ""), h("td", { title: (process.cmdline || []).join(" ").slice(0, 400) }, process.name))));
    $("#processes").hidden = !processes.length;
  } catch {
    page.live = null;
    $("#processes").hidden = true;
  }
  now();
}

// ---- graphs

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function clock(seconds, hours) {
  const date = new Date(seconds * 1000);
  if (hours <= 24) return date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  return date.toLocaleDateString([], { weekday: hours <= 168 ? "short" : undefined, day: "numeric", month: "short" });
}

// Round times of this browser's own clock: quarters of hours, every fourth hour, days.
function rounds(start, end) {
  const step = { 1: 900, 24: 4 * 3600, 168: 86400, 720: 5 * 86400 }[page.hours];
  const shift = new Date(end * 1000).getTimezoneOffset() * 60;
  const found = [];
  for (let at = Math.ceil((start - shift) / step) * step + shift; at <= end; at += step) found.push({ value: at });
  return found;
}

const amount = (value, unit) => (unit === "B/s" ? `${bytes(value)}/s` : `${Number(value.toFixed(value < 10 ? 1 : 0))} ${unit}`);

function chart(graph, lines, start, end) {
  const canvas = h("canvas", { role: "img", "aria-label": `${graph.title}: ${lines.map((line) => `${line.label} ${amount(line.last, graph.unit)}`).join(", ")}` });
  const keys = lines.map((line, index) => {
    const key = h("span", { class: "key" }, lines.length > 1 || line.label !== graph.title ? line.label : "");
    key.style.setProperty("--colour", `var(--line-${(index % 6) + 1})`);
    return key;
  });
  const ticks = { color: colour("--faint"), font: { size: 11 }, maxRotation: 0, autoSkipPadding: 18 };
  const grid = { color: colour("--edge"), borderColor: colour("--edge"), drawTicks: false };
  const drawn = () => new Chart(canvas, {
    type: "line",
    data: {
      datasets: lines.map((line, index) => ({
        label: line.label, data: line.points, borderColor: colour(`--line-${(index % 6) + 1}`), backgroundColor: colour(`--line-${(index % 6) + 1}`),
        borderWidth: 1.6, borderDash: index > 5 ? [5, 3] : [], pointRadius: line.points.length === 1 ? 2 : 0, pointHitRadius: 6,
      })),
    },
    options: {
      animation: false, parsing: false, normalized: true, maintainAspectRatio: false, interaction: { mode: "index", intersect: false },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { title: (items) => new Date(items[0].parsed.x * 1000).toLocaleString(), label: (item) => `${item.dataset.label} ${amount(item.parsed.y, graph.unit)}` } },
      },
      scales: {
        x: {
          type: "linear", min: start, max: end, grid, ticks: { ...ticks, autoSkip: false, callback: (value) => clock(value, page.hours) },
          afterBuildTicks: (axis) => { axis.ticks = rounds(start, end); },
        },
        y: { min: 0, max: graph.max, suggestedMax: graph.unit === "B/s" ? 1024 : undefined, grid, ticks: { ...ticks, maxTicksLimit: 5, callback: (value) => amount(value, graph.unit) } },
      },
    },
  });
  return { figure: h("figure", {}, h("figcaption", {}, h("b", {}, graph.title), ...keys), h("div", { class: "canvas" }, canvas)), drawn };
}

const label = (template, metric) => template.replace(/\{\{(\w+)\}\}/g, (_, name) => metric[name] || "").trim();

// A point where data is missing makes a gap: nothing is drawn through it.
function points(values, step) {
  return values.flatMap(([time, value], index) => {
    const gap = index && time - values[index - 1][0] > 1.5 * step ? [{ x: time - step, y: NaN }] : [];
    return [...gap, { x: time, y: Number(value) }];
  });
}

async function draw() {
  const ticket = (page.ticket = {});
  const { chosen, hours } = page;
  const end = Math.floor(page.at);
  const start = end - hours * 3600;
  const step = Math.max(15, Math.ceil((hours * 3600) / POINTS));
  const fill = (expr) => expr.replaceAll("$host", JSON.stringify(chosen)).replaceAll("$window", `${Math.max(60, step)}s`);
  let found;
  try {
    found = await Promise.all(page.queries.graphs.map(async (graph) => {
      const answers = await Promise.all(graph.lines.map((line) => prometheus("query_range", { query: fill(line.expr), start, end, step })));
      const lines = answers.flatMap((answer, index) => answer.data.result.map((series) => ({
        label: label(graph.lines[index].name, series.metric), points: points(series.values, step), last: Number(series.values.at(-1)[1]), first: series.values[0][0],
      })));
      return { graph, lines };
    }));
  } catch (error) {
    if (ticket === page.ticket) $("#history").textContent = `No graphs: ${error.message}`;
    return;
  }
  if (ticket !== page.ticket) return;
  for (const old of page.graphs) old.destroy();
  const charts = found.filter(({ lines }) => lines.length).map(({ graph, lines }) => chart(graph, lines, start, end));
  $("#graphs").replaceChildren(...charts.map(({ figure }) => figure));
  page.graphs = charts.map(({ drawn }) => drawn());
  const first = Math.min(...found.flatMap(({ lines }) => lines.map((line) => line.first)));
  $("#history").textContent = !charts.length ? "There is no history yet; the graphs begin with the first minutes of data."
    : first - start > 2 * step + 60 ? `The history begins ${new Date(first * 1000).toLocaleString()}.` : "";
}

// ---- it goes

async function start() {
  try {
    const [site, queries] = await Promise.all([get("site.json"), get("queries.json")]);
    page.site = site.body;
    page.queries = queries.body;
  } catch (error) {
    verdict("unknown", "No data", `This page cannot be reached whole (${error.message}); load it again.`);
    setTimeout(start, EVERY);
    return;
  }
  if (page.site.grafana) $("#links").append(h("a", { href: "grafana/" }, "Grafana"));
  const keep = async (what, pause) => {
    if (!document.hidden) await what();
    setTimeout(() => keep(what, pause), pause);
  };
  keep(look, EVERY);
  keep(glances, LIVE);
  setInterval(() => { if (!document.hidden && page.chosen) draw(); }, 60000);
  window.addEventListener("hashchange", choose);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return;
    // What was well when the phone was put away may not be so now.
    if (Date.now() - page.looked > STALE * 1000) verdict("unknown", "Looking …", "");
    look().then(() => page.chosen && draw());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (page.chosen) draw(); });
  for (const button of document.querySelectorAll("#ranges button")) {
    button.addEventListener("click", () => {
      page.hours = Number(button.dataset.hours);
      for (const each of document.querySelectorAll("#ranges button")) each.setAttribute("aria-pressed", String(each === button));
      draw();
    });
  }
}

start();
