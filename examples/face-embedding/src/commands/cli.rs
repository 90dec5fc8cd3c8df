//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};

use crate::protocols::lfw::Thresholding;
use crate::protocols::thresholds::OperatingPoint;
use crate::settings::backend::BackendKind;
use crate::settings::checkpointing::Keep;
use crate::settings::config::TrainConfig;
use crate::settings::devices::{self, DeviceName};
use crate::settings::loss::{LossKind, LossSettings};
use crate::settings::network::{NetworkKind, NetworkSettings};
use crate::settings::sampling::Sampling;
use crate::settings::schedule::{ScheduleKind, ScheduleSettings};
use crate::training::run_directory::DEFAULT_OUTPUT;

/// Trains a face-embedding model with the heads of burn-losses, measures it and verifies people with it.
#[derive(Parser, Debug)]
#[command(version, after_help = STATUS)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const STATUS: &str = "\
Exit status: 0 when all went well, and for a yes of verify and identify; 1 for their no; 2 for an error.";

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    #[command(args_override_self = true, allow_negative_numbers = true, after_help = defaults())]
    /// Train a model; without any flag on drawn faces, in two to three minutes
    Train(Box<TrainFlags>),
    #[command(args_override_self = true)]
    /// Measure a trained model on other people
    Eval(EvalFlags),
    #[command(args_override_self = true, after_help = VERIFY_STATUS)]
    /// Tell whether two pictures show the same person
    Verify(VerifyFlags),
    #[command(args_override_self = true, after_help = IDENTIFY_STATUS)]
    /// Tell who of the people of a folder is on a picture
    Identify(IdentifyFlags),
    #[command(args_override_self = true, after_help = EMBED_FORMATS)]
    /// Write the embeddings of the pictures of a folder to a file
    Embed(EmbedFlags),
    #[command(args_override_self = true, after_help = EXPORTED)]
    /// Write a trained model for PyTorch
    Export(ExportFlags),
}

const IDENTIFY_STATUS: &str = "\
The score is the cosine with the mean of the embeddings of a person, each brought to length 1; the threshold is that \
of pairs of pictures.
Exit status: 0 for somebody of the gallery, 1 for an unknown person, 2 if there is no answer.";

const EMBED_FORMATS: &str = "\
The rows are in the order of the names of people and files. Embeddings are as the model gives them, of any length: \
divide by the length to compare by dot product.
  .safetensors  a tensor `embeddings` [pictures, size]; metadata `pictures`: JSON, [{file, person}, ...]
  .npy          a structured array with `file`, `person` and `embedding`, for numpy.load
  .csv          file, person, embedding_0, embedding_1, ...";

const EXPORTED: &str = "\
The folder gets:
  backbone.safetensors  the trunk, with the names of arcface_torch; `train --init` takes it, too
  centers.safetensors   `weight` [classes, embedding_size]: what the head compares embeddings with
  backbone.onnx         the trunk as ONNX, operator set 18, of any batch (with --onnx)
  preprocessing.json    which network it is, what pictures it wants, and who the classes are";

const VERIFY_STATUS: &str = "Exit status: 0 for the same person, 1 for different people, 2 if there is no answer.";

fn run_help() -> String {
    format!("Folder of a finished run [default: {DEFAULT_OUTPUT}, or that with the highest number]")
}

/// The default settings as text, printed from where they are defined.
fn defaults() -> String {
    let settings = TrainConfig::default().resolve().map(|config| serde_json::to_string_pretty(&config));
    match settings {
        Ok(Ok(settings)) => format!("The default settings, in the form of config.json:\n{settings}"),
        _ => String::new(),
    }
}

