// Trains beside the page, which stays free to draw: `begin` with settings, `run`, `relabel` come in; states go out, with the
// number of the training that they are of.

let code; // The library, for one backend.
let memory; // Its memory, once it runs.
let playground;
let training; // Its number, which the page gave it.
let running = false;
let steps = 0;
let limit = Infinity;
let spent = 0; // Milliseconds in steps.

// A panic of the library stops its module for good: the page begins another worker.
function fail(error) {
  const said = memory && code.lastPanic();
  postMessage({ error: said || String(error?.message ?? error) });
}
addEventListener('error', (event) => { event.preventDefault(); fail(event.error ?? event); });
addEventListener('unhandledrejection', (event) => { event.preventDefault(); fail(event.reason); });

// Gives a message that waits its turn; a timer would cost four milliseconds.
const { port1, port2 } = new MessageChannel();
const turns = [];
port1.onmessage = () => turns.shift()();
const turn = () => new Promise((resolve) => { turns.push(resolve); port2.postMessage(0); });

async function show(loss) {
  const embeddings = await playground.embeddings();
  const places = await playground.classPlaces();
  const labels = playground.labels;
  postMessage({ training, state: { embeddings, places, labels, loss, steps, spent } });
}

let waiting = false;
async function train() {
  if (waiting) return;
  waiting = true;
  let round = 1; // Steps between two pictures, of which there are some thirty a second: drawing takes a core, too.
  while (running && steps < limit) {
    const count = Math.min(round, limit - steps);
    const before = performance.now();
    const loss = await playground.train(count);
    const took = performance.now() - before;
    spent += took;
    steps += count;
    round = Math.max(1, Math.min(2 * round, Math.floor(count * 30 / Math.max(took, 0.1))));
    await show(loss);
    await turn();
  }
  waiting = false;
}

const jobs = {
  async load(backend) {
    code = await import(`./${backend}/playground.js`);
    ({ memory } = await code.default());
    postMessage({ loaded: { two: code.losses(2), three: code.losses(3) } });
  },
  async begin({ number, settings, stop }) {
    running = false;
    while (waiting) await turn();
    playground?.free();
    playground = undefined;
    training = number;
    playground = await code.Playground.begin(settings);
    steps = 0;
    spent = 0;
    limit = stop ?? Infinity;
    const { device, classes, nearness } = playground;
    postMessage({ training, begun: { device, classes, nearness } });
    await show(null);
  },
  async run(on) {
    running = on;
    if (on) train().catch(fail);
  },
  async relabel({ number, sample }) {
    if (!playground || number !== training) return;
    // Not while a step borrows it.
    const was = running;
    running = false;
    while (waiting) await turn();
    playground.relabel(sample);
    await show(null);
    running = was;
    if (was) train().catch(fail);
  },
};

// One after another.
let last = Promise.resolve();
addEventListener('message', ({ data: [job, argument] }) => {
  last = last.then(() => jobs[job](argument)).catch(fail);
});
