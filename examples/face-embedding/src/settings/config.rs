//! Every setting of a run, as written to `config.json` and read back from it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use burn_losses::heads::HeadKind;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::error::Category;

use super::augmentation::Augmentation;
use super::backend::BackendKind;
use super::checkpointing::Checkpointing;
use super::devices::{self, DeviceName};
use super::loss::{LossKind, LossSettings};
use super::network::{NetworkKind, NetworkSettings};
use super::optimization::Optimization;
use super::range::{shown, within};
use super::reading::Reading;
use super::sampling::Sampling;
use super::schedule::ScheduleSettings;

/// The file of a run that holds its settings.
pub const CONFIG: &str = "config.json";

/// Longest file of settings that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Pictures in a batch, where there are enough.
const BATCH: usize = 64;
/// A batch of one has no batch statistics.
const FEWEST_IN_BATCH: usize = 2;
/// Steps that a run takes if it is not told its length: on few pictures 14 epochs are over before it has learned.
const FEWEST_STEPS: usize = 850;
/// Of photographs; docs/measured.md says what it brings.
const DROPOUT: f64 = 0.4;
/// Of photographs, as far as training moves them; docs/measured.md says what it brings.
const VIEW_SHIFT: f64 = 0.0625;
const FEWEST_EPOCHS: usize = 14;
const MOST_EPOCHS: usize = 100_000;

/// What a resumed run may change, beside [what is measured and kept](Checkpointing) and [how pictures are read](Reading): how far it goes, what computes, and where its
/// pictures lie now, which are compared with those that it was begun with.
const FREE_TO_RESUME: [&str; 6] = ["data", "val_data", "landmarks", "epochs", "backend", "devices"];

/// The settings of a training run; those that a file does not have are their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainConfig {
    /// One folder of pictures per person; none draws faces instead.
    pub data: Option<PathBuf>,
    /// People to measure on; none holds back a share of the people of `data`.
    pub val_data: Option<PathBuf>,
    /// Share of the people of `data` that are held back when there is no `val_data`; in `[0.01, 0.9]`.
    pub held_out_share: f64,
    /// A table of five points of the face in each picture, by which pictures are aligned; none for aligned ones.
    pub landmarks: Option<PathBuf>,
    /// Pixels that the shorter side of a picture has at least; smaller ones are left out; in `[1, 1024]`.
    pub min_size: usize,
    /// Drawn faces: people to train on; in `[2, 100000]`.
    pub people: usize,
    /// Drawn faces: people to measure on; in `[4, 100000]`.
    pub test_people: usize,
    /// Drawn faces: pictures of each person; in `[2, 10000]`.
    pub pictures: usize,
    /// How pictures are read.
    #[serde(flatten)]
    pub reading: Reading,
    /// The network and its settings.
    #[serde(flatten)]
    pub network: NetworkSettings,
    /// What the trunk begins with: the folder of a run, or a file of weights; none begins with random weights.
    pub init: Option<PathBuf>,
    /// The SHA-256 of the file of weights that `init` names. None: whatever the file is, when the run begins.
    pub init_sha256: Option<String>,
    /// What the head computes.
    pub loss: LossKind,
    /// The settings of that loss.
    #[serde(flatten)]
    pub loss_settings: LossSettings,
    /// Passes over the training pictures; in `[1, 100000]`. None: 14, or more if these are fewer than 850 steps.
    pub epochs: Option<usize>,
    /// Pictures per step; in `[2, 65536]`. None: 64, or a quarter of the training pictures if that is less.
    pub batch_size: Option<usize>,
    /// Who meets in a batch.
    #[serde(flatten)]
    pub sampling: Sampling,
    /// Share of the features that are dropped before the embedding layer, others in every step; in `[0, 0.9]`. None: 0.4 for
    /// photographs and the small network, 0 else. A run of an earlier version had 0.
    #[serde(default = "zero")]
    pub dropout: Option<f64>,
    /// Share of its side by which a picture is moved up or down, left or right, or both, to be embedded as it is and at these eight
    /// places, whole pixels; in `[0, 0.5]`. None: 0.0625 for photographs without landmarks and the small network, 0 else. A run of an
    /// earlier version had 0.
    #[serde(default = "zero")]
    pub view_shift: Option<f64>,
    /// How training pictures are changed.
    #[serde(flatten)]
    pub augmentation: Augmentation,
    /// Peak learning rate of the trunk; in `[1e-7, 10]`.
    pub lr: f64,
    /// Peak learning rate of the head; in `[1e-7, 10]`.
    pub head_lr: f64,
    /// Share of all steps in which the learning rate rises to its peak; in `[0, 0.9]`.
    pub warmup_share: f64,
    /// How the learning rates fall after that.
    #[serde(flatten)]
    pub schedule_settings: ScheduleSettings,
    /// Weight decay of the convolution and linear weights; in `[0, 1]`.
    pub weight_decay: f64,
    /// What becomes of the gradients.
    #[serde(flatten)]
    pub optimization: Optimization,
    /// What is measured and kept on the way.
    #[serde(flatten)]
    pub checkpointing: Checkpointing,
    /// Seed of the drawn faces, the weights, the order and the augmentation; in `[0, 2^53]`.
    pub seed: u64,
    /// Seed of what is measured: who is held back, which pairs are asked and who is searched for; in `[0, 2^53]`.
    pub pair_seed: u64,
    /// The devices that the training is spread over. None: the default one of `backend`. A file of an earlier version has none.
    #[serde(default)]
    pub devices: Option<Vec<DeviceName>>,
    /// What computes; with `devices` what measures the finished model, and the backend of the first of them where that is on this
    /// machine.
    pub backend: BackendKind,
}