/// Flags of `train`.
#[derive(Args, Debug, Default)]
pub struct TrainFlags {
    /// Read settings from this file, such as the config.json of a run; flags override it
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub config: Option<PathBuf>,
    /// Folder for the results
    #[arg(long, value_name = "DIR", help = format!("Folder for the results [default: {DEFAULT_OUTPUT}, or with the number after the highest]"))]
    pub output: Option<PathBuf>,
    /// Continue the run in --output (or the default one with the highest number) from its last checkpoint
    #[arg(long)]
    pub resume: bool,
    /// Fail if the run has few steps, or if the trained model is not better than the untrained one
    #[arg(long)]
    pub require_better: bool,
    /// The settings of the run.
    #[command(flatten)]
    pub settings: SettingFlags,
}

/// Which model is used, and what computes it.
#[derive(Args, Debug)]
pub struct RunFlags {
    /// Folder of a finished run
    #[arg(long, alias = "model", help = run_help())]
    pub run: Option<PathBuf>,
    /// What computes; each needs the Cargo feature of the same name [default: that of the run]
    #[arg(long)]
    pub backend: Option<BackendKind>,
    /// Align the pictures by the five points that this table has for each, as those of the training
    #[arg(long, value_name = "FILE.csv")]
    pub landmarks: Option<PathBuf>,
}

/// From which cosine on two pictures are taken for the same person.
#[derive(Args, Debug)]
pub struct ThresholdFlags {
    /// False accept rate of the threshold: 1e-1, 1e-2, 1e-3, 1e-4 or equal-error, as far as they were measured
    #[arg(long, value_name = "RATE", default_value = "1e-3")]
    pub far: OperatingPoint,
    /// Take the thresholds from this file, which `eval --data PEOPLE --json FILE` wrote [default: those of the run]
    #[arg(long, value_name = "FILE")]
    pub thresholds: Option<PathBuf>,
}

/// Flags of `verify`.
#[derive(Args, Debug)]
pub struct VerifyFlags {
    /// A picture of a face, cropped and aligned as those of the training
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// Another picture
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// The model.
    #[command(flatten)]
    pub run: RunFlags,
    /// The threshold.
    #[command(flatten)]
    pub threshold: ThresholdFlags,
    /// Print one line of JSON: first, second, score, threshold, far, same_person
    #[arg(long)]
    pub json: bool,
}

/// Flags of `identify`.
#[derive(Args, Debug)]
pub struct IdentifyFlags {
    /// A picture of a face, cropped and aligned as those of the training
    #[arg(value_name = "PROBE")]
    pub probe: PathBuf,
    /// One folder of pictures per person
    #[arg(long, value_name = "DIR")]
    pub gallery: PathBuf,
    /// How many people are printed, the nearest first
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub top: usize,
    /// The model.
    #[command(flatten)]
    pub run: RunFlags,
    /// The threshold.
    #[command(flatten)]
    pub threshold: ThresholdFlags,
    /// Print one line of JSON: probe, threshold, far, person (null if unknown), nearest: [{person, score, pictures},
    /// ...]
    #[arg(long)]
    pub json: bool,
}

fn at_least_one(text: &str) -> Result<usize> {
    match text.parse()? {
        0 => bail!("must be at least 1"),
        number => Ok(number),
    }
}

/// Flags of `embed`.
#[derive(Args, Debug)]
pub struct EmbedFlags {
    /// One folder of pictures per person, or a folder of pictures
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The file, which is replaced if it is there; its ending says the format: .safetensors, .npy or .csv
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The model.
    #[command(flatten)]
    pub run: RunFlags,
}

/// Flags of `export`.
#[derive(Args, Debug)]
pub struct ExportFlags {
    #[arg(value_name = "RUN", help = run_help())]
    /// Folder of a finished run
    pub run: Option<PathBuf>,
    /// The folder to write to, which must not hold a run or an export
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Write the trunk as ONNX, too; needs the Cargo feature `onnx`
    #[arg(long)]
    pub onnx: bool,
    /// What computes; each needs the Cargo feature of the same name [default: that of the run]
    #[arg(long)]
    pub backend: Option<BackendKind>,
}

