// Trains as the page does, in Node: node node.mjs FOLDER STEPS. Prints the loss of the last step.
// An engine without relaxed SIMD refuses a module that has any of it; Node 20 is one.

import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';

const [folder, steps] = process.argv.slice(2);
const bytes = await readFile(`${folder}/flex/playground_bg.wasm`);
if (!WebAssembly.validate(bytes)) throw new Error(`Node ${process.version} refuses the module`);
const code = await import(pathToFileURL(`${folder}/flex/playground.js`));
await code.default({ module_or_path: bytes });
const settings = {
  loss: 'ArcFace', settings: code.losses(2).ArcFace, dimensions: 2, samples: 256, noise: 0.7, learning_rate: 0.01, seed: 7,
};
// A field that there is not would be a setting without an effect.
const refused = await code.Playground.begin({ ...settings, momentum: 0.9 }).then(() => '', (error) => String(error));
if (!refused.includes('momentum')) throw new Error(`an unknown setting is taken: ${refused}`);
const playground = await code.Playground.begin(settings);
console.log(await playground.train(Number(steps)));