fn zero() -> Option<f64> {
    Some(0.0)
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            data: None,
            val_data: None,
            held_out_share: 0.2,
            landmarks: None,
            min_size: 16,
            people: 200,
            test_people: 60,
            pictures: 20,
            reading: Reading::default(),
            network: NetworkSettings::default(),
            init: None,
            init_sha256: None,
            loss: LossKind::Head(HeadKind::ArcFace),
            loss_settings: LossSettings::default(),
            epochs: None,
            batch_size: None,
            sampling: Sampling::default(),
            dropout: None,
            view_shift: None,
            augmentation: Augmentation::default(),
            lr: 0.1,
            head_lr: 0.1,
            warmup_share: 0.1,
            schedule_settings: ScheduleSettings::default(),
            weight_decay: 5e-4,
            optimization: Optimization::default(),
            checkpointing: Checkpointing::default(),
            seed: 42,
            pair_seed: 42,
            devices: None,
            backend: BackendKind::Flex,
        }
    }
}

impl TrainConfig {
    /// Reads a file with any of the fields of `config.json`; the others keep their defaults.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is no JSON object, or has an unknown field or a bad value.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_onto(Self::default(), path)
    }

    /// Reads the file of a run, which has all settings that there were when it was written: those that it does not have are as they were
    /// before there was a choice, and not the defaults of today.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub fn load_of_run(path: &Path) -> Result<Self> {
        Self::load_onto(Self::before_there_was_a_choice(), path)
    }

    fn before_there_was_a_choice() -> Self {
        Self { dropout: zero(), view_shift: zero(), ..Self::default() }
    }

    fn load_onto(others: Self, path: &Path) -> Result<Self> {
        let read = || {
            let mut text = String::new();
            // A path may name what never ends, such as /dev/zero.
            File::open(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
            anyhow::Ok(text)
        };
        let text = read().with_context(|| format!("cannot read the configuration {}", path.display()))?;
        if text.len() as u64 > LONGEST_FILE {
            bail!("configuration {}: must be at most {LONGEST_FILE} bytes long", path.display());
        }
        Self::from_json_onto(others, &text).with_context(|| format!("configuration {}", path.display()))
    }

    /// As [`load`](Self::load), from text.
    ///
    /// # Errors
    ///
    /// If the text is no JSON object, or has an unknown field, one twice, or a bad value.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_json_onto(Self::default(), text)
    }

    fn from_json_onto(mut config: Self, text: &str) -> Result<Self> {
        let Fields(given) = serde_json::from_str(text).map_err(|error| match error.classify() {
            Category::Data => anyhow::anyhow!("expected a JSON object with settings, such as {{\"epochs\": 5}}"),
            _ => anyhow::Error::new(error).context("not valid JSON"),
        })?;
        for (place, (name, _)) in given.iter().enumerate() {
            if given[..place].iter().any(|(earlier, _)| earlier == name) {
                bail!("{name}: is there twice");
            }
        }

        // One field at a time, so that an error can name the field it belongs to.
        for (name, value) in given {
            let mut fields = serde_json::to_value(&config)?;
            let known: Vec<String> =
                fields.as_object().map(|object| object.keys().cloned().collect()).unwrap_or_default();
            match fields.get_mut(&name) {
                Some(field) => *field = value.clone(),
                None => bail!("{name}: no such setting; there are: {}", known.join(", ")),
            }
            config = serde_json::from_value(fields)
                .map_err(|error| anyhow::anyhow!("{name}: bad value {value}: {error}"))?;
        }
        Ok(config)
    }

    /// Fills in what depends on the loss and checks every setting.
    ///
    /// # Errors
    ///
    /// If a setting is out of range or does not fit the others; names it, its value and its range.
    pub fn resolve(mut self) -> Result<Self> {
        within("held_out_share", self.held_out_share, 0.01..=0.9)?;
        within("min_size", self.min_size, 1..=1024)?;
        within("people", self.people, 2..=100_000)?;
        within("test_people", self.test_people, 4..=100_000)?;
        within("pictures", self.pictures, 2..=10_000)?;
        if let Some(epochs) = self.epochs {
            within("epochs", epochs, 1..=MOST_EPOCHS)?;
        }
        if let Some(batch_size) = self.batch_size {
            within("batch_size", batch_size, FEWEST_IN_BATCH..=65_536)?;
        }
        let is_small = self.network.network == NetworkKind::Small;
        let of_photographs = |value| if is_small && self.data.is_some() { value } else { 0.0 };
        let dropout = *self.dropout.get_or_insert(of_photographs(DROPOUT));
        within("dropout", dropout, 0.0..=0.9)?;
        if dropout > 0.0 && !is_small {
            bail!("dropout: only the network small has it, got {} for {}", shown(dropout), self.network.network);
        }
        let unaligned = if self.landmarks.is_none() { of_photographs(VIEW_SHIFT) } else { 0.0 };
        within("view_shift", *self.view_shift.get_or_insert(unaligned), 0.0..=0.5)?;
        within("lr", self.lr, 1e-7..=10.0)?;
        within("head_lr", self.head_lr, 1e-7..=10.0)?;
        within("warmup_share", self.warmup_share, 0.0..=0.9)?;
        within("weight_decay", self.weight_decay, 0.0..=1.0)?;
        self.reading.check()?;
        self.sampling.check()?;
        self.optimization.check()?;
        self.checkpointing.check()?;
        // Other JSON readers keep whole numbers only up to here.
        within("seed", self.seed, 0..=1 << 53)?;
        within("pair_seed", self.pair_seed, 0..=1 << 53)?;
        if let Some(names) = &self.devices {
            devices::check(names)?;
            if let Some(DeviceName::Local { backend, .. }) = names.first() {
                self.backend = *backend;
            }
        }
        if self.val_data.is_some() && self.data.is_none() {
            bail!("val_data: needs data as well; without it the faces are drawn");
        }
        // A run can be resumed and measured from any folder, so its paths must not depend on the current one.
        if self.landmarks.is_some() && self.data.is_none() {
            bail!("landmarks: needs data as well; drawn faces are aligned");
        }
        let paths = [
            ("data", &mut self.data),
            ("val_data", &mut self.val_data),
            ("landmarks", &mut self.landmarks),
            ("init", &mut self.init),
        ];
        for (name, path) in paths {
            let Some(path) = path else { continue };
            *path = std::path::absolute(&*path).with_context(|| format!("{name}: {}", path.display()))?;
            if path.to_str().is_none() {
                bail!("{name}: must be a path in UTF-8, which config.json can hold, got {}", path.display());
            }
        }
        // Through links, too.
        let [data, val_data] =
            [&self.data, &self.val_data].map(|path| path.as_ref().and_then(|p| p.canonicalize().ok()));
        if let (Some(val_data), true) = (&val_data, val_data == data) {
            bail!("val_data: must be other people than data, got {} twice", val_data.display());
        }
        if let (Some(sha256), None) = (&self.init_sha256, &self.init) {
            bail!("init_sha256: is of the file of init, and there is none (got {sha256:?}); leave it out");
        }
        self.network = self.network.resolve()?;
        self.loss_settings = self.loss_settings.resolve(self.loss)?;
        self.schedule_settings = self.schedule_settings.resolve()?;
        self.augmentation = self.augmentation.resolve(self.data.is_some())?;
        Ok(self)
    }

    /// Fills in what depends on how many pictures there are to train on, and of how many people.
    ///
    /// # Errors
    ///
    /// If they are too few for a batch.
    pub fn fit_to(&mut self, pictures: usize, people: usize) -> Result<()> {
        let of_people = self.sampling.fit_to(self.loss.is_of_pairs(), self.batch_size, [pictures, people])?;
        let shuffled = BATCH.min(pictures / 4).max(FEWEST_IN_BATCH);
        let batch_size = *self.batch_size.get_or_insert(of_people.unwrap_or(shuffled));
        if pictures < batch_size {
            bail!("batch_size: must be at most the number of training pictures, {pictures}, got {batch_size}");
        }
        let devices = self.device_count();
        if batch_size < devices * FEWEST_IN_BATCH {
            bail!(
                "devices: each one needs {FEWEST_IN_BATCH} pictures of a batch at least, for {devices} a batch_size of {}, got \
                 {batch_size}",
                devices * FEWEST_IN_BATCH
            );
        }
        if self.loss.is_spread() && people < devices {
            bail!("devices: each one needs somebody to compare with, got {devices} devices for {people} people");
        }
        let by_steps = FEWEST_STEPS.div_ceil(self.optimization.steps(pictures / batch_size));
        self.epochs.get_or_insert(by_steps.clamp(FEWEST_EPOCHS, MOST_EPOCHS));
        Ok(())
    }

    /// How many devices the training is spread over.
    pub fn device_count(&self) -> usize {
        self.devices.as_ref().map_or(1, Vec::len)
    }

    /// The devices that the training is spread over; the first one measures, too.
    ///
    /// # Errors
    ///
    /// If one is not there, or not in this build; the message names it.
    pub fn open_devices(&self) -> Result<Vec<Device>> {
        match &self.devices {
            Some(names) => names.iter().map(DeviceName::device).collect(),
            None => Ok(vec![self.backend.device()?]),
        }
    }

    /// What computes the training, as the flags name it.
    pub fn computing(&self) -> String {
        self.devices.as_deref().map_or_else(|| self.backend.to_string(), devices::in_a_row)
    }

    /// How often all pictures are trained on, and how many of them are in a step.
    ///
    /// # Panics
    ///
    /// If the settings are not [fit](Self::fit_to) to the pictures.
    pub fn length(&self) -> (usize, usize) {
        (self.epochs.expect("epochs are fit to the pictures"), self.batch_size.expect("so is the batch"))
    }

    /// Steps of the optimizer in the whole run over so many pictures.
    ///
    /// # Panics
    ///
    /// As [`length`](Self::length).
    pub fn steps(&self, pictures: usize) -> usize {
        let (epochs, batch_size) = self.length();
        epochs * self.optimization.steps(pictures / batch_size)
    }

    /// All settings, as `config.json` holds them.
    ///
    /// # Errors
    ///
    /// If a path is not UTF-8.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The first setting in which two runs differ and that a resumed run must keep: its name, and both values.
    ///
    /// # Errors
    ///
    /// If a path is not UTF-8.
    pub fn fixed_difference(&self, other: &Self) -> Result<Option<(String, Value, Value)>> {
        let (one, other) = (serde_json::to_value(self)?, serde_json::to_value(other)?);
        let differs = |(name, value): (&String, &Value)| {
            let is_free =
                FREE_TO_RESUME.iter().chain(&Checkpointing::NAMES).chain(&Reading::NAMES).any(|free| free == name);
            let is_fixed = !is_free && other[name] != *value;
            is_fixed.then(|| (name.clone(), value.clone(), other[name].clone()))
        };
        Ok(one.as_object().into_iter().flatten().find_map(differs))
    }
}