/// Flags of `eval`.
#[derive(Args, Debug)]
pub struct EvalFlags {
    /// The model.
    #[command(flatten)]
    pub run: RunFlags,
    /// One folder of pictures per person; without it, the test people of the run itself
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Ask the pairs of this file in the form of LFW's pairs.txt, in its folds; pictures are DATA/NAME/NAME_0001.jpg
    #[arg(long, value_name = "FILE", requires = "data", group = "questions")]
    pub pairs: Option<PathBuf>,
    /// Ask the pairs of a file of InsightFace, such as lfw.bin, which holds their pictures, too
    #[arg(long, value_name = "FILE", conflicts_with = "data", group = "questions")]
    pub bin: Option<PathBuf>,
    /// Measure templates of several pictures, as IJB-B and IJB-C have them: this file says which pictures of --data are in
    /// which, `name template media`
    #[arg(long, value_name = "FILE", requires = "data", group = "questions")]
    pub templates: Option<PathBuf>,
    /// With --templates: compare the pairs of this file, `template template label`
    #[arg(long, value_name = "FILE", requires = "templates")]
    pub template_pairs: Option<PathBuf>,
    /// With --templates: search in the templates of this table, TEMPLATE_ID,SUBJECT_ID,...; may be given several times
    #[arg(long, value_name = "FILE.csv", requires_all = ["templates", "probes"])]
    pub gallery: Vec<PathBuf>,
    /// With --gallery: for the templates of this table
    #[arg(long, value_name = "FILE.csv", requires = "gallery")]
    pub probes: Option<PathBuf>,
    /// With --templates: align the pictures by the five points of this file, and weigh them by the score behind these,
    /// `name x1 y1 .. x5 y5 score`
    #[arg(long, value_name = "FILE", requires = "templates", conflicts_with = "landmarks")]
    pub points: Option<PathBuf>,
    /// With --pairs and --bin: which thresholds are tried
    #[arg(long, requires = "questions", conflicts_with = "templates", default_value = "exact")]
    pub protocol: Thresholding,
    /// Write the figures to this file, in the form of metrics.json; with --pairs, --bin and --templates in a form of
    /// their own
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// One flag for each setting of a run.
#[derive(Args, Debug, Default)]
pub struct SettingFlags {
    /// One folder of pictures per person, faces cropped and aligned; without it, faces are drawn
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// People to measure on; without it, some people of --data are held back
    #[arg(long, value_name = "DIR")]
    pub val_data: Option<PathBuf>,
    /// Share of the people of --data to hold back when there is no --val-data
    #[arg(long, value_name = "SHARE")]
    pub held_out_share: Option<f64>,
    /// Align pictures by five points of the face, in a table: path,x1,y1,...,x5,y5
    #[arg(long, value_name = "FILE.csv")]
    pub landmarks: Option<PathBuf>,
    /// Leave out pictures whose shorter side has fewer pixels
    #[arg(long, value_name = "PIXELS")]
    pub min_size: Option<usize>,
    /// Memory for pictures of --data that stay decoded, in MiB; the others are decoded whenever they are needed [default: 2048]
    #[arg(long, value_name = "MIB")]
    pub cache_mib: Option<usize>,
    /// Threads that decode pictures [default: one for each core, at most 8]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Drawn faces: how many people to train on
    #[arg(long, value_name = "N")]
    pub people: Option<usize>,
    /// Drawn faces: how many other people to measure on
    #[arg(long, value_name = "N")]
    pub test_people: Option<usize>,
    /// Drawn faces: how many pictures of each person
    #[arg(long, value_name = "N")]
    pub pictures: Option<usize>,
    /// Side length that pictures are brought to, in pixels
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<usize>,
    /// What embeds a picture; all but small take pictures of 112 pixels
    #[arg(long)]
    pub network: Option<NetworkKind>,
    /// Channels of the first convolution; each of the three stages doubles them (small)
    #[arg(long, value_name = "N")]
    pub width: Option<usize>,
    /// Length of an embedding [default: 64 (small), 512]
    #[arg(long, value_name = "N")]
    pub embedding_size: Option<usize>,
    /// Begin with the trunk of this run, or with the weights of a .safetensors, .pth or .pt file with PyTorch's names
    #[arg(long, value_name = "RUN|FILE")]
    pub init: Option<PathBuf>,
    /// What the head computes
    #[arg(long)]
    pub loss: Option<LossKind>,
    /// Margin: radians or a cosine, as the head has it
    #[arg(long)]
    pub margin: Option<f64>,
    /// Share of the steps in which the margin rises to its value [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub margin_warmup_share: Option<f64>,
    /// Margin that it rises from; needs --margin-warmup-share [default: 0]
    #[arg(long, value_name = "MARGIN")]
    pub margin_start: Option<f64>,
    /// Factor on the cosines of a head
    #[arg(long)]
    pub scale: Option<f64>,
    /// Scale of the first step, from which it goes to its value in a straight line; needs --scale-warmup-share
    #[arg(long, value_name = "SCALE")]
    pub scale_start: Option<f64>,
    /// Share of the steps in which it does; needs --scale-start
    #[arg(long, value_name = "SHARE")]
    pub scale_warmup_share: Option<f64>,
    /// What cosines are divided by (supcon)
    #[arg(long)]
    pub temperature: Option<f64>,
    /// Partial FC: compare a batch with this share of the people only, others in every step (heads) [default: 1]
    #[arg(long, value_name = "SHARE")]
    pub sample_rate: Option<f64>,
    /// Factor on the own angle (combinedmargin)
    #[arg(long, value_name = "FACTOR")]
    pub angle_factor: Option<f64>,
    /// Margin of the cosine (combinedmargin)
    #[arg(long, value_name = "MARGIN")]
    pub cosine_margin: Option<f64>,
    /// Weight of the center loss (softmax+center)
    #[arg(long, value_name = "WEIGHT")]
    pub center_weight: Option<f64>,
    /// Share of the way that a center moves in one step (softmax+center)
    #[arg(long, value_name = "RATE")]
    pub center_update_rate: Option<f64>,
    /// Passes over the training pictures [default: 14, and as many as make 850 steps]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Pictures per step [default: 64, at most a quarter of the pictures]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Make batches of this many people [default: 16 for losses of pairs; else pictures are shuffled]
    #[arg(long, value_name = "N")]
    pub people_per_batch: Option<usize>,
    /// With this many pictures of each of them [default: 4 for losses of pairs]
    #[arg(long, value_name = "N")]
    pub pictures_per_person: Option<usize>,
    /// Drop this share of the features before the embedding layer, others in every step [default: 0.4 for photographs and the
    /// network small, else 0]
    #[arg(long, value_name = "SHARE")]
    pub dropout: Option<f64>,
    /// Embed a picture as it is and moved by this share of its side to eight places around, and add all up [default: 0.0625 for
    /// photographs without landmarks and the network small, else 0]
    #[arg(long, value_name = "SHARE")]
    pub view_shift: Option<f64>,
    /// Mirror half of the training pictures
    #[arg(long, value_name = "true|false")]
    pub mirror: Option<bool>,
    /// Turn training pictures by up to this angle either way, in radians
    #[arg(long, value_name = "ANGLE")]
    pub rotation: Option<f64>,
    /// Enlarge or shrink them by up to this share
    #[arg(long, value_name = "SHARE")]
    pub zoom: Option<f64>,
    /// Move them by up to this share of their side length
    #[arg(long, value_name = "SHARE")]
    pub shift: Option<f64>,
    /// Make them brighter or darker by up to this share of the full range
    #[arg(long, value_name = "SHARE")]
    pub brightness: Option<f64>,
    /// Raise or lower their contrast by up to this share
    #[arg(long, value_name = "SHARE")]
    pub contrast: Option<f64>,
    /// Blur this share of them
    #[arg(long, value_name = "SHARE")]
    pub blur: Option<f64>,
    /// Bring this share of them to a half or a third of the resolution
    #[arg(long, value_name = "SHARE")]
    pub low_resolution: Option<f64>,
    /// Cover a rectangle of this share of them
    #[arg(long, value_name = "SHARE")]
    pub erasing: Option<f64>,
    /// Peak learning rate of the trunk
    #[arg(long, value_name = "RATE")]
    pub lr: Option<f64>,
    /// Peak learning rate of the head
    #[arg(long, value_name = "RATE")]
    pub head_lr: Option<f64>,
    /// Share of the steps in which the learning rate rises to its peak
    #[arg(long, value_name = "SHARE")]
    pub warmup_share: Option<f64>,
    /// The curve along which the learning rates fall after that
    #[arg(long)]
    pub schedule: Option<ScheduleKind>,
    /// Power of what is left of the steps (polynomial) [default: 2]
    #[arg(long)]
    pub power: Option<f64>,
    /// Shares of the steps after which the rates step down, divided by commas (milestones) [default: 0.5,0.75]
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    pub milestones: Option<Vec<f64>>,
    /// What the rates are multiplied with there (milestones) [default: 0.1]
    #[arg(long, value_name = "FACTOR")]
    pub gamma: Option<f64>,
    /// Weight decay of convolution and linear weights
    #[arg(long, value_name = "DECAY")]
    pub weight_decay: Option<f64>,
    /// Batches of one step, whose gradients are averaged [default: 1]
    #[arg(long, value_name = "N")]
    pub accumulate: Option<usize>,
    /// Shorten the gradient of all parameters together (with --sample-rate: of the trunk) to this length where it is
    /// longer
    #[arg(long, value_name = "NORM")]
    pub clip_norm: Option<f64>,
    /// Measure on the test people after every N epochs and after the last [default: 0, after the training only]
    #[arg(long, value_name = "N")]
    pub validate_every: Option<usize>,
    /// Which epoch's trunk the run ends with; best needs --validate-every
    #[arg(long)]
    pub keep: Option<Keep>,
    /// Save a checkpoint after every N steps, beside those at the end of an epoch
    #[arg(long, value_name = "N")]
    pub checkpoint_steps: Option<usize>,
    /// Seed of the drawn faces, the weights, the order and the augmentation
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seed of what is measured: who is held back, which pairs are asked and who is searched for
    #[arg(long, value_name = "SEED")]
    pub pair_seed: Option<u64>,
    /// What computes; each needs the Cargo feature of the same name
    #[arg(long)]
    pub backend: Option<BackendKind>,
    /// Train on these devices, divided by commas, each with a part of every batch and of the people: a backend, with :1 for
    /// its second device, or ws://HOST:PORT for a Burn server, with #1 for its second device. Of softmax, softmax+center and
    /// losses of pairs all people are on the first
    #[arg(long, value_name = "DEVICES", value_delimiter = ',')]
    pub devices: Option<Vec<DeviceName>>,
}

impl TrainFlags {
    /// The settings of a new run: the flags, else the file, else the defaults.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or a setting is not valid.
    pub fn config(&self) -> Result<TrainConfig> {
        let mut config = match &self.config {
            Some(path) => TrainConfig::load(path)?,
            None => TrainConfig::default(),
        };
        self.settings.apply(&mut config)?;
        config.resolve()
    }

