// The controls: what is chosen goes to the worker, what it has learned is drawn.
//
// `?steps=200` stops there and puts the figures into `window.report`, for a test.

import { SIZE, drawAngles, drawCurve, drawEmbeddings, rows } from './drawing.js';

const at = (id) => document.getElementById(id);
const asked = new URLSearchParams(location.search);
const stop = Number(asked.get('steps')) >= 1 ? Math.floor(Number(asked.get('steps'))) : undefined;

let worker;
let training = 0; // The number of the last one: what is still said of earlier ones is not listened to.
let losses; // Every loss with its settings, for two and for three dimensions.
let begun; // What the worker said of the training that runs.
let truth; // The classes that the samples are of.
let scene; // What was learned last.
let drawnPlaces = []; // Of the samples on the canvas.
let history = [];
let running = true;
let drawn = true;
const view = { turn: 0.5, tilt: 0.35, held: false, chosen: -1 }; // `chosen`: a sample, by keyboard.

function send(job, argument) {
  worker?.postMessage([job, argument]);
}

function load() {
  at('settings').inert = true;
  worker?.terminate();
  worker = new Worker('worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => {
    if (data.error !== undefined) return failed(data.error);
    if (data.loaded) return loaded(data.loaded);
    if (data.training !== training) return;
    if (data.begun) begun = data.begun;
    if (data.state) learned(data.state);
  };
  worker.onerror = (event) => failed(event.message ?? 'the worker cannot be loaded');
  send('load', at('backend').value);
}

function failed(message) {
  at('error').textContent = message;
  at('error').hidden = false;
  document.title = 'failed';
  at('settings').inert = false;
  worker?.terminate();
  worker = undefined;
}

function loaded(all) {
  const first = losses === undefined;
  losses = all;
  if (first) {
    for (const name of Object.keys(all.two)) at('loss').append(new Option(name, name, false, name === 'ArcFace'));
    if (asked.get('loss') in all.two) at('loss').value = asked.get('loss');
    lossSettings();
  }
  at('settings').inert = false;
  begin();
}

// A field for every number among the settings of the loss.
function lossSettings() {
  const box = at('loss-settings');
  box.replaceChildren(box.firstElementChild);
  const settings = losses[at('dimensions').value === '3' ? 'three' : 'two'][at('loss').value];
  for (const [name, value] of Object.entries(settings)) {
    if (typeof value !== 'number' || name === 'classes' || name === 'embedding_dim') continue;
    const field = Object.assign(document.createElement('input'), { type: 'number', step: 'any', value, name, required: true });
    // More rays than these nobody can tell apart.
    if (name === 'sub_centers' || name === 'centers_per_class') Object.assign(field, { min: 1, max: 16, step: 1 });
    const both = Object.assign(document.createElement('span'), { className: 'both' });
    const range = { margin: [0, 1.5, 0.05], scale: [1, 64, 1] }[name];
    if (range && value <= range[1]) {
      const [min, max, step] = range;
      const slider = Object.assign(document.createElement('input'), { type: 'range', min, max, step, value });
      slider.setAttribute('aria-label', name);
      slider.addEventListener('input', () => { field.value = slider.value; });
      field.addEventListener('input', () => { slider.value = field.value; });
      both.append(slider);
    }
    both.append(field);
    const label = document.createElement('label');
    label.append(name.replaceAll('_', ' '), both);
    box.append(label);
  }
  box.hidden = box.childElementCount === 1;
}

function begin() {
  if (!at('settings').reportValidity()) return;
  at('error').hidden = true;
  document.title = 'burn-losses playground';
  history = [];
  truth = undefined;
  scene = undefined;
  drawnPlaces = [];
  view.chosen = -1;
  at('chosen').textContent = '';
  at('steps').textContent = 0;
  for (const figure of ['loss-now', 'speed', 'accuracy']) at(figure).textContent = '-';
  if (!worker) return load();
  training += 1;
  const dimensions = Number(at('dimensions').value);
  // A finger scrolls past a circle, and turns a sphere.
  stage.style.touchAction = dimensions === 3 ? 'none' : 'auto';
  const loss = at('loss').value;
  const settings = { ...losses[dimensions === 3 ? 'three' : 'two'][loss] };
  for (const field of at('loss-settings').querySelectorAll('input[name]')) settings[field.name] = Number(field.value);
  send('begin', {
    number: training,
    stop,
    settings: {
      loss, settings, dimensions,
      samples: Number(at('samples').value),
      noise: Number(at('noise').value),
      learning_rate: Number(at('learning-rate').value),
      seed: Number(at('seed').value),
    },
  });
  send('run', running);
}