/// The fields of a JSON object as they are written; a map would keep only the last one of a name.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldVisitor;

        impl<'de> Visitor<'de> for FieldVisitor {
            type Value = Fields;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(FieldVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_accepted_back_and_equal() {
        let config = TrainConfig {
            data: Some("faces".into()),
            loss: LossKind::SoftmaxCenter,
            lr: 0.1 + 0.2,
            seed: 1 << 53,
            ..TrainConfig::default()
        };
        let config = config.resolve().expect("the settings are in range");
        let text = serde_json::to_string(&config).expect("a configuration is JSON");
        let back = TrainConfig::from_json(&text).expect("what was written is accepted");
        assert_eq!(back.clone().resolve().expect("still in range"), config);
        assert_eq!(back, config);
    }

    /// By hand: 850 steps of 4 batches are 213 epochs, and of 62 they are 14.
    #[test]
    fn batch_and_length_suit_the_pictures() {
        let fit = |mut config: TrainConfig, pictures| config.fit_to(pictures, pictures).map(|()| config.length());
        let of = |pictures| fit(TrainConfig::default(), pictures).expect("enough pictures");
        assert_eq!(of(200), (213, 50));
        assert_eq!(of(4000), (14, 64));
        assert_eq!(of(100_000), (14, 64));
        assert_eq!(of(3), (850, 2));
        // 62 batches are 8 steps of 8 batches or fewer.
        let optimization = Optimization { accumulate: 8, ..Optimization::default() };
        let slow = TrainConfig { optimization, ..TrainConfig::default() };
        assert_eq!(fit(slow, 4000).expect("enough pictures"), (107, 64));
        let given = TrainConfig { epochs: Some(2), batch_size: Some(20), ..TrainConfig::default() };
        assert_eq!(fit(given.clone(), 100).expect("enough pictures"), (2, 20));
        let error = fit(given, 19).expect_err("fewer than a batch");
        assert_eq!(error.to_string(), "batch_size: must be at most the number of training pictures, 19, got 20");
    }

    #[test]
    fn photographs_are_changed_more_than_drawn_faces() {
        let of = |data: Option<PathBuf>| {
            let config = TrainConfig { data, ..TrainConfig::default() };
            config.resolve().expect("the settings are in range")
        };
        let (drawn, photographs) = (of(None), of(Some("faces".into())));
        assert_eq!((drawn.dropout, photographs.dropout), (Some(0.0), Some(0.4)));
        assert_eq!((drawn.view_shift, photographs.view_shift), (Some(0.0), Some(0.0625)));
        let (drawn, photographs) = (drawn.augmentation, photographs.augmentation);
        assert_eq!((drawn.erasing, drawn.rotation, drawn.shift), (Some(0.0), Some(0.0), Some(0.0625)));
        assert_eq!(
            (photographs.erasing, photographs.rotation, photographs.shift),
            (Some(0.5), Some(0.17), Some(0.0625))
        );
        let given = Augmentation { blur: Some(1.5), ..Augmentation::default() };
        let error = TrainConfig { augmentation: given, ..TrainConfig::default() }.resolve().expect_err("more than all");
        assert_eq!(error.to_string(), "blur: must be in [0, 1], got 1.5");
    }

    /// The settings of an earlier version, which had fewer.
    #[test]
    fn a_file_without_the_newer_settings_is_read() {
        let newer =
            ["dropout", "view_shift", "schedule", "power", "milestones", "gamma", "cache_mib", "workers", "devices"];
        let resolved = TrainConfig::default().resolve().expect("in range");
        let mut fields = serde_json::to_value(&resolved).expect("JSON");
        let object = fields.as_object_mut().expect("an object");
        for name in newer {
            assert!(object.remove(name).is_some(), "{name}");
        }
        let read = TrainConfig::from_json(&fields.to_string()).expect("the others are there");
        assert_eq!(read.resolve().expect("in range"), resolved);
        // Of photographs, for which the defaults of today are others than what a run of before had.
        fields["data"] = "faces".into();
        let of_run = TrainConfig::from_json_onto(TrainConfig::before_there_was_a_choice(), &fields.to_string());
        let of_run = of_run.and_then(TrainConfig::resolve).expect("in range");
        assert_eq!((of_run.dropout, of_run.view_shift), (Some(0.0), Some(0.0)));
        // And as the manifest of a checkpoint reads them.
        let read: TrainConfig = serde_json::from_value(fields).expect("the others are there");
        assert_eq!((read.dropout, read.view_shift), (Some(0.0), Some(0.0)));
        assert_eq!(read.schedule_settings, ScheduleSettings::default());
        assert_eq!(read.reading, Reading::default());
        assert_eq!(read.devices, None);
    }

    #[test]
    fn an_unknown_field_is_named() {
        let error = TrainConfig::from_json(r#"{"epoch": 3}"#).expect_err("the field is epochs");
        assert!(error.to_string().starts_with("epoch: no such setting; there are: "), "{error}");
    }

    #[test]
    fn a_field_that_is_there_twice_is_named() {
        let error = TrainConfig::from_json(r#"{"lr": 0.1, "epochs": 3, "lr": 0.2}"#).expect_err("which lr?");
        assert_eq!(error.to_string(), "lr: is there twice");
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_field() {
        let error = TrainConfig::from_json(r#"{"epochs": "ten"}"#).expect_err("not a number");
        assert!(error.to_string().starts_with("epochs: bad value \"ten\": "), "{error}");
    }

    #[test]
    fn a_value_out_of_range_names_field_value_and_range() {
        let config = TrainConfig { lr: f64::NAN, ..TrainConfig::default() };
        let error = config.resolve().expect_err("NaN is no learning rate");
        assert_eq!(error.to_string(), "lr: must be in [0.0000001, 10], got NaN");
    }
}