    /// The settings of a run to continue: what it was begun with, prolonged to `--epochs`, moved to `--backend` or `--devices`, or with
    /// its pictures in `--data` and `--val-data` if these are given.
    ///
    /// # Errors
    ///
    /// If another flag asks for something else than what the run was begun with.
    pub fn resumed_config(&self, begun_with: &TrainConfig) -> Result<TrainConfig> {
        let mut config = begun_with.clone();
        self.settings.apply(&mut config)?;
        let config = config.resolve()?;
        if let Some((name, old, new)) = begun_with.fixed_difference(&config)? {
            bail!(
                "{name}: the run was begun with {old}, got {new}; --resume takes a new --epochs, --backend, --devices, \
                 --validate-every, --keep, --checkpoint-steps, --cache-mib or --workers, and the --data, --val-data and --landmarks where the \
                 same pictures lie now"
            );
        }
        Ok(config)
    }
}

impl SettingFlags {
    /// Overrides what the flags name.
    ///
    /// # Errors
    ///
    /// If a flag asks for something that the run would not look at.
    fn apply(&self, config: &mut TrainConfig) -> Result<()> {
        if self.loss.is_some_and(|loss| loss != config.loss) {
            // Settings of one loss make no sense for another, so those of the file go.
            config.loss_settings = LossSettings::default();
            // So do the batches that only a loss of pairs needs.
            if config.loss.is_of_pairs() && !self.loss.is_some_and(LossKind::is_of_pairs) {
                config.sampling = Sampling::default();
            }
        }
        if self.network.is_some_and(|network| network != config.network.network) {
            config.network = NetworkSettings::default();
            (config.dropout, config.view_shift) = (None, None);
        }
        if self.init.as_ref().is_some_and(|init| std::path::absolute(init).ok() != config.init) {
            config.init_sha256 = None;
        }
        if self.schedule.is_some_and(|schedule| schedule != config.schedule_settings.schedule) {
            config.schedule_settings = ScheduleSettings::default();
        }
        // Whoever asks for one device of a backend does not want the devices of the file.
        if self.backend.is_some() && self.devices.is_none() {
            config.devices = None;
        }
        macro_rules! override_with_flags {
            ($($flag:ident => $setting:expr,)*) => {
                $(if let Some(value) = self.$flag.clone() { $setting = value.into(); })*
            };
        }
        override_with_flags! {
            data => config.data,
            val_data => config.val_data,
            held_out_share => config.held_out_share,
            landmarks => config.landmarks,
            min_size => config.min_size,
            cache_mib => config.reading.cache_mib,
            workers => config.reading.workers,
            people => config.people,
            test_people => config.test_people,
            pictures => config.pictures,
            network => config.network.network,
            image_size => config.network.image_size,
            width => config.network.width,
            embedding_size => config.network.embedding_size,
            init => config.init,
            loss => config.loss,
            margin => config.loss_settings.margin,
            margin_warmup_share => config.loss_settings.margin_warmup_share,
            margin_start => config.loss_settings.margin_start,
            scale => config.loss_settings.scale,
            scale_start => config.loss_settings.scale_start,
            scale_warmup_share => config.loss_settings.scale_warmup_share,
            temperature => config.loss_settings.temperature,
            sample_rate => config.loss_settings.sample_rate,
            angle_factor => config.loss_settings.angle_factor,
            cosine_margin => config.loss_settings.cosine_margin,
            center_weight => config.loss_settings.center_weight,
            center_update_rate => config.loss_settings.center_update_rate,
            epochs => config.epochs,
            batch_size => config.batch_size,
            people_per_batch => config.sampling.people_per_batch,
            pictures_per_person => config.sampling.pictures_per_person,
            dropout => config.dropout,
            view_shift => config.view_shift,
            mirror => config.augmentation.mirror,
            rotation => config.augmentation.rotation,
            zoom => config.augmentation.zoom,
            shift => config.augmentation.shift,
            brightness => config.augmentation.brightness,
            contrast => config.augmentation.contrast,
            blur => config.augmentation.blur,
            low_resolution => config.augmentation.low_resolution,
            erasing => config.augmentation.erasing,
            lr => config.lr,
            head_lr => config.head_lr,
            warmup_share => config.warmup_share,
            schedule => config.schedule_settings.schedule,
            power => config.schedule_settings.power,
            milestones => config.schedule_settings.milestones,
            gamma => config.schedule_settings.gamma,
            weight_decay => config.weight_decay,
            accumulate => config.optimization.accumulate,
            clip_norm => config.optimization.clip_norm,
            validate_every => config.checkpointing.validate_every,
            keep => config.checkpointing.keep,
            checkpoint_steps => config.checkpointing.checkpoint_steps,
            seed => config.seed,
            pair_seed => config.pair_seed,
            backend => config.backend,
            devices => config.devices,
        }
        self.check_used(config)
    }

