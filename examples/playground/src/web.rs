//! What the page's script calls. Everything that may wait for a GPU is a promise.

use std::cell::RefCell;
use std::panic;

use burn::tensor::{Device, Tensor};
use burn_losses::heads::streams_on;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::prelude::*;

use crate::{CLASSES, Objective, Settings, Training};

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs once, when the module is loaded.
#[wasm_bindgen(start)]
fn start() {
    panic::set_hook(Box::new(|panic| {
        LAST_PANIC.set(panic.payload_as_str().unwrap_or("an error without a message").to_owned())
    }));
}

/// What the last panic said: a loss that is given a setting out of its range says it there.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> String {
    LAST_PANIC.take()
}

/// Every loss with its settings, as an object of objects.
#[wasm_bindgen]
pub fn losses(dimensions: usize) -> Result<JsValue, JsError> {
    Ok(Objective::all(dimensions).serialize(&Serializer::json_compatible())?)
}

/// See [`Training`].
#[wasm_bindgen]
pub struct Playground {
    training: Training,
    fast_path: bool,
}

#[wasm_bindgen]
impl Playground {
    /// Begins with [`Settings`] as an object.
    pub async fn begin(settings: JsValue) -> Result<Playground, JsError> {
        // By way of a `Value`, since a field that [`Settings`] has not would be passed over otherwise.
        let settings = Settings::deserialize(&serde_wasm_bindgen::from_value::<Value>(settings)?)?;
        let device = device().await?;
        let training = Training::new(&settings, &device).map_err(|error| JsError::new(&format!("{error:#}")))?;
        Ok(Self { training, fast_path: streams_on(&device) })
    }

    /// Where it trains.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        let device = if cfg!(feature = "webgpu") { "WebGPU" } else { "flex (processor)" };
        match (self.training.objective(), self.fast_path) {
            (Objective::Head(_), true) => format!("{device}, streamed head"),
            (Objective::Head(_), false) => format!("{device}, head by ordinary operations"),
            _ => device.to_owned(),
        }
    }

    /// How many classes there are.
    #[wasm_bindgen(getter)]
    pub fn classes(&self) -> usize {
        CLASSES
    }

    /// How an embedding is compared with a class: by `cosine`, `product` or `distance`.
    #[wasm_bindgen(getter)]
    pub fn nearness(&self) -> String {
        self.training.objective().nearness().name().to_owned()
    }

    /// Trains that many steps; the loss before the last of them.
    pub async fn train(&mut self, steps: usize) -> Result<f32, JsError> {
        let mut loss = None;
        for _ in 0..steps {
            loss = Some(self.training.step());
        }
        match loss {
            Some(loss) => Ok(loss.into_scalar_async::<f32>().await?),
            None => Ok(f32::NAN),
        }
    }

    /// Where the samples are, row after row.
    pub async fn embeddings(&self) -> Result<Vec<f32>, JsError> {
        numbers(self.training.embeddings()).await
    }

    /// Where the classes are, row after row; nothing where the loss has no places for them.
    #[wasm_bindgen(js_name = classPlaces)]
    pub async fn class_places(&self) -> Result<Vec<f32>, JsError> {
        match self.training.class_places() {
            Some(places) => numbers(places).await,
            None => Ok(Vec::new()),
        }
    }

    /// The class that each sample is said to have.
    #[wasm_bindgen(getter)]
    pub fn labels(&self) -> Vec<usize> {
        self.training.labels().to_vec()
    }

    /// Gives a sample the next class.
    pub fn relabel(&mut self, sample: usize) {
        self.training.relabel(sample);
    }
}

async fn numbers(tensor: Tensor<2>) -> Result<Vec<f32>, JsError> {
    let data = tensor.into_data_async().await?;
    Ok(data.try_to_vec_as::<f32>()?)
}

#[cfg(not(feature = "webgpu"))]
async fn device() -> Result<Device, JsError> {
    Ok(Device::flex().autodiff())
}

/// A browser hands out its GPU only to those who wait for it, and Burn asks once.
#[cfg(feature = "webgpu")]
async fn device() -> Result<Device, JsError> {
    thread_local! {
        static DEVICE: RefCell<Option<Device>> = const { RefCell::new(None) };
    }
    if let Some(device) = DEVICE.with_borrow(Clone::clone) {
        return Ok(device);
    }
    let device = burn::tensor::wgpu::WgpuOptions::default().init_async().await?.autodiff();
    DEVICE.set(Some(device.clone()));
    Ok(device)
}