function learned(state) {
  if (state.loss !== null && !Number.isFinite(state.loss)) {
    return failed('The loss is no number any more: take a smaller learning rate, or other settings of the loss.');
  }
  const dimensions = state.embeddings.length / state.labels.length;
  truth ??= state.labels;
  let places = rows(state.places, dimensions);
  const embeddings = rows(state.embeddings, dimensions);
  if (!places.length) places = means(embeddings, state.labels, dimensions);
  scene = { ...begun, ...state, truth, places, embeddings };
  if (state.loss !== null) history.push([state.steps, state.loss]);
  // A long training keeps every second point of its curve.
  if (history.length > 2000) history = history.filter((_, point) => point % 2 === 0);
  drawn = false;
}

// Losses of pairs have no place for a class: the mean of its samples stands for it, or of their directions.
function means(embeddings, labels, dimensions) {
  const sums = Array.from({ length: begun.classes }, () => new Float32Array(dimensions));
  const counts = new Array(begun.classes).fill(0);
  embeddings.forEach((row, sample) => {
    const length = begun.nearness === 'cosine' ? Math.hypot(...row) || 1 : 1;
    row.forEach((number, column) => { sums[labels[sample]][column] += number / length; });
    counts[labels[sample]] += 1;
  });
  return sums.map((sum, label) => sum.map((number) => number / Math.max(counts[label], 1)));
}

const product = (a, b) => {
  let sum = 0;
  for (let column = 0; column < a.length; column++) sum += a[column] * b[column];
  return sum;
};
const cosine = (a, b) => product(a, b) / (Math.hypot(...a) * Math.hypot(...b) || 1);
const closeness = { cosine, product, distance: (a, b) => -Math.hypot(...a.map((number, column) => number - b[column])) };

// The angle of every sample to its own class, and how many are nearest to it.
function measure({ embeddings, places, labels, classes, nearness }) {
  const each = places.length / classes;
  const angles = [];
  let right = 0;
  embeddings.forEach((row, sample) => {
    const angular = new Array(classes).fill(-Infinity);
    const near = new Array(classes).fill(-Infinity);
    places.forEach((place, index) => {
      const of = Math.floor(index / each);
      angular[of] = Math.max(angular[of], cosine(row, place));
      near[of] = Math.max(near[of], closeness[nearness](row, place));
    });
    angles.push(Math.acos(Math.max(-1, Math.min(1, angular[labels[sample]]))));
    if (near.indexOf(Math.max(...near)) === labels[sample]) right++;
  });
  return { angles, accuracy: right / labels.length };
}

const still = matchMedia('(prefers-reduced-motion: reduce)');
let report;
function draw() {
  requestAnimationFrame(draw);
  const turns = scene && scene.embeddings[0].length === 3 && running && !view.held && !still.matches;
  if (turns) view.turn += 0.004;
  if (!scene || (drawn && !turns)) return;
  drawnPlaces = drawEmbeddings(at('embeddings'), scene, view);
  if (drawn) return;
  drawn = true;
  const { angles, accuracy } = measure(scene);
  drawCurve(at('curve'), history);
  drawAngles(at('angles'), angles);
  const { steps, spent } = scene;
  at('steps').textContent = steps;
  if (history.length) at('loss-now').textContent = history.at(-1)[1].toFixed(4);
  at('accuracy').textContent = `${(100 * accuracy).toFixed(1)} %`;
  at('device').textContent = begun.device;
  if (steps) at('speed').textContent = (1000 * steps / spent).toFixed(steps < spent / 100 ? 1 : 0);
  report ??= { firstFrame: performance.now() };
  if (stop === undefined || steps < stop) return;
  const paint = performance.getEntriesByType('paint').map(({ startTime }) => startTime);
  window.report = {
    ...report, steps, accuracy, paint, device: begun.device, stepsPerSecond: 1000 * steps / spent,
    first: history[0][1], loss: history.at(-1)[1],
  };
  document.title = 'done';
}