    /// A file holds all settings; but what is asked for on the command line must have an effect.
    fn check_used(&self, config: &TrainConfig) -> Result<()> {
        let drawn = [
            ("people", self.people.is_some()),
            ("test_people", self.test_people.is_some()),
            ("pictures", self.pictures.is_some()),
        ];
        if let (true, Some((name, _))) = (config.data.is_some(), drawn.iter().find(|(_, given)| *given)) {
            bail!("{name}: is of drawn faces, and the pictures are those of data; leave one of them out");
        }
        if self.min_size.is_some() && config.data.is_none() {
            bail!("min_size: is of the pictures of data, and there is none; drawn faces have the size they need");
        }
        let reading = [("cache_mib", self.cache_mib.is_some()), ("workers", self.workers.is_some())];
        if let (None, Some((name, _))) = (&config.data, reading.iter().find(|(_, given)| *given)) {
            bail!("{name}: is of the pictures of data, and there is none; drawn faces are kept in memory");
        }
        if self.held_out_share.is_some() && config.data.is_none() {
            bail!("held_out_share: is of the people of data, and there is none; drawn faces have test_people");
        }
        if self.held_out_share.is_some() && config.val_data.is_some() {
            bail!("held_out_share: nobody is held back where there is val_data; leave one of them out");
        }
        if let (Some(backend), Some(names)) = (self.backend, &self.devices)
            && let Some(DeviceName::Local { backend: first, .. }) = names.first()
            && backend != *first
        {
            let names = devices::in_a_row(names);
            bail!("backend: is that of the first of the devices, which are {names}, got {backend}; leave it out");
        }
        if self.head_lr.is_some() && !config.loss.has_parameters() {
            bail!("head_lr: the loss {} has no parameters that could learn; leave it out", config.loss);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// The settings of `train` with these flags.
    fn config(line: &str) -> Result<TrainConfig> {
        let arguments =
            Arguments::try_parse_from(["face-embedding", "train"].into_iter().chain(line.split_whitespace()));
        match arguments.expect("there are such flags").command {
            Command::Train(flags) => flags.config(),
            other => panic!("not train but {other:?}"),
        }
    }

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("face-embedding-{}-{name}.json", std::process::id()));
        std::fs::write(&path, text).expect("there is room");
        path
    }

