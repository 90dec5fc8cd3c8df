use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use burn::config::Config;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;

/// The names Burn's layers give to what moves and scales their outputs.
const BIASES_AND_NORMS: [&str; 3] = ["bias", "gamma", "beta"];

/// What a choice does about biases and the parameters of normalization layers.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum BiasesAndNorms {
    /// Left out: parameters of one dimension, and any that is called `bias`, `gamma` or `beta`. To shrink them costs
    /// accuracy and buys no simpler model.
    LeftOut,
    /// Chosen like any other parameter of the group.
    Included,
}

/// Which parameters of a module are meant.
///
/// Only those that are trained: a frozen parameter and a running state (of a batch normalization, of a center loss) is
/// never chosen, and neither is any parameter of a module without autodiff, such as the one of `valid()`. Of a parameter
/// with a LoRA adapter it is the adapter that is trained. An embedding and the class centers of a margin head are chosen
/// like any other matrix: `ParamGroup::exclude` leaves them out.
#[derive(Config, Debug)]
pub struct ParameterChoice {
    /// The paths, such as `ParamGroup::from_predicate("encoder")` or `ParamGroup::from_regex(r"^head\.")`.
    /// Default: `ParamGroup::all()`.
    #[config(default = "ParamGroup::all()")]
    pub group: ParamGroup,
    /// Whether biases and the parameters of normalization layers are among them.
    /// Default: `BiasesAndNorms::LeftOut`.
    #[config(default = "BiasesAndNorms::LeftOut")]
    pub biases_and_norms: BiasesAndNorms,
}

impl Default for ParameterChoice {
    fn default() -> Self {
        Self::new()
    }
}

impl ParameterChoice {
    /// The paths of the parameters that are chosen in a module: look here first when a group does not do what it should.
    pub fn paths<M: Module>(&self, module: &M) -> Vec<String> {
        self.walk(module, Vec::new())
    }

    /// Shows every chosen parameter to the visitor; one that occurs twice only once.
    pub(super) fn walk<M: Module, V: WeightVisitor>(&self, module: &M, visitor: V) -> V {
        let mut walk = Walk { choice: self, path: Vec::new(), seen: BTreeSet::new(), visitor };
        module.visit(&mut walk);
        walk.visitor
    }

    /// Replaces every chosen parameter; ids, mappers and whether a gradient is required stay as they are.
    pub(super) fn replace<M: Module, R: WeightMapper>(&self, module: M, mapper: &R) -> M {
        module.map(&mut Replace { choice: self, path: Vec::new(), mapper })
    }

    fn takes<const D: usize>(&self, path: &[String], param: &Param<Tensor<D>>) -> bool {
        let named = || path.last().is_some_and(|name| BIASES_AND_NORMS.contains(&name.as_str()));
        if self.biases_and_norms == BiasesAndNorms::LeftOut && (D <= 1 || named()) {
            return false;
        }
        // The value is asked last, because that initializes it.
        self.group.matches(&param.id, Some(&path.join("."))) && param.is_require_grad()
    }
}

/// Sees chosen parameters, of any rank.
pub(super) trait WeightVisitor {
    fn visit<const D: usize>(&mut self, path: &[String], weights: Tensor<D>);
}

/// Makes new values for chosen parameters, of any rank.
pub(super) trait WeightMapper {
    fn map<const D: usize>(&self, weights: Tensor<D>) -> Tensor<D>;
}

impl WeightVisitor for Vec<String> {
    fn visit<const D: usize>(&mut self, path: &[String], _weights: Tensor<D>) {
        self.push(path.join("."));
    }
}

struct Walk<'a, V> {
    choice: &'a ParameterChoice,
    path: Vec<String>,
    seen: BTreeSet<ParamId>,
    visitor: V,
}

impl<V: WeightVisitor> ModuleVisitor for Walk<'_, V> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.choice.takes(&self.path, param) && self.seen.insert(param.id) {
            self.visitor.visit(&self.path, param.val());
        }
    }
}

struct Replace<'a, R> {
    choice: &'a ParameterChoice,
    path: Vec<String>,
    mapper: &'a R,
}

impl<R: WeightMapper> ModuleMapper for Replace<'_, R> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !self.choice.takes(&self.path, &param) {
            return param;
        }
        let (id, weights, mapper) = param.consume();
        #[cfg(feature = "std")]
        let distributed = weights.is_distributed();
        // A detached leaf still requires its gradient, and would record the step.
        let weights = self.mapper.map(weights.set_require_grad(false)).require_grad();
        #[cfg(feature = "std")]
        let weights = if distributed { weights.set_distributed(id) } else { weights };

        Param::from_mapped_value(id, weights, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
    use burn::tensor::Device;

    use crate::state::State;

    #[derive(Module, Debug)]
    struct Model {
        layers: Vec<Linear>,
        norm: BatchNorm,
        beta: Param<Tensor<2>>,
        centers: State<Tensor<2>>,
    }

    fn model(device: &Device) -> Model {
        Model {
            layers: vec![LinearConfig::new(2, 3).init(device), LinearConfig::new(3, 1).init(device)],
            norm: BatchNormConfig::new(3).init(device),
            beta: Param::from_tensor(Tensor::ones([1, 3], device)),
            centers: State::new(Tensor::ones([2, 2], device)),
        }
    }

    #[test]
    fn biases_norms_and_running_states_are_left_out() {
        let model = model(&Device::flex().autodiff());
        assert_eq!(ParameterChoice::new().paths(&model), ["layers.0.weight", "layers.1.weight"]);

        let all = ParameterChoice::new().with_biases_and_norms(BiasesAndNorms::Included);
        let mut expected = vec!["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"];
        expected.extend(["norm.gamma", "norm.beta", "beta"]);
        assert_eq!(all.paths(&model), expected);
    }

    #[test]
    fn a_group_chooses_by_path_and_frozen_parameters_are_not_chosen() {
        let mut model = model(&Device::flex().autodiff());
        let first = ParameterChoice::new().with_group(ParamGroup::from_predicate("layers.0"));
        assert_eq!(first.paths(&model), ["layers.0.weight"]);

        model.layers[0] = model.layers[0].clone().freeze();
        assert!(first.paths(&model).is_empty());
        assert!(ParameterChoice::new().paths(&model.valid()).is_empty());
    }

    #[test]
    fn a_parameter_that_occurs_twice_is_seen_once() {
        let mut model = model(&Device::flex().autodiff());
        model.layers[1] = model.layers[0].clone();

        assert_eq!(ParameterChoice::new().paths(&model), ["layers.0.weight"]);
    }
}