// Controls.
at('loss').addEventListener('change', () => { lossSettings(); begin(); });
at('dimensions').addEventListener('change', begin);
at('backend').addEventListener('change', load);
at('settings').addEventListener('submit', (event) => event.preventDefault());
at('settings').addEventListener('change', (event) => {
  if (event.target.tagName === 'INPUT') begin();
});
at('again').addEventListener('click', begin);
at('run').addEventListener('click', () => {
  running = !running;
  at('run').textContent = running ? 'Pause' : 'Go on';
  send('run', running);
});

// A drag turns the sphere, a click meets a sample.
const stage = at('embeddings');
const place = (event) => {
  const box = stage.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIZE, (event.clientY - box.top) / box.height * SIZE];
};
let from;
stage.addEventListener('pointerdown', (event) => {
  stage.setPointerCapture(event.pointerId);
  from = { start: place(event), last: place(event) };
  view.held = true;
});
stage.addEventListener('pointermove', (event) => {
  if (!from) return;
  const [x, y] = place(event);
  view.turn += (x - from.last[0]) / 200;
  view.tilt = Math.max(-1.5, Math.min(1.5, view.tilt + (y - from.last[1]) / 200));
  from.last = [x, y];
  drawn = false;
});
stage.addEventListener('pointerup', (event) => {
  const [x, y] = place(event);
  // Of the screen; a finger is not as sure of its place as a mouse.
  const [slack, reach] = (event.pointerType === 'touch' ? [10, 24] : [4, 12]).map((pixels) => pixels * SIZE / stage.clientWidth);
  const moved = from && Math.hypot(x - from.start[0], y - from.start[1]) > slack;
  from = undefined;
  view.held = false;
  if (moved) return;
  let nearest = -1;
  let distance = reach;
  drawnPlaces.forEach((sample, index) => {
    const away = Math.hypot(sample.x - x, sample.y - y) + (sample.depth < 0 ? 6 : 0);
    if (away < distance) [nearest, distance] = [index, away];
  });
  if (nearest >= 0) send('relabel', { number: training, sample: nearest });
});

// The same by keyboard: arrows turn, full stop and comma go from sample to sample, Enter gives the next class.
const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
const goes = { '.': 1, ',': -1 };
stage.addEventListener('keydown', (event) => {
  if (!scene || event.ctrlKey || event.altKey || event.metaKey) return;
  const samples = scene.labels.length;
  if (event.key in turns) {
    const [turn, tilt] = turns[event.key];
    view.turn += turn;
    view.tilt = Math.max(-1.5, Math.min(1.5, view.tilt + tilt));
  } else if (event.key in goes) {
    view.chosen = (Math.max(view.chosen, event.key === '.' ? -1 : 0) + goes[event.key] + samples) % samples;
    tell(scene.labels[view.chosen]);
  } else if ((event.key === 'Enter' || event.key === ' ') && view.chosen >= 0) {
    send('relabel', { number: training, sample: view.chosen });
    tell((scene.labels[view.chosen] + 1) % scene.classes);
  } else {
    return;
  }
  event.preventDefault();
  drawn = false;
});

// For those who do not see the ring.
function tell(label) {
  const { chosen } = view;
  const right = scene.truth[chosen] === label ? '' : `, in truth of class ${scene.truth[chosen]}`;
  at('chosen').textContent = `sample ${chosen + 1} of ${scene.labels.length}: class ${label}${right}`;
}
stage.addEventListener('pointercancel', () => {
  from = undefined;
  view.held = false;
});

// WebGPU where the page was built with it, and the browser has it.
async function offerWebGpu() {
  const backends = await (await fetch('backends.json')).json();
  if (!backends.includes('webgpu') || !navigator.gpu || !(await navigator.gpu.requestAdapter())) return;
  at('backend').append(new Option('graphics card (WebGPU)', 'webgpu'));
}

// For tests.
window.samplePlaces = () => drawnPlaces;
window.shown = () => scene && { steps: scene.steps, samples: scene.labels.length, curve: history };
window.wrongLabels = () => scene.labels.reduce((sum, label, sample) => sum + (label !== truth[sample]), 0);

if (asked.get('backend') === 'webgpu') {
  at('backend').append(new Option('graphics card (WebGPU)', 'webgpu', true, true));
} else {
  offerWebGpu();
}
if (asked.get('dimensions') === '3') at('dimensions').value = '3';
load();
requestAnimationFrame(draw);
