use alloc::vec::Vec;

use burn::config::Config;
use burn::module::{Content, Module, ModuleDisplay, ModuleDisplayDefault};
use burn::serde::{Deserialize, Serialize};
use burn::tensor::{Device, Tensor};

use super::*;

/// Any of the heads, for a program that chooses at run time: built from an [`AnyHeadConfig`], or from one of them by
/// [`Head::into_any`].
///
/// It is a module with the same centers as the head it is: their path is `centers.weight`.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_losses::heads::{AnyHeadConfig, HeadKind};
///
/// let device = Device::default();
/// for kind in HeadKind::ALL {
///     let head = AnyHeadConfig::new(kind, 10, 4).init(&device);
///     let labels = Tensor::<1, Int>::from_ints([0, 9], &device);
///     let loss = head.forward(Tensor::ones([2, 4], &device), labels).into_scalar::<f32>();
///     assert!(loss.is_finite(), "{head}: {loss}");
/// }
/// ```
pub type AnyHead = Head<AnyRule>;

macro_rules! heads {
    ($($kind:ident: $rule:ident, $config:ident;)*) => {
        /// The name of a head.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(crate = "burn::serde")]
        pub enum HeadKind {
            $(#[doc = concat!("See [`", stringify!($kind), "`](super::", stringify!($kind), ").")] $kind,)*
        }

        impl HeadKind {
            /// Every head.
            pub const ALL: [Self; [$(Self::$kind),*].len()] = [$(Self::$kind),*];

            /// As its type is called.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }
        }

        /// Settings of [`AnyHead`]: those of one head, and which one, as `head` in JSON.
        ///
        /// As every config of Burn, it is read with all its fields named; a field that it does not have is passed over. To
        /// write one, print that of [`new`](Self::new) and change it.
        ///
        /// ```
        /// use burn::config::Config;
        /// use burn_losses::heads::{AnyHeadConfig, ArcFaceConfig};
        ///
        /// let config = AnyHeadConfig::from(ArcFaceConfig::new(10, 4).with_margin(0.3));
        /// let json = config.to_string();
        /// assert!(json.contains(r#""head": "ArcFace""#) && json.contains(r#""margin": 0.3"#));
        /// let back = AnyHeadConfig::load_binary(json.as_bytes()).unwrap();
        /// assert_eq!(back.to_string(), json);
        /// ```
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(crate = "burn::serde", tag = "head")]
        #[allow(clippy::large_enum_variant, reason = "a program has one of them")]
        pub enum AnyHeadConfig {
            $(#[doc = concat!("Of [`", stringify!($kind), "`](super::", stringify!($kind), ").")] $kind($config),)*
        }

        impl AnyHeadConfig {
            /// The default settings of a head.
            pub fn new(kind: HeadKind, classes: usize, embedding_dim: usize) -> Self {
                match kind {
                    $(HeadKind::$kind => Self::$kind($config::new(classes, embedding_dim)),)*
                }
            }

            /// Which head it is.
            pub fn kind(&self) -> HeadKind {
                match self {
                    $(Self::$kind(_) => HeadKind::$kind,)*
                }
            }

            /// Builds the head with random class centers on `device`.
            ///
            /// # Panics
            ///
            /// If a field is out of its range.
            #[track_caller]
    pub fn init(&self, device: &Device) -> AnyHead {
                match self {
                    $(Self::$kind(config) => config.init(device).into_any(),)*
                }
            }
        }

        /// The rule of [`AnyHead`].
        #[derive(Module, Debug)]
        #[module(custom_display)]
        #[allow(clippy::large_enum_variant, reason = "a program has one of them")]
        pub enum AnyRule {
            $(#[doc = concat!("Of [`", stringify!($kind), "`](super::", stringify!($kind), ").")] $kind($rule),)*
        }

        impl MarginRule for AnyRule {
            fn name(&self) -> &'static str {
                match self { $(Self::$kind(rule) => rule.name(),)* }
            }

            fn check(&self) {
                match self { $(Self::$kind(rule) => rule.check(),)* }
            }

            fn scale(&self) -> f64 {
                match self { $(Self::$kind(rule) => rule.scale(),)* }
            }

            fn margins_mut(&mut self) -> Vec<&mut f64> {
                match self { $(Self::$kind(rule) => rule.margins_mut(),)* }
            }

            fn scale_mut(&mut self) -> Option<&mut f64> {
                match self { $(Self::$kind(rule) => rule.scale_mut(),)* }
            }

            fn scale_factor(&self) -> Option<Tensor<1>> {
                match self { $(Self::$kind(rule) => rule.scale_factor(),)* }
            }

            fn target(&self, target: &Target) -> Tensor<1> {
                match self { $(Self::$kind(rule) => rule.target(target),)* }
            }

            fn offset(&self) -> Option<Tensor<1>> {
                match self { $(Self::$kind(rule) => rule.offset(),)* }
            }

            fn negatives(&self, batch: &Batch<'_>) -> Terms {
                match self { $(Self::$kind(rule) => rule.negatives(batch),)* }
            }

            fn loss(&self, negatives: Tensor<1>, target: Tensor<1>) -> Tensor<1> {
                match self { $(Self::$kind(rule) => rule.loss(negatives, target),)* }
            }

            fn penalty(&self, target: &Target) -> Option<Tensor<1>> {
                match self { $(Self::$kind(rule) => rule.penalty(target),)* }
            }

            fn observe(&self, batch: &Batch<'_>) {
                match self { $(Self::$kind(rule) => rule.observe(batch),)* }
            }

            fn for_classes(self, classes: usize) -> Self {
                match self { $(Self::$kind(rule) => Self::$kind(rule.for_classes(classes)),)* }
            }
        }

        impl ModuleDisplay for AnyRule {
            fn custom_content(&self, content: Content) -> Option<Content> {
                match self { $(Self::$kind(rule) => rule.content(content),)* }
            }
        }

        $(
            impl From<$config> for AnyHeadConfig {
                fn from(config: $config) -> Self {
                    Self::$kind(config)
                }
            }

            impl From<$rule> for AnyRule {
                fn from(rule: $rule) -> Self {
                    Self::$kind(rule)
                }
            }
        )*
    };
}

heads! {
    NormFace: NormFaceRule, NormFaceConfig;
    CosFace: CosFaceRule, CosFaceConfig;
    ArcFace: ArcFaceRule, ArcFaceConfig;
    CombinedMargin: CombinedMarginRule, CombinedMarginConfig;
    SphereFace: SphereFaceRule, SphereFaceConfig;
    MagFace: MagFaceRule, MagFaceConfig;
    AdaFace: AdaFaceRule, AdaFaceConfig;
    ElasticFace: ElasticFaceRule, ElasticFaceConfig;
    AdaCos: AdaCosRule, AdaCosConfig;
    SubCenterArcFace: SubCenterArcFaceRule, SubCenterArcFaceConfig;
    CurricularFace: CurricularFaceRule, CurricularFaceConfig;
    MvSoftmax: MvSoftmaxRule, MvSoftmaxConfig;
    SphereFace2: SphereFace2Rule, SphereFace2Config;
    UniFace: UniFaceRule, UniFaceConfig;
}

impl Config for AnyHeadConfig {}

impl core::fmt::Display for AnyHeadConfig {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(&burn::config::config_to_json(self))
    }
}

impl core::fmt::Display for HeadKind {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl<R: MarginRule + Into<AnyRule>, C: Centers> Head<R, C> {
    /// The same head as one of the type that all have in common.
    pub fn into_any(self) -> Head<AnyRule, C> {
        Head { centers: self.centers, rule: self.rule.into(), reduction: self.reduction }
    }
}