    #[test]
    fn batches_of_people_go_with_the_loss_of_pairs_that_needs_them() {
        let path = file("pairs", r#"{"loss": "supcon", "people_per_batch": 3, "pictures_per_person": 2}"#);
        let counts = |line: &str| config(&format!("--config {} {line}", path.display())).unwrap().sampling.counts();
        assert_eq!(counts(""), Some([3, 2]));
        assert_eq!(counts("--loss circle"), Some([3, 2]));
        assert_eq!(counts("--loss arcface"), None);
        assert_eq!(counts("--loss arcface --people-per-batch 4 --pictures-per-person 5"), Some([4, 5]));
        std::fs::remove_file(path).unwrap();
        // Whoever asked for them beside a head keeps them.
        let path = file("heads", r#"{"loss": "cosface", "people_per_batch": 3, "pictures_per_person": 2}"#);
        let kept = config(&format!("--config {} --loss arcface", path.display())).unwrap();
        assert_eq!(kept.sampling.counts(), Some([3, 2]));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_rate_of_the_head_needs_parameters() {
        for loss in LossKind::value_variants() {
            let found = config(&format!("--loss {loss} --head-lr 0.2"));
            match found {
                Ok(config) => assert!(config.loss.has_parameters() && config.head_lr == 0.2, "{loss}"),
                Err(error) => {
                    assert!(matches!(loss.name(), "supcon" | "triplet" | "multisimilarity" | "circle"), "{loss}");
                    assert!(error.to_string().starts_with("head_lr: the loss"), "{error}");
                }
            }
        }
    }
}
